"""Calls of models and tools in a run, with their answers and costs."""
