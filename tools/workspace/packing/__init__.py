"""Snapshots as archives for sandboxes: their members, large files, and the space that they take."""
