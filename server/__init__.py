"""The recognition service: encoded pictures in, the digits written on them out."""
