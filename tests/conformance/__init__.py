"""Tests /v2 with third-party clients of the Open Inference Protocol, each in its environment."""
