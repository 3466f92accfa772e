"""Prompts, conversations with models, and the reading of replies."""
