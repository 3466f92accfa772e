"""Files as chunks: what their syntax or their lines tell apart."""
