"""The refs, branches and notes that belong to AutoCodeAI, and keep its snapshots."""

import os
import time
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path

import pygit2
from pygit2.enums import ReferenceType

from tools.workspace.errors import WorkspaceError, damage, git_errors
from tools.workspace.objects import EMAIL, NAME, Objects, as_message, clean
from tools.workspace.opening import SMALL_BYTES, GitFolder, read_file

HELD = "refs/autocode"
BRANCHES = "refs/heads/autocode"
NOTES = "refs/notes/autocode"
APPLIED = "applied"
"""Name of the ref, below refs/autocode/<thread>, that holds the record of what the user applied last."""

STALE_LOCK_SECONDS = 3.0
"""Age at which a lock counts as left by a killed process, for git holds it for milliseconds."""

_ATTEMPTS = 100


class Refs:
    """Writes below refs/autocode, refs/heads/autocode and refs/notes/autocode, and nowhere else.

    `store` is the .git folder, which can be far from the checkout.
    """

    def __init__(self, repo: pygit2.Repository, objects: Objects, folder: GitFolder) -> None:
        self._repo = repo
        self._objects = objects
        self._folder = folder
        self.store = Path(folder.shared)  # a linked worktree shares the refs of the main one
        repo.set_ident(NAME, EMAIL)

    def user(self) -> pygit2.Signature:
        """Return the name and email of the user's git config, else our own."""
        try:
            configured = self._repo.default_signature
            return pygit2.Signature(" ".join(configured.name.split()), "".join(configured.email.split()))
        except (KeyError, ValueError, pygit2.GitError):
            return pygit2.Signature(NAME, EMAIL)

    def check_free(self) -> None:
        """Raise WorkspaceError if there is a branch `autocode`: git then allows no `autocode/...`."""
        with damage(self.store):
            checked_out = self._repo.lookup_reference("HEAD").target == BRANCHES
            taken = checked_out or self._repo.references.get(BRANCHES) is not None
        if taken:
            raise WorkspaceError(
                f"{self.store}: a branch named `autocode` makes branches `autocode/...` impossible; "
                "rename it: git branch -m autocode NEW-NAME"
            )

    def hold(self, thread: str, name: str, snapshot: str) -> None:
        """Protect a snapshot from being pruned, as refs/autocode/<thread>/<name>."""
        ref = _checked(f"{HELD}/{_component(thread)}/{name}")
        id = self._objects.commit(snapshot).id
        self._write(ref, lambda: self._repo.create_reference(ref, id, force=True))

    def held(self, thread: str) -> dict[str, str]:
        """Map the names of a thread's snapshots to their ids."""
        prefix = f"{HELD}/{_component(thread)}/"
        with damage(self.store):
            refs = [os.fsdecode(ref) for ref in sorted(self._repo.raw_listall_references())]
            ours = [self._repo.references[ref] for ref in refs if ref.startswith(prefix)]
        return {ref.name.removeprefix(prefix): str(ref.target) for ref in ours}

    def holders(self, name: str) -> dict[str, str]:
        """Map the threads that hold a snapshot under a name to its id."""
        with damage(self.store):
            ids: dict[str, str] = {}
            for ref in map(os.fsdecode, self._repo.raw_listall_references()):
                folder, _, last = ref.rpartition("/")
                if last == name and folder.startswith(f"{HELD}/"):
                    ids[folder.removeprefix(f"{HELD}/")] = str(self._repo.references[ref].target)
            return ids

    def release(self, thread: str, keep: Container[str] = ()) -> None:
        """Delete the refs of a thread, but those named by `keep`. Delivered branches stay."""
        for name in self.held(thread):
            if name not in keep:
                self.mark(thread, name, None)

    def mark(self, thread: str, name: str, snapshot: str | None) -> None:
        """Hold a snapshot under a name, or delete the ref of this name for None."""
        if snapshot:
            return self.hold(thread, name, snapshot)
        ref = _checked(f"{HELD}/{_component(thread)}/{name}")
        with damage(self.store):
            existing = self._repo.references.get(ref)
        if existing:
            self.delete(existing)

    def delete(self, reference: pygit2.Reference) -> None:
        """Delete a ref."""
        self._write(reference.name, reference.delete)

    def deliver(self, branch: str, snapshot: str, parent: str | None, message: str) -> str:
        """Commit the snapshot's tree on top of `parent`, and move the branch forward to it.

        Delivering the same again returns the same commit. Raises WorkspaceError if the branch would lose
        commits, or is checked out.
        """
        ref = _checked(f"refs/heads/{branch}")
        if not ref.startswith(f"{BRANCHES}/"):
            raise WorkspaceError(f"{branch}: only branches `autocode/...` are written")
        self.check_free()
        tree, text, parents = self._objects.tree(snapshot).id, as_message(message), [parent] if parent else []
        with damage(self.store):
            existing = self._repo.references.get(ref)
            tip = existing.peel(pygit2.Commit) if existing else None
        if existing and existing.type == ReferenceType.SYMBOLIC:
            raise WorkspaceError(
                f"{self.store}: {ref} stands for {existing.target}; remove it: git symbolic-ref -d {ref}"
            )
        if tip:
            if (tip.tree_id, tip.message, list(map(str, tip.parent_ids))) == (tree, text, parents):
                return str(tip.id)
            self._check_forward(branch, tip.id, parent)
        self.check_not_checked_out(branch, ref)
        committer = pygit2.Signature(NAME, EMAIL)
        with git_errors(f"{self.store}: cannot write the commit"):
            id = self._objects.repo.create_commit(None, self.user(), committer, text, tree, parents)
        entry = "autocode: " + text.partition("\n")[0]
        if existing is None:
            self._write(ref, lambda: self._repo.create_reference(ref, id, message=entry))
        else:  # fails if another process has moved the branch in between
            self._write(ref, lambda: existing.set_target(id, entry))
        return str(id)

    def _check_forward(self, branch: str, tip: pygit2.Oid, parent: str | None) -> None:
        with git_errors(f"{self.store}: cannot compare {branch} with its new commit"):
            if parent and (str(tip) == parent or self._repo.descendant_of(parent, tip)):
                return
        raise WorkspaceError(
            f"the branch {branch} has commits that the new commit does not contain ({str(tip)[:10]}); "
            f"keep them under another name: git branch -m {branch} NEW-NAME"
        )

    def check_not_checked_out(self, branch: str, ref: str) -> None:
        """Raise WorkspaceError if a branch is checked out, here or in a linked worktree."""
        # libgit2 would open the repositories of all worktrees, wherever they are.
        heads = [self._folder.own, self.store, *(self.store / "worktrees").glob("*")]
        texts = [read_file(f"{folder}/HEAD", SMALL_BYTES) or b"" for folder in heads]
        if f"ref: {ref}" in [os.fsdecode(text).strip() for text in texts]:
            raise WorkspaceError(
                f"the branch {branch} is checked out, and its files would no longer match it; "
                "switch to another branch first: git switch -"
            )

    def note(self, commit: str, text: str) -> None:
        """Attach a note to a commit in refs/notes/autocode. It replaces an earlier note."""
        author = pygit2.Signature(NAME, EMAIL)
        id = str(self._objects.commit(commit).id)
        self._write(NOTES, lambda: self._repo.create_note(clean(text), author, author, id, NOTES, True))

    def read_note(self, commit: str) -> str | None:
        """Read the note of a commit."""
        id = str(self._objects.commit(commit).id)
        with damage(self.store), suppress(KeyError):
            return self._repo.lookup_note(id, NOTES).message
        return None

    def resolve(self, name: str) -> str:
        """Return the commit of a branch, a tag, an id or the prefix of an id."""
        try:
            return str(self._repo.revparse_single(name).peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise WorkspaceError(f"{self.store}: {name!r} names no commit ({error})") from error

    def meeting(self, one: str, other: str) -> str | None:
        """Return the newest commit that two commits have in common, or None."""
        with git_errors(f"{self.store}: cannot compare {one} with {other}"):
            base = self._repo.merge_base(self._objects.commit(one).id, self._objects.commit(other).id)
        return str(base) if base else None

    def _write(self, ref: str, act: Callable[[], object]) -> None:
        """Run `act`. Wait while another process locks `ref`, and remove a lock that a dead process left."""
        self._check_no_links(ref)
        lock = self.store / f"{ref}.lock"
        for attempt in range(_ATTEMPTS):
            try:
                act()
                return
            except (pygit2.GitError, OSError):
                if not lock.exists() and attempt >= _ATTEMPTS // 10:
                    break
                with suppress(FileNotFoundError):
                    if time.time() - lock.stat().st_mtime > STALE_LOCK_SECONDS:
                        lock.unlink()
                time.sleep(0.05)
        with git_errors(f"{self.store}: cannot write {ref}"):
            act()

    def _check_no_links(self, ref: str) -> None:
        """Reject a ref or reflog behind a link that a hostile .git could use to make us write anywhere."""
        for place in (Path(ref), Path("logs", ref)):
            ours = [place, *(above for above in place.parents if "autocode" in above.parts)]
            for link in ours:
                if (self.store / link).is_symlink():
                    raise WorkspaceError(f"{self.store / link} is a symbolic link; remove it")
            folder = (self.store / place).parent
            if not folder.resolve().is_relative_to(self.store.resolve()):
                raise WorkspaceError(
                    f"{folder} leads out of the repository, and no ref is written there; make it a folder"
                )


def _component(thread: str) -> str:
    if not thread or "/" in thread:
        raise WorkspaceError(f"{thread!r} cannot be the name of a thread; leave out every /")
    return thread


def _checked(ref: str) -> str:
    if not ref.isprintable() or len(ref) > 240 or not pygit2.reference_is_valid_name(ref):
        raise WorkspaceError(f"{ref!r} is not a valid name for a ref; use letters, digits and -")
    return ref
