"""The graph's nodes: agents, the check, and the state that flows between them."""
