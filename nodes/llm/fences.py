"""Fences of code blocks in Markdown."""

import re

FENCE = re.compile(r"^(?P<indent>[ \t]{0,16})(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<info>[^`\n]*)$")
"""A line that opens or closes a block."""
