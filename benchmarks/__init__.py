"""Benchmarks of the service: speed, memory and accuracy."""
