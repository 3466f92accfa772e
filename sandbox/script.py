"""The shell script that unpacks the files and runs the program, inside; and how files are sent to it."""

from collections.abc import Callable, Iterable, Sequence

from sandbox.base import WORKSPACE
from sandbox.report import MAX_BYTES

ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108  # of the sandbox
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108
    "USER": "sandbox",
}
"""All that a program sees of any environment, beside PATH."""

UID = 10001
"""The user that programs run as, where the backend can choose."""

_PIECE_BYTES = 262_144

# Frames (a line with a size, then so many bytes) end the stream without closing it, which not every way
# to an engine can do. The shell outlives the program, because what the program started would otherwise
# hold the output open; the shell's own words about signals name pids, so they are not shown.
_SCRIPT = f"""umask 022
mark=$1 report=$2; shift 2
cd {WORKSPACE} && while read -r size && [ "$size" -gt 0 ]; do
  dd bs="$size" count=1 iflag=fullblock 2>/dev/null
done | tar -xf - || exit
echo 1000 >/proc/self/oom_score_adj
echo "$mark" >&2
exec 4>&2 2>/dev/null
(exec "$@" </dev/null 2>&4 4>&-)
code=$?
kill -9 -1
[ -n "$report" ] && [ -f "$report" ] && [ ! -L "$report" ] && head -c {MAX_BYTES + 1} "$report" >&0
exit "$code"
"""

# Waits for a line, as output that comes with the first answer's header can get lost on the way. Kills, so
# that nobody writes to the report while it is read. The counters are those of either cgroup version.
_COLLECT = f"""read -r _
kill -9 -1
cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control >&2 2>/dev/null
[ -n "$1" ] && [ -f "$1" ] && [ ! -L "$1" ] && head -c {MAX_BYTES + 1} "$1"
"""


def run_script(command: Sequence[str], mark: str, report: str = "") -> list[str]:
    """A command that unpacks stdin, writes `mark` to stderr, runs `command`, and sends `report` back."""
    return ["sh", "-c", _SCRIPT, "sh", mark, report, *command]


def collect_script(report: str) -> list[str]:
    """A command that, at a first line, ends what still runs, and writes out counters and `report`."""
    return ["sh", "-c", _COLLECT, "sh", report]


def send_files(files: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    """Write a tar stream the way the script reads it, never holding more than a piece of it."""
    piece = bytearray()
    for chunk in files:
        piece += chunk
        if len(piece) >= _PIECE_BYTES:
            write(b"%d\n" % len(piece) + piece)
            piece.clear()
    write(b"%d\n" % len(piece) + piece + b"0\n" if piece else b"0\n")
