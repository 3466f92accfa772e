"""Delivered work that leaves the machine."""
