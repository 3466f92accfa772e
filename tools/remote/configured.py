"""Remotes of a repository, read from its configuration as text. git never reads it."""

import re
from pathlib import Path

import pygit2

from tools.remote.errors import RemoteError, RemoteRefused
from tools.remote.remote_url import RemoteUrl, configured_url
from tools.workspace import Workspace
from tools.workspace.errors import git_errors

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}")


def remote_names(repository: Path) -> list[str]:
    """List the remotes of a repository, `origin` first."""
    with git_errors(f"{repository}: its configuration cannot be read"):
        names = pygit2.Repository(str(repository)).remotes.names()
    return sorted(filter(None, names), key=lambda name: (name != "origin", name))


def remote_url(workspace: Workspace, name: str, push: bool = False) -> RemoteUrl:
    """Return the address of a remote. Rules that replace addresses (`insteadOf`) are not followed.

    Raises RemoteRefused for a name that is none, or an address that is never used, RemoteError without one.
    """
    if not _NAME.fullmatch(name):
        raise RemoteRefused(f"{name[:200]!r} is no name of a remote; `git remote` lists them")
    keys = [f"remote.{name}.pushurl"] if push else []
    for key in (*keys, f"remote.{name}.url"):
        with git_errors(f"{workspace.path}: its configuration cannot be read"):
            values = list(pygit2.Repository(str(workspace.store)).config.get_multivar(key))
        # libgit2's own list of remotes has `insteadOf` applied, which could redirect a push.
        if values and values[0]:
            return configured_url(values[0], workspace.path)
    known = ", ".join(remote_names(workspace.path)) or "none; add one with `git remote add origin ADDRESS`"
    raise RemoteError(f"{workspace.path}: there is no remote {name!r}; its remotes are: {known}")


def default_remote(workspace: Workspace) -> str:
    """Return `origin`, or the only remote. Raises RemoteError if that is not clear."""
    names = remote_names(workspace.path)
    if names and (names[0] == "origin" or len(names) == 1):
        return names[0]
    known = (
        f"its remotes are: {', '.join(names)}; name one"
        if names
        else "add one: git remote add origin ADDRESS"
    )
    raise RemoteError(f"{workspace.path}: there is no remote `origin`; {known}")
