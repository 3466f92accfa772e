"""Wires the agents into a StateGraph and drives it."""
