"""Mutation testing of a change: its own lines are broken, and its tests must notice."""
