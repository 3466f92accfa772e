"""A seal on the folder of an embedded store. Files that do not match it are deleted, never opened.

Damaged files make Chroma give wrong answers, hang, or crash the process that opens them. A process that is
killed while it writes may leave such files. All vectors can be rebuilt from SQLite, so nothing is lost.
"""

import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

SEAL = "autocode.json"
DATABASE = "chroma.sqlite3"


def prepare(folder: Path) -> str:
    """Make the folder ready to be opened, and return a note if its contents had to be deleted.

    Raises OSError if the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = _files(folder)
    if not files:
        return ""
    try:
        if json.loads((folder / SEAL).read_text()) == _sealed(files):
            _delete_orphans(folder)
            return ""
    except (OSError, ValueError, sqlite3.Error):
        pass  # a missing or unreadable seal says the same as a wrong one
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    return f"the store of vectors was damaged or not closed properly; its vectors are rebuilt in {folder}"


def seal(folder: Path) -> None:
    """Record the files as they are. Any later write by Chroma breaks the seal."""
    fresh = folder / f"{SEAL}.new"
    with suppress(OSError):
        fresh.write_text(json.dumps(_sealed(_files(folder))))
        os.replace(fresh, folder / SEAL)


def break_seal(folder: Path) -> None:
    """Let the next process delete the files and rebuild the vectors."""
    with suppress(OSError):
        (folder / SEAL).unlink()


def _sealed(files: dict[str, list[int]]) -> dict[str, object]:
    # Another version of Chroma may read the same files differently.
    return {"chromadb": version("chromadb"), "files": files}


def _files(folder: Path) -> dict[str, list[int]]:
    """Return the size and modification time of each of Chroma's files."""
    files = {}
    for path in folder.rglob("*"):
        if not path.name.startswith(SEAL) and not path.is_dir():
            status = path.lstat()
            files[str(path.relative_to(folder))] = [status.st_size, status.st_mtime_ns]
    return files


def _delete_orphans(folder: Path) -> None:
    """Delete the folders of collections that are gone. Chroma leaves them on the disk."""
    database = (folder / DATABASE).absolute().as_uri()
    # Opening the file here is safe only while Chroma does not have it open in this process.
    with closing(sqlite3.connect(f"{database}?mode=rw", uri=True)) as connection:
        kept = {str(row[0]) for row in connection.execute("SELECT id FROM segments")}
    for path in folder.iterdir():
        with suppress(ValueError):
            if path.is_dir() and str(UUID(path.name)) not in kept:
                shutil.rmtree(path, ignore_errors=True)
