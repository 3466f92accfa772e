"""A clone: the files of a public repository as a folder of a snapshot, without its history and `.git`."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import pygit2
from pygit2.enums import FileMode

from tools.remote.connection import REMOTE, Connection, connect
from tools.remote.errors import RemoteError, RemoteRefused
from tools.remote.git_dir import keep_packs
from tools.remote.git_program import GitProgram
from tools.remote.remote_url import RemoteUrl, clone_url
from tools.workspace import PathError, Workspace, WorkspaceError, check_path
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import Objects
from tools.workspace.packing.archive import stays_inside

_REF = "refs/autocode/cloned"
_MODULE_BYTES = 48 * 1024
_PATH_BYTES = 1000


@dataclass(frozen=True)
class CloneLimits:
    """Limits of what a clone may hold."""

    files: int = 50_000
    bytes: int = 500 << 20
    file_bytes: int = 100 << 20


@dataclass(frozen=True)
class Cloned:
    """A snapshot with the files of a repository in `folder`. Submodules are left out, and named."""

    snapshot: str
    folder: str
    url: str
    commit: str
    files: int
    bytes: int
    submodules: tuple[str, ...] = ()


async def clone(
    git: GitProgram,
    workspace: Workspace,
    head: str,
    url: str,
    folder: str,
    *,
    branch: str = "",
    hosts: Collection[tuple[str, int]] = (),
    limits: CloneLimits | None = None,
) -> Cloned:
    """Fetch the newest files of a repository into a new folder of the snapshot `head`.

    `hosts` are hosts and ports that the user allowed although they are internal, or speak http. Raises
    RemoteError, PathError for the folder, WorkspaceError.
    """
    address = clone_url(url, hosts)
    check_path(folder)
    await asyncio.to_thread(workspace.check_absent, head, folder)
    ref = f"refs/heads/{check_branch(branch)}" if branch else "HEAD"
    async with connect(git, address, hosts=hosts) as connection:
        output = await connection.run(
            "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            REMOTE, f"+{ref}:{_REF}",
        )  # fmt: skip
        if output.exit_code:
            raise connection.failure(output)
        await _check_modules(connection)
        return await asyncio.to_thread(
            _adopt, workspace, head, folder, address, connection.folder, limits or CloneLimits()
        )


def check_branch(name: str) -> str:
    """Return the name of a branch. Raises RemoteRefused for one that git or its options would misread."""
    plain = name.isprintable() and name.isascii() and len(name) <= 200 and not name.startswith(("-", "+"))
    # git allows `+x` as a name, but in a refspec the sign means force.
    if not plain or not pygit2.reference_is_valid_name(f"refs/heads/{name}") or name.startswith("refs/"):
        raise RemoteRefused(f"{name[:200]!r} is no name of a branch; write one such as main")
    return name


def _adopt(
    workspace: Workspace, head: str, folder: str, url: RemoteUrl, received: Path, limits: CloneLimits
) -> Cloned:
    repository = pygit2.Repository(str(received))
    commit = repository.references[_REF].peel(pygit2.Commit)
    objects = Objects(repository.odb, received / "objects")
    try:
        entries = dict(_checked(iter(objects.listing(commit.tree).entries.items()), objects, limits))
    except (RemoteRefused, WorkspaceError, PathError) as error:
        raise RemoteRefused(f"{url}: {error}") from error
    modules = tuple(path for path, entry in entries.items() if entry.mode == FileMode.COMMIT)
    kept = {path: entry for path, entry in entries.items() if entry.mode != FileMode.COMMIT}
    if not kept:
        raise RemoteError(f"{url}: the repository has no files")
    size = sum(objects.size(entry.id) for entry in kept.values())
    # Nothing enters the repository before all of it was checked.
    keep_packs(received, workspace.store / "objects")
    placed = {f"{folder}/{path}": entry for path, entry in kept.items()}
    snapshot = workspace.place(head, placed, f"Clone {url} into {folder}")
    return Cloned(snapshot, folder, str(url), str(commit.id), len(kept), size, modules)


def _checked(
    entries: Iterator[tuple[str, TreeEntry]], objects: Objects, limits: CloneLimits
) -> Iterator[tuple[str, TreeEntry]]:
    """Pass on entries that any file system can hold. Raises RemoteRefused, PathError."""
    total = 0
    spellings: dict[str, str] = {}
    for count, (path, entry) in enumerate(entries, 1):
        check_path(path)
        if len(path.encode()) > _PATH_BYTES:
            raise RemoteRefused(f"{path[:100]}… is a path of more than {_PATH_BYTES} bytes")
        _check_collision(path, spellings)
        size = 0 if entry.mode == FileMode.COMMIT else objects.size(entry.id)
        total += size
        if size > limits.file_bytes:
            raise RemoteRefused(f"{path} is larger than {limits.file_bytes >> 20} MB")
        if count > limits.files or total > limits.bytes:
            raise RemoteRefused(f"it has more than {limits.files} files or {limits.bytes >> 20} MB")
        if entry.mode == FileMode.LINK and (
            size > _PATH_BYTES or not stays_inside(path, objects.blob(entry.id))
        ):
            raise RemoteRefused(f"{path} is a symbolic link that leads out of the repository")
        yield path, entry


def _check_collision(path: str, spellings: dict[str, str]) -> None:
    """Refuse two paths that are one on a file system without upper case, or one that joins accents."""
    while path:
        folded = normalize("NFC", path.casefold())
        known = spellings.setdefault(folded, path)
        if known != path:
            raise RemoteRefused(f"{path} and {known} are one path on some file systems")
        path = path.rpartition("/")[0]
        if spellings.get(normalize("NFC", path.casefold())) == path:
            return  # its folders are known too


async def _check_modules(connection: Connection) -> None:
    """Refuse submodules whose addresses run programs. Somebody may initialise them later."""
    place = connection.folder / "modules"
    if not await asyncio.to_thread(_write_modules, connection.folder, place):
        return
    # Only git itself reads the file as git will.
    output = await connection.git.run(
        connection.folder,
        ["config", "--file", str(place), "--no-includes", "--null", "--get-regexp", r"^submodule\..*\.url$"],
    )
    if output.exit_code not in (0, 1):
        raise RemoteRefused(f"{connection.url}: .gitmodules cannot be read")
    for entry in filter(None, output.text.split("\0")):
        address = entry.partition("\n")[2].strip()
        if "::" in address.partition("/")[0] or address.startswith(("-", "file:", "/")):
            raise RemoteRefused(f"{connection.url}: the submodule address {address[:100]!r} is refused")


def _write_modules(received: Path, place: Path) -> bool:
    """Write the fetched .gitmodules to a file, if there is one."""
    repository = pygit2.Repository(str(received))
    objects = Objects(repository.odb, received / "objects")
    entry = objects.entry(repository.references[_REF].peel(pygit2.Commit).tree, ".gitmodules")
    if entry is None or not entry.is_file:
        return False
    if objects.size(entry.id) > _MODULE_BYTES:
        raise RemoteRefused(f".gitmodules is larger than {_MODULE_BYTES >> 10} KB")
    place.write_bytes(objects.blob(entry.id))
    return True
