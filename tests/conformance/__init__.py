"""Clients that speak the Open Inference Protocol, each in its own environment, against ours."""
