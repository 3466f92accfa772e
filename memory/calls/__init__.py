"""What models and tools were asked in a run, what it cost, and their answers."""
