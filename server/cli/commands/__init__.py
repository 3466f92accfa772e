"""What `autocode` can be told to do: a module a noun, in it flags and help."""
