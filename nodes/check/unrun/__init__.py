"""Tests that could not run: their causes, and the parts of a change that they leave unverified."""
