"""A tree as a tar stream, which cannot write outside the folder that it is unpacked in."""

import tarfile
from itertools import takewhile

from pygit2.enums import FileMode

from tools.workspace.objects import Objects, TreeEntry

TAR_PIECE = 1 << 20
TAR_END = bytes(2 * tarfile.BLOCKSIZE)


def tar_member(objects: Objects, path: str, entry: TreeEntry) -> bytes:
    """Return header and content of an entry. Nothing for submodules, and for links that lead out."""
    if entry.mode == FileMode.COMMIT:
        return b""
    data = objects.blob(entry.id)
    if entry.mode != FileMode.LINK:
        return file_member(path, data, entry.mode)
    if not stays_inside(path, data):
        return b""
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.SYMTYPE, 0o777
    info.linkname = data.decode("utf-8", "surrogateescape")
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def file_member(path: str, data: bytes, mode: FileMode) -> bytes:
    """Return header and content of a regular file."""
    info = tarfile.TarInfo(path)
    info.mode = 0o755 if mode == FileMode.BLOB_EXECUTABLE else 0o644
    info.size = len(data)
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return header + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def stays_inside(path: str, target: bytes) -> bool:
    """Return whether a link at `path` cannot lead above the root, whatever other links do."""
    # Only leading `..` are allowed: after a name, which may be a link itself, they could lead anywhere.
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = sum(1 for _ in takewhile(lambda part: part == b"..", parts))
    plain = bool(target) and not target.startswith(b"/") and b"\0" not in target
    return plain and climbs <= path.count("/") and b".." not in parts[climbs:]
