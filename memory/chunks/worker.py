"""A program that tells the parts of source files: JSON lines `[path, text]` in, `[outline, parts]` out.

Grammars crash and swell on text that is made for it, so it runs in a process of its own, within limits.
"""

import json
import resource
import sys

from memory.chunks.definitions import outline
from memory.chunks.grammars import parsed
from memory.chunks.syntax_parts import Part, parts

SECONDS = 5
MEMORY = 1 << 29


def answer(path: str, text: str) -> tuple[list[str], list[Part]]:
    """Give a file's outline and its parts; both empty when its grammar takes too long."""
    data = text.encode("utf-8", "replace")
    root = parsed(path, data)
    return (outline(root, data), parts(root, data)) if root is not None else ([], [])


def main() -> None:
    """Answer every line of the input with one of its own; each is out before the next one is begun."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        path, text = json.loads(line)
        sys.stdout.write(json.dumps(answer(path, text)) + "\n")
        sys.stdout.flush()
