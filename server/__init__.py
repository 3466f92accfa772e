"""The faces: the command line now, HTTP later."""
