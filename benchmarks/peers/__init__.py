"""Alternatives to our service, each written as its framework's documentation shows."""
