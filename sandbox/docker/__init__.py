"""The Docker sandbox."""
