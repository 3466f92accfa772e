"""Records of threads, runs, events and model calls in one database."""
