"""A tree as a tar stream, which cannot write outside the folder that it is unpacked in."""

import tarfile
from collections.abc import Iterator
from itertools import takewhile

from pygit2.enums import FileMode

from tools.workspace.large_blobs import LARGE, LargeBlobs
from tools.workspace.objects import Objects, TreeEntry

TAR_PIECE = 1 << 20
TAR_END = bytes(2 * tarfile.BLOCKSIZE)
_LONGEST_LINK = 4096


def tar_member(objects: Objects, large: LargeBlobs, path: str, entry: TreeEntry) -> Iterator[bytes]:
    """Yield header and content of an entry. Nothing for submodules, and for links that lead out."""
    if entry.mode == FileMode.COMMIT:
        return
    size = objects.size(entry.id)
    if entry.mode == FileMode.LINK:
        target = objects.blob(entry.id) if size <= _LONGEST_LINK else b""
        if stays_inside(path, target):
            yield _link(path, target)
    elif size < LARGE:
        yield file_member(path, objects.blob(entry.id), entry.mode)
    else:
        yield _header(path, size, entry.mode)
        yield from large.pieces(entry.id)
        yield bytes(-size % tarfile.BLOCKSIZE)


def file_member(path: str, data: bytes, mode: FileMode) -> bytes:
    """Return header and content of a regular file."""
    return _header(path, len(data), mode) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(path: str, size: int, mode: FileMode) -> bytes:
    info = tarfile.TarInfo(path)
    info.mode = 0o755 if mode == FileMode.BLOB_EXECUTABLE else 0o644
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _link(path: str, target: bytes) -> bytes:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.SYMTYPE, 0o777
    info.linkname = target.decode("utf-8", "surrogateescape")
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def stays_inside(path: str, target: bytes) -> bool:
    """Return whether a link at `path` cannot lead above the root, whatever other links do."""
    # Only leading `..` are allowed: after a name, which may be a link itself, they could lead anywhere.
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = sum(1 for _ in takewhile(lambda part: part == b"..", parts))
    plain = bool(target) and not target.startswith(b"/") and b"\0" not in target
    return plain and climbs <= path.count("/") and b".." not in parts[climbs:]
