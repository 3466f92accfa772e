"""Threads, runs, events and everything else that the database keeps."""
