"""The branches of a thread, and which of them hold nothing but what AutoCodeAI has delivered."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pygit2
from pygit2.enums import ReferenceType

from tools.workspace.errors import WorkspaceError, damage, git_errors
from tools.workspace.objects import EMAIL, NAME
from tools.workspace.refs import BRANCHES, NOTES, Refs

MOST_TIPS = 500
"""Number of branches up to which it is checked who else has a commit. Beyond it, the notes stay."""

_MOST_COMMITS = 1000
_RUN = re.compile(r"^Autocode-Run: (\S+)$", re.MULTILINE)
_TREE = re.compile(r"^Autocode-Tree: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class ThreadBranch:
    """A branch of a thread and its newest commit. `kept` is the reason why it is not deleted, or empty."""

    name: str
    commit: str
    kept: str = ""


@dataclass(frozen=True)
class ThreadBranches:
    """The branches of the thread whose runs have the ids `runs`."""

    repo: pygit2.Repository
    refs: Refs
    thread: str
    runs: Collection[str]

    def all(self) -> list[ThreadBranch]:
        """Return the branches by name."""
        names = re.compile(rf"{re.escape(f'{BRANCHES}/{self.thread}')}(?:-unverified(?:-\d+)?)?")
        with damage(self.refs.store):
            refs = sorted(os.fsdecode(ref) for ref in self.repo.raw_listall_references())
            return [self._branch(ref) for ref in refs if names.fullmatch(ref)]

    def delete(self) -> list[ThreadBranch]:
        """Delete the branches without a reason to be kept, and the notes of commits that only they have.

        Return all branches as they were.
        """
        branches = self.all()
        gone = [branch for branch in branches if not branch.kept]
        for commit in self._lonely(gone):
            with suppress(KeyError), git_errors(f"{self.refs.store}: cannot write {NOTES}"):
                author = pygit2.Signature(NAME, EMAIL)
                self.repo.lookup_note(commit, NOTES).remove(author, author, NOTES)
        for branch in gone:
            with damage(self.refs.store):
                ref = self.repo.references.get(f"refs/heads/{branch.name}")
            if ref and str(ref.target) == branch.commit:  # else somebody has just committed to it
                self.refs.delete(ref)
        return branches

    def _branch(self, ref: str) -> ThreadBranch:
        name = ref.removeprefix("refs/heads/")
        reference = self.repo.references[ref]
        if reference.type == ReferenceType.SYMBOLIC:
            return ThreadBranch(name, "", f"it stands for {reference.target}")
        tip = reference.peel(pygit2.Commit)
        if not self._is_ours(tip):
            return ThreadBranch(name, str(tip.id), "it has commits that are not of this thread")
        try:
            self.refs.check_not_checked_out(name, ref)
        except WorkspaceError:
            return ThreadBranch(name, str(tip.id), "it is checked out")
        return ThreadBranch(name, str(tip.id))

    def _is_ours(self, commit: pygit2.Commit) -> bool:
        """Return True for a commit of the thread's runs that nobody has amended."""
        runs, trees = _RUN.findall(commit.message), _TREE.findall(commit.message)
        by_us = (commit.committer.raw_name, commit.committer.raw_email) == (NAME.encode(), EMAIL.encode())
        # The trailers come last, after whatever the task says.
        return by_us and bool(runs and trees) and runs[-1] in self.runs and trees[-1] == str(commit.tree_id)

    def _lonely(self, gone: list[ThreadBranch]) -> Iterator[str]:
        """Yield the delivered commits of branches that no other branch has."""
        names = {f"refs/heads/{branch.name}" for branch in gone}
        refs = {os.fsdecode(ref) for ref in self.repo.raw_listall_references()} - names
        others = [ref for ref in refs if ref.startswith(("refs/heads/", "refs/remotes/"))]
        if len(others) > MOST_TIPS:
            return
        tips = []
        for name in ("HEAD", *others):
            with suppress(WorkspaceError):
                tips.append(self.refs.resolve(name))
        for branch in gone:
            commit = self.repo[branch.commit].peel(pygit2.Commit)
            for _ in range(_MOST_COMMITS):
                if not self._is_ours(commit):
                    break
                if all(self.refs.meeting(tip, str(commit.id)) != str(commit.id) for tip in tips):
                    yield str(commit.id)
                if not commit.parent_ids:
                    break
                commit = self.repo[commit.parent_ids[0]].peel(pygit2.Commit)
