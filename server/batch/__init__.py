"""Reading what lies on a disk, without HTTP: `python -m server read`."""
