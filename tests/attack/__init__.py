"""Attacks on the service, bounded in count and time, on the loopback interface only."""
