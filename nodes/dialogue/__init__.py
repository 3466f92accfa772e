"""Prompts to a model, and what its replies mean."""
