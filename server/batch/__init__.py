"""Reads pictures on disk, without HTTP: `python -m server read`."""
