"""Checks of suites that are judged by the exit code of a command, and the files that define it."""
