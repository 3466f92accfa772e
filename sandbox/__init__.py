"""Runs code that nobody has to trust."""
