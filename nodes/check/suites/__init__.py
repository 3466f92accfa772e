"""Test suites: recognised in a repository and its packages, or named in `.autocode.toml`."""
