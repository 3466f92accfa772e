"""Where a run works: a repository below the folders that are allowed, or a scratch one made for its task."""

import os
from collections.abc import Sequence
from pathlib import Path

import pygit2
from pygit2.enums import CheckoutStrategy, FileMode

from graph.run_request import scratch_folder
from graph.settings import Settings
from nodes.state import ContextFile
from server.api.problems import Problem
from tools.workspace import PathError, Workspace, WorkspaceError, check_path

Files = Sequence[str | ContextFile]


def checked(settings: Settings, repo: str) -> str:
    """The root of the repository at `repo`; Problem where it may not be used, WorkspaceError where it cannot.

    Symbolic links are followed first, and git's own folder must lie below the allowed ones as well.
    """
    path = Path(repo)
    if not path.is_absolute():
        raise Problem(422, "Repository unusable", f"{repo}: give the repository's absolute path")
    _check_nameable(path)
    _check_below(settings, path, repo)
    workspace = Workspace.open(path.resolve())
    _check_below(settings, workspace.path, repo)
    _check_below(settings, workspace.store, repo)
    return str(workspace.path)


def scratch(settings: Settings, thread_id: str, files: Files) -> tuple[str, list[str]]:
    """Make a repository for a thread, its first commit holding the files that came with their contents.

    Gives its path, and the paths of all `files`.
    """
    place = scratch_folder(settings, thread_id)
    contents = {one["path"]: one["content"] for one in files if not isinstance(one, str)}
    try:
        for path in contents:
            check_path(path)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (place / ".git").exists():
            _commit(place, contents)
    except (PathError, UnicodeEncodeError) as error:
        raise Problem(422, "Invalid context file", str(error)) from error
    except (OSError, pygit2.GitError) as error:
        raise WorkspaceError(f"{place}: the scratch repository cannot be made: {error}") from error
    return str(place), [one if isinstance(one, str) else one["path"] for one in files]


def _check_nameable(path: Path) -> None:
    """Refuse what no file system can look up: a path too long, with a NUL in it, or of links in a circle."""
    try:
        path.resolve().is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        detail = f"no folder can be found at the path given as `repo`: {error}"
        raise Problem(422, "Repository unusable", detail) from error


def _check_below(settings: Settings, path: Path, named: str) -> None:
    roots = [Path(one).expanduser().resolve() for one in settings.autocode_repos.split(os.pathsep) if one]
    if roots and not any(
        path.resolve().is_relative_to(root) for root in [*roots, scratch_folder(settings, "").resolve()]
    ):
        detail = f"{named} does not lie below the folders that AUTOCODE_REPOS allows"
        raise Problem(
            403, "Repository not allowed", f"{detail}; choose one that does, or add its folder there"
        )


def _commit(place: Path, contents: dict[str, str]) -> None:
    repository = pygit2.init_repository(place, initial_head="main")
    for path, content in contents.items():
        blob = repository.create_blob(content.encode())
        repository.index.add(pygit2.IndexEntry(path, blob, FileMode.BLOB))
    author = pygit2.Signature("AutoCodeAI", "autocode@localhost")
    tree = repository.index.write_tree()
    repository.create_commit("HEAD", author, author, "What the task came with", tree, [])
    repository.checkout("HEAD", strategy=CheckoutStrategy.FORCE)
