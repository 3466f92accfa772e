"""A tree as a tar stream, which cannot write outside the folder that it is unpacked in."""

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile

import pygit2
from pygit2.enums import FileMode

from tools.workspace.blocked_calls import interruptible
from tools.workspace.errors import PathError
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import Objects
from tools.workspace.packing.large_blobs import LARGE, LargeBlobs
from tools.workspace.paths import check_path

TAR_PIECE = 1 << 20
TAR_END = bytes(2 * tarfile.BLOCKSIZE)
_LONGEST_LINK = 4096

_NAME, _SUM = 100, slice(148, 156)
"""Bytes of a header that hold the name, from its start, and its check sum."""


def pack(
    objects: Objects, tree: pygit2.Tree, paths: Iterable[str] | None, edits: Mapping[str, str]
) -> Iterator[bytes]:
    """Yield a tree, or some paths of it, in pieces of about a megabyte. `edits` replaces texts."""
    with LargeBlobs(objects.folder) as large:
        members = _members(objects, large, tree, paths, edits)
        while piece := _piece(members):
            yield piece
    yield TAR_END


def _piece(members: Iterator[bytes]) -> bytes:
    """Join the next members to about a megabyte. Empty at the end."""
    joined, size = list[bytes](), 0
    with interruptible():  # a limit for each file gives the interpreter away twice, to any busy thread
        for member in members:
            joined.append(member)
            size += len(member)
            if size >= TAR_PIECE:
                break
    return b"".join(joined)


def _members(
    objects: Objects,
    large: LargeBlobs,
    tree: pygit2.Tree,
    paths: Iterable[str] | None,
    edits: Mapping[str, str],
) -> Iterator[bytes]:
    listing = objects.listing(tree)
    listed, sizes = listing.entries, objects.sizes(listing) if paths is None else {}
    for path in listed if paths is None else paths:
        if path not in edits and (entry := listed.get(path)) and entry.mode != FileMode.COMMIT:
            size = sizes[path] if paths is None else objects.size(entry.id)
            yield from _tar_member(objects, large, path, entry, size)
    for path, text in edits.items():
        check_path(path)
        kept = objects.entry(tree, path)
        yield file_member(path, encoded(path, text), kept.mode if kept else FileMode.BLOB)


def encoded(path: str, text: str) -> bytes:
    """Return the text of a file as bytes. Raises PathError."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PathError(f"{path}: the text is not valid Unicode ({error.reason})") from error


def _tar_member(
    objects: Objects, large: LargeBlobs, path: str, entry: TreeEntry, size: int
) -> Iterator[bytes]:
    """Yield header and content of an entry. Nothing for links that lead out."""
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
    bits = 0o755 if mode == FileMode.BLOB_EXECUTABLE else 0o644
    name = os.fsencode(path)
    if len(name) < _NAME:
        # `tobuf` takes most of the time for many small files, and only the name and the sum differ.
        rest, total = _rest_of_header(size, bits)
        checksum = b"%06o\0 " % (total + sum(name))
        return name.ljust(_NAME, b"\0") + rest[_NAME : _SUM.start] + checksum + rest[_SUM.stop :]
    return _whole_header(path, size, bits)


@lru_cache(maxsize=4096)
def _rest_of_header(size: int, bits: int) -> tuple[bytes, int]:
    """Return the header of a file without a name, and the sum of its bytes, which covers the name as well."""
    header = _whole_header("", size, bits)
    return header, int(header[_SUM][:6], 8)


def _whole_header(path: str, size: int, bits: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.mode, info.size = bits, size
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
