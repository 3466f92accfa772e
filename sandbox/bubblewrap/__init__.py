"""The bubblewrap sandbox, which needs no daemon."""
