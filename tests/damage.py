"""Ways to make a repository hostile."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], object]


def fifo(path: str) -> Damage:
    """Put a FIFO in the place of a file."""

    def damage(repo: Path) -> None:
        place = repo / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        os.mkfifo(place)

    return damage


def held(path: str) -> Damage:
    """Put a FIFO in the place of a file, and hold it open for good, as one who never writes."""

    def damage(repo: Path) -> None:
        fifo(path)(repo)
        os.open(repo / path, os.O_RDWR)

    return damage


def link(path: str, target: str) -> Damage:
    """Put a symbolic link in the place of a file."""

    def damage(repo: Path) -> None:
        place = repo / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    return damage


def text(path: str, content: str | bytes, *more: Damage) -> Damage:
    """Write a file."""

    def damage(repo: Path) -> None:
        place = repo / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        for further in more:
            further(repo)

    return damage


def config(content: str, *more: Damage) -> Damage:
    """Add lines to the configuration."""

    def damage(repo: Path) -> None:
        with (repo / ".git/config").open("a") as file:
            file.write(content)
        for further in more:
            further(repo)

    return damage


def folder(path: str) -> Damage:
    """Put a folder in the place of a file."""

    def damage(repo: Path) -> None:
        (repo / path).unlink(missing_ok=True)
        (repo / path).mkdir(parents=True)

    return damage


def large(path: str, size: int) -> Damage:
    """Put a sparse file in the place of a file."""

    def damage(repo: Path) -> None:
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        with (repo / path).open("wb") as file:
            file.truncate(size)

    return damage


def moved(path: str) -> Damage:
    """Move a file or folder out of the repository, and leave a link to it."""

    def damage(repo: Path) -> None:
        outside = repo.parent.parent / "outside" / Path(path).name
        shutil.move(repo / path, outside)
        (repo / path).symlink_to(outside)

    return damage


def cut(path: str, size: int) -> Damage:
    """Cut a file."""
    return lambda repo: os.truncate(repo / path, size)


def git(repo: Path, *arguments: str) -> str:
    """Run git in a repository that is not hostile yet."""
    done = subprocess.run(["git", *arguments], cwd=repo, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def loose(repo: Path, name: str) -> Path:
    """Return the file of an object, such as `HEAD:a.py`."""
    id = git(repo, "rev-parse", name)
    return repo / ".git/objects" / id[:2] / id[2:]


def object_fifo(name: str) -> Damage:
    """Put a FIFO in the place of an object."""

    def damage(repo: Path) -> None:
        place = loose(repo, name)
        place.unlink()
        os.mkfifo(place)

    return damage


def no_object(name: str) -> Damage:
    """Remove an object."""
    return lambda repo: loose(repo, name).unlink()


def bad_object(name: str) -> Damage:
    """Fill an object with what is none."""

    def damage(repo: Path) -> None:
        place = loose(repo, name)
        place.chmod(0o644)
        place.write_bytes(b"no object")

    return damage


def a_socket(path: str) -> Damage:
    """Put a socket in the place of a file."""

    def damage(repo: Path) -> None:
        (repo / path).unlink(missing_ok=True)
        here = Path.cwd()
        os.chdir(repo / Path(path).parent)  # the name of a socket is limited to 107 bytes
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(Path(path).name)
        os.chdir(here)

    return damage


def packed(*damages: Damage) -> Damage:
    """Pack all refs and objects, and do more damage."""

    def damage(repo: Path) -> None:
        git(repo, "gc", "-q")
        for further in damages:
            further(repo)

    return damage


def gone(path: str) -> Damage:
    """Remove a file."""
    return lambda repo: (repo / path).unlink()


def alone(*damages: Damage) -> Damage:
    """Remove the git folder, and do more damage."""

    def damage(repo: Path) -> None:
        shutil.rmtree(repo / ".git")
        for further in damages:
            further(repo)

    return damage


def names(count: int) -> list[Damage]:
    """Add files with long names."""
    return [text(f"{'a' * 200}b{number}", "") for number in range(count)]
