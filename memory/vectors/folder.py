"""The folder of an embedded store: found whole, or set aside so that its vectors are built anew.

Damaged files make Chroma raise, but also give wrong answers, hang, or crash the process, and a process that
is killed may leave them. So the files are sealed when a store is closed, and tried out by another process
when the seal does not hold.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

MARK = "autocode.json"
"""Name of the file that holds the seal, or since when there was none."""

DATABASE = "chroma.sqlite3"
TRIES = 5
"""Times in a row that a store may end without its seal; then it may be what ends the process."""

PROBE_SECONDS = 60.0


def prepare(folder: Path) -> str:
    """Make the folder, break its seal, and give what was wrong with it and where that is now.

    Raises OSError where it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = _mark(folder)
    _write(folder, {"ended": _ended(mark) + 1})
    fault = _fault(folder, mark)
    if not fault:
        return ""
    aside = _set_aside(folder)
    folder.mkdir(mode=0o700)
    _write(folder, {"ended": 1})
    return f"the store of vectors was damaged ({fault}); it is now {aside}, and is built anew"


def seal(folder: Path) -> None:
    """Note the files as a store that was closed left them."""
    with suppress(OSError):
        _write(folder, {"sealed": _files(folder)})


def _fault(folder: Path, mark: dict[str, object]) -> str:
    files = _files(folder)
    if not files:
        return ""
    if mark.get("sealed") != files:
        if _ended(mark) >= TRIES:
            return f"{TRIES} processes in a row ended while they used it"
        if fault := _probe(folder):
            return fault
    try:
        _drop_orphans(folder)
    except sqlite3.Error as error:
        return str(error)
    return ""


def _ended(mark: dict[str, object]) -> int:
    ended = mark.get("ended")
    return ended if isinstance(ended, int) else 0


def _mark(folder: Path) -> dict[str, object]:
    try:
        mark = json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}


def _write(folder: Path, mark: dict[str, object]) -> None:
    fresh = folder / f"{MARK}.new"
    fresh.write_text(json.dumps(mark))
    os.replace(fresh, folder / MARK)


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and time of every file that is Chroma's."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            if not name.startswith(MARK):
                status = os.lstat(os.path.join(place, name))
                path = os.path.relpath(os.path.join(place, name), folder)
                found[path] = [status.st_size, status.st_mtime_ns]
    return found


def _probe(folder: Path) -> str:
    """Use the store in another process; give what went wrong."""
    command = [sys.executable, "-I", "-m", "memory.vectors.probe", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603  our own program
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "Chroma hangs on it"
    if done.returncode == 0:
        return ""
    said = done.stdout.decode(errors="replace").strip()
    return said or f"Chroma crashes on it, exit {done.returncode}"


def _drop_orphans(folder: Path) -> None:
    """Remove the files of collections that are gone, which Chroma leaves; it must not be running here."""
    database = (folder / DATABASE).absolute().as_uri()
    with closing(sqlite3.connect(f"{database}?mode=rw", uri=True)) as connection:
        kept = {str(row[0]) for row in connection.execute("SELECT id FROM segments")}
    for place in folder.iterdir():
        with suppress(ValueError):
            if place.is_dir() and str(UUID(place.name)) not in kept:
                shutil.rmtree(place, ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    """Rename the folder; of those that were set aside, only the newest stays."""
    for old in folder.parent.glob(f"{folder.name}.damaged-*"):
        shutil.rmtree(old, ignore_errors=True)
    aside = folder.with_name(f"{folder.name}.damaged-{datetime.now():%Y%m%d-%H%M%S}")
    folder.rename(aside)
    return aside
