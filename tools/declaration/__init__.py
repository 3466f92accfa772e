"""Declarations of a repository's Python packages, edited as text, and the locks that follow them."""

from tools.declaration.declare import declare
from tools.declaration.declared import DeclarationError, Declared, Renewal

__all__ = ["DeclarationError", "Declared", "Renewal", "declare"]
