"""The program of the restricted process: reads JSON lines `[path, text]`, writes `[outline, parts]`.

Hostile text makes grammars crash or use all memory, so they run in a process of their own with limits.
"""

import json
import resource
import sys

from memory.chunks.definitions import outline
from memory.chunks.grammars import parse
from memory.chunks.syntax_parts import syntax_parts

SECONDS = 5
MEMORY = 1 << 29


def main() -> None:
    """Answer every line of the input with a line, flushed before the next line is read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected and leaves no core file
    for line in sys.stdin:
        # The CPU limit counts the whole process, so it moves with each file.
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        path, text = json.loads(line)
        data = text.encode("utf-8", "replace")
        root = parse(path, data)  # None if that takes too long
        answer = [outline(root, data), syntax_parts(root, data)] if root is not None else [[], []]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
