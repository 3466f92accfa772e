"""Tool steps of a plan: asked for if the policy says so, carried out once, and stored."""
