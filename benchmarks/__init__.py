"""What the service reaches, measured from outside."""
