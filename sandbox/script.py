"""The shell script that unpacks the files and runs the program inside the sandbox."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal

from sandbox.base import WORKSPACE, Delta
from sandbox.report import MAX_BYTES

ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108  # of the sandbox
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108
    "USER": "sandbox",
}
"""The environment of a program, beside PATH."""

UID = 10001
"""The user that programs run as, if the backend can choose."""

# The shell starts a process for each frame.
_FRAME_BYTES = 4 * 2**20

Stream = Literal["tree", "removed", "files", "path", "orders", "input"]
"""The parts of stdin before the program starts: a whole tree, paths to remove, files to add, and the value of
$path. `input` is what the program reads. `orders` stays open: a line in it kills every process."""

# Counts the processes of the shell's user, and those that ran out of memory, with either version of cgroups.
# A zombie has no `exe`. The kernel takes a moment to end a process that was killed, which may still write.
_TALLY = """count() {
  count=0
  for process in /proc/[0-9]*; do
    [ -O "$process" ] && [ -e "$process/exe" ] && count=$((count + 1))
  done
}
wait_until_left() {
  tries=0
  while [ "$count" -gt "$1" ] && [ "$((tries = tries + 1))" -lt 500 ]; do count; done
}
count_ooms() {
  ooms=0
  for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ ! -r "$file" ] || while read -r name value; do
      [ "$name" != oom_kill ] || ooms=$((ooms + value))
    done <"$file"
  done
}
"""

# A stream arrives in frames: a line with a size, then so many bytes. A frame of size 0 ends it, because
# not every connection to a Docker engine can close stdin alone. Where stdin can be closed, tar reads an
# archive that comes last to the end of stdin, which saves copies and processes. The shell outlives the
# program, because the program's own children could keep the output open. The shell's messages about signals
# are not shown, because they name process ids. The command line holds the second mark in two parts, so that
# a program which prints command lines does not end its own output.
_SCRIPT = f"""umask 022
mark=$1$2 end=$2$1 report=$3 streams=$4 unframed=$5 input=; shift 5
frames() {{
  while read -r size && [ "$size" -gt 0 ]; do
    dd bs="$size" count=1 iflag=fullblock 2>/dev/null
  done
}}
{_TALLY}cd {WORKSPACE} || exit
count
alone=$count
for stream in $streams; do
  case $stream in
    removed) frames | xargs -0 rm -rf -- || exit;;
    path) path=$(frames; printf x); export path="${{path%x}}";;
    orders) exec 3<&0; {{ read -r _ <&3 && kill -9 -1; }} >/dev/null 2>&1 & exec 3<&-;;
    input) input=1;;
    "$unframed") tar -xf - || exit;;
    *) frames | tar -xf - || exit;;
  esac
done
echo 1000 >/proc/self/oom_score_adj
count
before=$count
echo "$mark" >&2
exec 4>&2 2>/dev/null
if [ "$input" ]; then
  frames | (exec "$@" 2>&4 4>&-)
else
  (exec "$@" </dev/null 2>&4 4>&-)
fi
code=$?
count
left=$((count - before))
kill -9 -1
wait_until_left "$alone"
[ -n "$report" ] && [ -f "$report" ] && [ ! -L "$report" ] && head -c {MAX_BYTES + 1} "$report" >&0
count_ooms
echo "$end $left $ooms $code" >&4
exit "$code"
"""

# Reading a line first matters: output that arrives with the header of the engine's answer can get lost.
# Killing matters too: nobody may write to the report while it is read. The counters are those of either
# version of cgroups.
_COLLECT = f"""read -r _
kill -9 -1
cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control >&2 2>/dev/null
[ -n "$1" ] && [ -f "$1" ] && [ ! -L "$1" ] && head -c {MAX_BYTES + 1} "$1"
"""

# A program may have killed the shell that would end its processes.
_STOP = f"""read -r _
{_TALLY}kill -9 -1
count
wait_until_left 1
count_ooms
[ "$count" = 1 ] && echo "stopped $ooms"
"""


def run_script(
    command: Sequence[str],
    mark: str,
    streams: Sequence[Stream] = (),
    report: str = "",
    can_close: bool = False,
) -> list[str]:
    """Return a command that reads `streams`, writes `mark` to stderr, runs `command`, and sends `report`.

    It ends with `end_mark(mark)`, the numbers of processes left running and of those out of memory, and the
    exit code. With `can_close`, `send_streams` must get a function that closes stdin.
    """
    half = len(mark) // 2
    unframed = _unframed(streams) if can_close else ""
    arguments = (mark[:half], mark[half:], report, " ".join(streams), unframed)
    return ["sh", "-c", _SCRIPT, "sh", *arguments, *command]


def end_mark(mark: str) -> str:
    """Return the mark that follows the program's output on stderr."""
    half = len(mark) // 2
    return mark[half:] + mark[:half]


def delta_streams(delta: Delta) -> dict[Stream, Iterable[bytes]]:
    """Return the streams that apply a delta. Empty ones are left out, because each costs two processes."""
    streams: dict[Stream, Iterable[bytes]] = {}
    if delta.removed:
        streams["removed"] = [b"\0".join(map(os.fsencode, delta.removed))]
    if delta.files is not None:
        streams["files"] = delta.files
    return streams


def stop_script() -> list[str]:
    """Return a command that kills all else, then prints `stopped` and the number of OOMs."""
    return ["sh", "-c", _STOP]


def collect_script(report: str) -> list[str]:
    """Return a command that kills all else, then writes `report` to stdout and memory counters to stderr."""
    return ["sh", "-c", _COLLECT, "sh", report]


def send_streams(
    streams: Mapping[Stream, Iterable[bytes]],
    write: Callable[[bytes], object],
    close: Callable[[], object] | None = None,
) -> None:
    """Write the streams as the script reads them. No more than a few pieces are in memory.

    `close` ends stdin, if the script expects that.
    """
    unframed = _unframed(tuple(streams)) if close else ""
    for name, stream in streams.items():
        if close and name == unframed:
            for piece in stream:
                write(piece)
            close()
        else:
            _send_frames(stream, write)


def _unframed(streams: Sequence[Stream]) -> str:
    """Return the archive that comes last, which can end with stdin. Empty if there is none."""
    return streams[-1] if streams and streams[-1] in ("tree", "files") else ""


def _send_frames(stream: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    waiting: list[bytes] = []
    for piece in chain(stream, (None,)):
        size = sum(map(len, waiting))
        if size >= _FRAME_BYTES or (piece is None and size):
            write(b"%d\n" % size)
            for each in waiting:
                write(each)
            waiting.clear()
        if piece is not None:
            waiting.append(piece)
    write(b"0\n")
