"""Snapshots of a repository's files, stored as commits in its object database through pygit2."""

from tools.workspace.diff import LineChange, line_changes
from tools.workspace.errors import NotARepository, OutsideBounds, PathError, WorkspaceError
from tools.workspace.merge import FileConflict, Merged
from tools.workspace.paths import check_path
from tools.workspace.snapshots import Change
from tools.workspace.workspace import Base, Workspace, archive

__all__ = [
    "Base",
    "Change",
    "FileConflict",
    "LineChange",
    "Merged",
    "NotARepository",
    "OutsideBounds",
    "PathError",
    "Workspace",
    "WorkspaceError",
    "archive",
    "check_path",
    "line_changes",
]
