"""The sandbox on a Docker Engine."""
