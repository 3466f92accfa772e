"""Detection: from the files of a repository to the recipe of its environment."""
