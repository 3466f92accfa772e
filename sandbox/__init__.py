"""Sandboxes for code that we did not write."""
