"""The sandbox on bubblewrap, which needs no daemon."""
