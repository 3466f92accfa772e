"""Virtual environments at hand: found on the machine, identified, and shown to programs as they are."""

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from sandbox.base import WORKSPACE, Limits, Sandbox, SandboxError
from sandbox.bubblewrap.jail import Mounts
from sandbox.environment.backend import EnvironmentFailure

_FINDER = re.compile(r"^__editable__.*_finder\.py")
_MAX_LINKS = 40
_MAX_BYTES = 1 << 20
_TRY_SECONDS = 20
_EMPTY_TAR = bytes(10_240)


def venvs_at_hand(repo: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the active virtual environment, unless it is our own, then those in the repository."""
    active = environ.get("VIRTUAL_ENV", "")
    candidates = [Path(active)] if active and not _is_same(active, sys.prefix) else []
    candidates += [repo / ".venv", repo / "venv"]
    return tuple(dict.fromkeys(path for path in candidates if _is_venv(path)))


def fingerprint(venv: Path) -> str:
    """Return a hash that changes when a package is installed, removed or replaced."""
    entries = []
    for path in _installed(venv):
        status = os.stat(path, follow_symlinks=path.exists())
        entries.append((path.name, status.st_mtime_ns))
    interpreter = os.path.realpath(venv / "bin" / "python")
    return hashlib.sha256(repr((str(venv), interpreter, entries)).encode()).hexdigest()


def mounts_of(venv: Path) -> Mounts:
    """Return the mounts that show a virtual environment and its interpreter at their own paths.

    Raises SandboxError when the folder is none: a link in a repository could lead to any folder.
    """
    if not venv.is_absolute() or not _is_venv(venv):
        raise SandboxError(f"{venv} is no virtual environment. Create it: python -m venv {venv}")
    real = os.path.realpath(venv / "bin" / "python")
    prefix = Path(real).parent.parent
    if not any(prefix.glob("lib/python3*/os.py")):
        raise SandboxError(f"the interpreter of {venv} leads to {real}, which is no Python installation")
    home = re.search(r"(?m)^home[ \t]*=[ \t]*(\S.*)", _text(venv / "pyvenv.cfg"))
    shown = [os.path.realpath(venv)]
    if not prefix.is_relative_to("/usr"):
        # The installation may lie in the repository as well, where a folder can be a link to any other.
        folders = [prefix / name for name in ("bin", "lib", "lib64")]
        shown += [str(each) for each in folders if each.is_dir() and each.resolve() in folders]
    links = _links(str(venv / "bin" / "python")) | (_links(home[1].rstrip()) if home else {})
    outside = {
        link: target
        for link, target in links.items()
        if not any(Path(link).is_relative_to(folder) for folder in (*shown, "/usr", "/bin", "/lib", "/lib64"))
    }
    return Mounts(
        read_only=tuple((path, path) for path in shown),
        links=tuple((target, link) for link, target in outside.items()),
    )


def import_paths(venv: Path) -> tuple[str, ...]:
    """Return the folders of the workspace that stand for the folders of editable installations."""
    found: dict[str, None] = {}
    for file in _installed(venv):
        if file.suffix == ".pth":
            folders = [line.strip() for line in _text(file).splitlines() if line.startswith("/")]
        elif _FINDER.fullmatch(file.name):
            folders = [os.path.dirname(path) for path in re.findall(r"'(/[^'\n]+)'", _text(file))]
        else:
            continue
        for folder in map(Path, folders):
            root = next((above for above in (folder, *folder.parents) if (above / ".git").exists()), None)
            if root:
                found[str(WORKSPACE / folder.relative_to(root))] = None
    return tuple(found)


async def check_venv(sandbox: Sandbox, venv: str) -> None:
    """Try a virtual environment in a sandbox that shows it. Raises EnvironmentFailure with the cure."""
    command = ["python", "-c", "print(1, flush=True); import pytest"]
    result = await sandbox.run([_EMPTY_TAR], command, Limits(seconds=_TRY_SECONDS))
    if not result.exit_code:
        return
    last = (result.stderr.strip().splitlines() or [f"exit code {result.exit_code}"])[-1]
    if result.stdout:
        cure = f"Install it: {venv}/bin/python -m pip install pytest"
        raise EnvironmentFailure(
            f"pytest cannot be imported in the virtual environment {venv} ({last}). {cure}"
        )
    raise EnvironmentFailure(
        f"The interpreter of the virtual environment {venv} does not start in the sandbox ({last}). "
        "Make the environment with an interpreter that every user may read"
    )


def _installed(venv: Path) -> Iterator[Path]:
    yield from sorted(venv.glob("lib/python3*/site-packages/*"))


def _text(path: Path) -> str:
    """Return the beginning of a regular file. A pipe in its place does not stop us, and has no text."""
    with suppress(OSError), open(path, "rb", opener=_at_once) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read(_MAX_BYTES).decode(errors="replace")
    return ""


def _at_once(path: str, flags: int) -> int:  # as in tools/workspace/opening, which may not be imported here
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _is_venv(path: Path) -> bool:
    # The root of a repository holds more than packages, such as the user's `.env`.
    is_checkout = (path / ".git").exists()
    return not is_checkout and (path / "pyvenv.cfg").is_file() and (path / "bin" / "python").exists()


def _is_same(first: str, second: str) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _links(path: str) -> dict[str, str]:
    """Return each symbolic link on the way to a path, with its target as it stands in the link."""
    found: dict[str, str] = {}
    waiting, place = path.split("/"), "/"
    while waiting and len(found) < _MAX_LINKS:
        here = os.path.normpath(os.path.join(place, waiting.pop(0)))
        if os.path.islink(here):
            found[here] = os.readlink(here)
            waiting = [*found[here].split("/"), *waiting]
            place = "/" if found[here].startswith("/") else os.path.dirname(here)
        else:
            place = here
    return found
