"""The base's tests, which run in the base's version on the change and judge it too."""
