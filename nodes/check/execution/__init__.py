"""The executions of a check: what runs where, in which environment, beside what."""
