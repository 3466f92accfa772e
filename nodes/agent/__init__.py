"""The loop that all agents share: ask the model, run the tools that it calls, and ask again."""
