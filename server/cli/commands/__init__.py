"""The commands of `autocode`, one module for each noun. A command imports the other layers when it runs."""
