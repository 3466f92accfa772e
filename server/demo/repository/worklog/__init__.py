"""A plain-text log of working time."""
