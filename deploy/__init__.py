"""Files that deploy the service, a folder a platform."""
