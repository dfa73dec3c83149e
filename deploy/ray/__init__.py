"""Serving and batch reading on a Ray cluster."""
