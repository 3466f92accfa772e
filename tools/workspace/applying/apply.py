"""Application of a result to the user's checkout, and its undo: every file or none, never over other work."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from tools.workspace.applying.checkout import Checkout, PathChange
from tools.workspace.applying.journal import ApplyJournal, Mark, applying, finish, recover_locked, staging
from tools.workspace.applying.records import Application, ApplyRecord, store_record
from tools.workspace.errors import CheckoutConflict, Outdated, WorkspaceError
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import Objects
from tools.workspace.refs import APPLIED, Refs
from tools.workspace.status import MOST_STEPS, look_along


@dataclass(frozen=True)
class Undone:
    """The paths that an undo changed. Those in `committed` are in HEAD as the application left them."""

    paths: tuple[str, ...]
    committed: tuple[str, ...]


@dataclass(frozen=True)
class Applying:
    """The repository whose checkout changes. `places` are the folders that may hold .gitattributes."""

    repo: pygit2.Repository
    objects: Objects
    refs: Refs
    root: Path
    places: Iterable[str]

    def apply(self, base: str, result: str, application: Application | None = None) -> tuple[str, ...]:
        """Check every path first, then write. A failure restores every file.

        An `application` is recorded, unless it changes nothing that the newest record has not.
        """
        with applying(Path(self.repo.path)):
            recover_locked(Path(self.repo.path), self.root, self.refs)
            if application:
                self._check_newest(application.thread, application.expected)
            checkout, wanted = self._wanted(_changes(self.objects, base, result))
            mark = None
            with _all_or_nothing("applied"):
                if application and (wanted or self._is_news(application)):
                    for change in wanted:
                        checkout.keep(change)
                    before = {change.path: change.old for change in wanted}
                    after = {change.path: change.new for change in wanted}
                    record = store_record(self.objects, application, before, after)
                    mark = Mark(application.thread, application.expected, record)
                self._write(checkout, wanted, mark)
            return tuple(change.path for change in wanted)

    def undo(self, record: ApplyRecord, base: str) -> Undone:
        """Give the files of an application the content that they had before it.

        A record of an older version has no such content. Its delivery is taken back to the commit `base`.
        """
        with applying(Path(self.repo.path)):
            recover_locked(Path(self.repo.path), self.root, self.refs)
            self._check_newest(record.thread, record.id)
            changes = _changes(self.objects, record.after or record.id, record.before or base)
            checkout, wanted = self._wanted(changes, undoing=True)
            committed = tuple(change.path for change in wanted if self._in_head(change))
            with _all_or_nothing("taken back"):
                self._write(checkout, wanted, Mark(record.thread, record.id, record.previous))
            return Undone(tuple(change.path for change in wanted), committed)

    def _check_newest(self, thread: str, expected: str | None) -> None:
        if self.refs.held(thread).get(APPLIED) != expected:
            raise Outdated(
                f"{self.root}: another process has applied or taken back a part of {thread} meanwhile, "
                "so nothing was changed; try again"
            )

    def _is_news(self, application: Application) -> bool:
        newest = application.expected
        return newest is None or (self.objects.tree(newest).id != self.objects.tree(application.taken).id)

    def _in_head(self, change: PathChange) -> bool:
        if self.repo.head_is_unborn:
            return False
        tree = self.repo.head.peel(pygit2.Commit).tree
        entry = self.objects.entry(self.objects.repo[tree.id].peel(pygit2.Tree), change.path)
        return entry == change.old

    def _wanted(
        self, changes: list[PathChange], *, undoing: bool = False
    ) -> tuple[Checkout, list[PathChange]]:
        """Return the changes of the files as they are now. Raises CheckoutConflict, which lists the paths."""
        nothing = "nothing was taken back" if undoing else "nothing was applied"
        look = look_along(str(self.root), self.places, (change.path for change in changes))
        if look.steps > MOST_STEPS:
            raise WorkspaceError(
                f"{self.root}: {nothing}, because its .gitattributes take too long to match (many patterns "
                "with `*`); use simpler ones, or merge the branch: git merge BRANCH"
            )
        leaving = frozenset(change.path for change in changes if not change.new)
        checkout = Checkout(self.repo, self.objects, self.root, leaving, undoing)
        wanted, problems = list[PathChange](), list[str]()
        for change in changes:
            outcome = checkout.reconcile(change)
            if isinstance(outcome, str):
                problems.append(f"  {change.path}: {outcome}")
            elif outcome.old != outcome.new:
                wanted.append(outcome)
        if problems:
            advice = "undo again" if undoing else "apply again, or merge the branch: git merge BRANCH"
            raise CheckoutConflict(
                f"{nothing}, because of these paths:\n" + "\n".join(problems) + f"\nRepair them and {advice}"
            )
        return checkout, wanted

    def _write(self, checkout: Checkout, changes: list[PathChange], mark: Mark | None) -> None:
        with staging(Path(self.repo.path), self.root) as folder:
            staged = [(change, folder / str(number)) for number, change in enumerate(changes)]
            for change, file in staged:
                if change.new:
                    checkout.stage(change, change.new, file)
            staging_of = [(change.path, change.new is not None) for change in changes]
            journal = ApplyJournal.of(self.root, folder, staging_of, mark)
            journal.write()
            try:
                # Before the first file, so that files which are all in place are never without their record.
                if mark:
                    self.refs.mark(mark.thread, APPLIED, mark.new)
                _place(checkout, staged)
            except BaseException as error:
                if kept := ", ".join(_roll_back(journal, self.refs, folder)):
                    raise WorkspaceError(f"{error}; these have changed, and stay: {kept}") from error
                raise
            finish(folder)


def _changes(objects: Objects, base: str, result: str) -> list[PathChange]:
    changes = []
    for delta in objects.diff(base, result).deltas:
        old, new = delta.old_file, delta.new_file
        path = os.fsdecode(new.raw_path)
        before = TreeEntry(old.id, FileMode(old.mode)) if old.mode else None
        changes.append(PathChange(path, before, TreeEntry(new.id, FileMode(new.mode)) if new.mode else None))
    return sorted(changes, key=lambda change: change.path)


def _place(checkout: Checkout, staged: list[tuple[PathChange, Path]]) -> None:
    for change, file in staged:
        if change.new is None:
            checkout.remove(change, file.with_suffix(".old"))
    for change, file in staged:
        if change.new:
            checkout.place(change, file)
    for change, file in staged:  # an editor may have had a former file open
        checkout.check_unchanged(change, file.with_suffix(".old"))


def _roll_back(journal: ApplyJournal, refs: Refs, folder: Path) -> list[str]:
    try:
        kept = journal.undo(refs)
        finish(folder)
    except OSError as error:
        raise WorkspaceError(
            f"{journal.root}: some files are changed and could not be restored ({error}); make room or give "
            "access, and `autocode diff THREAD` restores them"
        ) from error
    return kept


@contextmanager
def _all_or_nothing(done: str) -> Iterator[None]:
    """Turn the errors of an attempt whose files are restored into a WorkspaceError."""
    try:
        yield
    except (OSError, KeyError, pygit2.GitError) as error:
        raise WorkspaceError(f"nothing was {done}, every file is as before: {error}") from error
