"""Environments: what a repository's own tests need, detected from its declarations and built once."""
