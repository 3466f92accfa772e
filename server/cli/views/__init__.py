"""Output of the command line: the views of a run, tables, and prompts."""
