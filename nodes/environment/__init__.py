"""The environments of a run: what the tests of its snapshots need, asked for, built and opened."""
