"""Snapshots of a repository's files, stored as commits in its object database through pygit2."""

from tools.workspace.applying import (
    Application,
    ApplyRecord,
    ChangedFile,
    FileHunk,
    Selection,
    Undone,
    shown_path,
)
from tools.workspace.diff import LineChange, hunks_of, line_changes
from tools.workspace.errors import (
    CheckoutConflict,
    NotARepository,
    Outdated,
    OutsideBounds,
    PathError,
    WorkspaceError,
)
from tools.workspace.merge import FileConflict, Merged
from tools.workspace.paths import check_path
from tools.workspace.snapshots import Change
from tools.workspace.thread_branches import ThreadBranch
from tools.workspace.workspace import Base, Workspace, archive

__all__ = [
    "Application",
    "ApplyRecord",
    "Base",
    "Change",
    "ChangedFile",
    "CheckoutConflict",
    "FileConflict",
    "FileHunk",
    "LineChange",
    "Merged",
    "NotARepository",
    "Outdated",
    "OutsideBounds",
    "PathError",
    "Selection",
    "ThreadBranch",
    "Undone",
    "Workspace",
    "WorkspaceError",
    "archive",
    "check_path",
    "hunks_of",
    "line_changes",
    "shown_path",
]
