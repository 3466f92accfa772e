"""Test runners besides pytest whose cases can be told apart, and how a repository's files name them."""
