"""The files that a build left in the workspace, checked and stored for later runs."""

import tarfile
from pathlib import Path

from sandbox.environment.backend import Build
from sandbox.environment.detection.sources import resolve

MAX_MB = 128
"""The most that generated files may take, since every run copies them."""

_MAX_FILES = 20_000


class TooMuchGenerated(Exception):
    """The build left more in the workspace than runs can copy."""


def store_files(build: Build) -> None:
    """Keep the files of a build that its snapshot lacks, where no command runs."""
    snapshot = build.place / "snapshot.tar"
    with snapshot.open("wb") as file:
        file.writelines(build.files)
    store_generated(snapshot, build.place / "generated.tar", build.paths)
    snapshot.unlink()


def generated_file(archive: Path, path: str) -> bytes | None:
    """Return a file of a stored archive, None if it holds none of that name."""
    if not archive.is_file() or not archive.stat().st_size:
        return None
    with tarfile.open(archive, "r:") as members:
        for member in members:
            if member.name == path and member.isreg() and (content := members.extractfile(member)):
                return content.read()
    return None


def store_generated(source: Path, target: Path, tracked: frozenset[str]) -> int:
    """Rewrite the archive that a build made as members without an end, and return their number.

    The archive is untrusted. Only files and links with plain paths are kept, and none that the snapshot has.
    """
    if source.is_symlink() or not source.is_file():
        target.write_bytes(b"")
        return 0
    folders = {str(above) for path in tracked for above in Path(path).parents}
    count = size = 0
    with tarfile.open(source, "r:") as archive, target.open("wb") as out:
        for member in archive:
            path = resolve("", member.name)
            if not path or path in tracked or path in folders or path.split("/")[0] == ".git":
                continue
            if not (member.isreg() or member.issym()):
                continue
            count, size = count + 1, size + member.size
            if count > _MAX_FILES or size > MAX_MB * 2**20:
                most = f"{_MAX_FILES:,} files or {MAX_MB} MB"
                raise TooMuchGenerated(f"more than {most} are generated or ignored in the workspace")
            kept = tarfile.TarInfo(path)
            kept.type, kept.linkname = member.type, member.linkname if member.issym() else ""
            kept.mode, kept.mtime = (0o755 if member.mode & 0o100 else 0o644), member.mtime
            kept.size = member.size if member.isreg() else 0
            out.write(kept.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
            if member.isreg() and (content := archive.extractfile(member)):
                data = content.read()
                out.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
    return count
