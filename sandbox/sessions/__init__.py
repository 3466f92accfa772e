"""Sessions: places in a sandbox in which an agent works."""
