"""Plans: how a planner makes them, how they are read, and how a human approves them."""
