"""A git folder of our own, so that git reads neither the configuration nor the hooks of a repository."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from memory.records.owner import Owner, this_process
from tools.remote.errors import RemoteError

Setting = tuple[str, str]
"""A key such as `credential.https://host.helper`, and its value."""

OWN_DIRS = "git"
"""The folder of AUTOCODE_HOME for git folders of our own, which exist while a remote is used."""

_SHALLOW_BYTES = 1 << 20
_PACK = re.compile(r"pack-[0-9a-f]{40}")

SAFE: tuple[Setting, ...] = (
    ("core.bare", "true"),
    ("core.hooksPath", os.devnull),
    # git would else run `git for-each-ref` in the repository, which reads its configuration.
    ("core.alternateRefsCommand", "true"),
    # These files of a repository are shortcuts, which a hostile one can fill with anything.
    ("core.commitGraph", "false"),
    ("core.multiPackIndex", "false"),
    ("pack.useBitmaps", "false"),
    ("core.packedGitWindowSize", "32m"),
    ("core.packedGitLimit", "256m"),
    ("core.bigFileThreshold", "1m"),  # larger files are streamed, and never a delta's base in memory
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.fsckObjects", "true"),
    # Old commits of honest projects have these faults, which do no harm.
    *(
        (f"fetch.fsck.{fault}", "warn")
        for fault in ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate")
    ),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("push.followTags", "false"),
    ("push.recurseSubmodules", "no"),
    ("push.gpgSign", "false"),
    ("submodule.recurse", "false"),
    ("protocol.version", "2"),
    ("http.followRedirects", "initial"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "20"),
)
"""Settings of every folder. Users' own ones come after them, where they are allowed at all."""


@contextmanager
def own_git_dir(
    place: Path | None, objects: Path | None = None, settings: Sequence[Setting] = ()
) -> Iterator[Path]:
    """Make a bare git folder that nobody else can enter, with access to the objects of a repository.

    It lies in `place`, or with the system's temporary files. `objects` is the repository's folder of that
    name.
    """
    if place:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(place)
    # A colon would separate paths in some variables of git.
    prefix = f"{this_process()}-".replace(":", "+") if place else "autocode-git-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for inner in ("objects/info", "objects/pack", "refs/heads"):
            (folder / inner).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        (folder / "config").write_text(config_text([("core.repositoryFormatVersion", "0"), *SAFE, *settings]))
        if objects:
            path = objects.resolve()
            if "\n" in str(path):  # git and libgit2 disagree on how to write such a path
                raise RemoteError(f"{path}: there is a line break in this path; move the repository")
            (folder / "objects/info/alternates").write_bytes(os.fsencode(path) + b"\n")
            _copy_shallow(objects.parent, folder)
        yield folder


def remove_leftovers(place: Path) -> None:
    """Remove the folders of processes that have died. One of them may hold the header of a login."""
    for folder in place.glob("*-*"):
        owner = Owner.parse(folder.name.rpartition("-")[0].replace("+", ":"))
        if owner and owner.died():
            shutil.rmtree(folder, ignore_errors=True)


def config_text(settings: Sequence[Setting]) -> str:
    """Return settings in the format of git's configuration files."""
    lines = []
    for key, value in settings:
        section, _, rest = key.partition(".")
        inner, _, name = rest.rpartition(".")
        lines.append(f"[{section} {_quoted(inner)}]" if inner else f"[{section}]")
        lines.append(f"\t{name} = {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\0", "")
    return f'"{escaped}"'


def write_ref(folder: Path, ref: str, commit: str) -> None:
    """Point a ref of our own folder to a commit."""
    place = folder / ref
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{commit}\n")


def keep_packs(folder: Path, objects: Path) -> None:
    """Copy what was received into the object database of a repository. Raises RemoteError."""
    target = objects / "pack"
    if objects.is_symlink() or target.is_symlink():
        raise RemoteError(f"{target} is a symbolic link; nothing is written there")
    try:
        target.mkdir(exist_ok=True)
        packs = (pack for pack in (folder / "objects/pack").iterdir() if _PACK.fullmatch(pack.stem))
        # git looks for an index first, so that the pack has to be there before.
        for file in sorted(packs, key=lambda pack: pack.suffix == ".idx"):
            if file.suffix in (".pack", ".idx") and not (target / file.name).exists():
                _copy(file, target / file.name)
    except OSError as error:
        raise RemoteError(f"{target}: cannot store what was received: {error}") from error


def _copy(file: Path, target: Path) -> None:
    handle, temporary = tempfile.mkstemp(prefix="tmp_pack_", dir=target.parent)
    os.close(handle)
    try:
        shutil.copyfile(file, temporary)
        Path(temporary).chmod(0o444)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _copy_shallow(store: Path, folder: Path) -> None:
    """Tell git where the history of a shallow clone ends."""
    place = store / "shallow"
    with suppress(OSError, UnicodeDecodeError):
        if place.is_file() and not place.is_symlink() and place.stat().st_size <= _SHALLOW_BYTES:
            text = place.read_text("ascii")
            if all(re.fullmatch(r"[0-9a-f]{40}", line) for line in text.splitlines()):
                (folder / "shallow").write_text(text)
