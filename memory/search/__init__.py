"""Search in earlier tasks."""
