"""Deployment files, one folder per platform."""
