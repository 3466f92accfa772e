"""What flows along the edges, and one agent a file."""
