"""Commands whose report is gathered from the JUnit files that they leave in the workspace."""

import re
from collections.abc import Iterator, Sequence

from sandbox.base import REPORT

_HEADER = b"autocode junit files\n"
_SIZE = re.compile(rb" {0,20}(\d{1,9})\n")
_GLOB = re.compile(r"[*?\[]")

# Files that match before the command runs are removed: a repository may hold forged ones.
_SCRIPT = f"""report=$1 patterns=$2; shift 2
files() {{
  printf '%s\\n' "$patterns" | while IFS= read -r pattern; do
    find "${{pattern%%|*}}" -type f -path "${{pattern#*|}}" 2>/dev/null
  done | sort -u
}}
files | while IFS= read -r file; do rm -f -- "$file"; done
"$@"
code=$?
{{
  echo '{_HEADER.decode().strip()}'
  files | while IFS= read -r file; do wc -c <"$file"; cat -- "$file"; done
}} >"$report"
exit $code"""


def collect_files(command: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """Return a command that runs `command` and then gathers the files that match `patterns`.

    `*` matches within a path, `**` too. Symlinks are left out. The exit code is the command's own.
    """
    listed = "\n".join(map(_rooted, patterns))
    return ("sh", "-c", _SCRIPT, "sh", REPORT, listed, *command)


def is_pattern(pattern: str) -> bool:
    """Return whether a pattern names files in the workspace, and nothing else."""
    parts = pattern.split("/")
    return bool(pattern.strip()) and ".." not in parts and parts[0] != "" and not re.search(r"[\n|]", pattern)


def is_collection(data: bytes) -> bool:
    """Return whether a report was gathered from files."""
    return data.startswith(_HEADER)


def split_files(data: bytes) -> Iterator[bytes]:
    """Yield the files of a gathered report. Raises ValueError if it is cut."""
    at = len(_HEADER)
    while at < len(data):
        size = _SIZE.match(data, at)
        if size is None or size.end() + int(size[1]) > len(data):
            raise ValueError("the gathered report is cut")
        at = size.end() + int(size[1])
        yield data[size.end() : at]


def _rooted(pattern: str) -> str:
    """Return the folder to search and the path to match, in the script's form."""
    path = f"./{pattern.removeprefix('./')}"
    fixed = _GLOB.split(path)[0].rpartition("/")[0]
    return f"{fixed}|{path.replace('**/', '*')}"
