"""Everything that persists."""
