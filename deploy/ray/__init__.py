"""The service, and reading without it, on more machines than one: by Ray."""
