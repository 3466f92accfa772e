"""The habits of a repository: the changelog, news fragments and documents that change with its code."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from memory.validation import read_toml
from nodes.check.runners.test_names import CODE, is_test_name
from nodes.dialogue.prompts import fenced, section
from tools.workspace import Workspace

FEWEST, SHARE = 3, 0.25
"""A habit needs so many of the last changes of code, and this share of them."""

TOP_LINES = 60
EXAMPLES = 2

SHOWN_LINES, SHOWN_LENGTH = 10, 160
"""Lines of a changelog that a planner is shown, from its unreleased version on, and characters of each."""

_CHANGELOG = re.compile(
    r"(?:docs?/(?:source/|src/)?)?(?:change(?:s|log)|history|news|release[-_]?notes|whatsnew)(?:\.(?:md|rst|txt|adoc))?",
    re.IGNORECASE,
)
_UNRELEASED = re.compile(r"(?im)^.{0,40}\b(?:unreleased|not yet released|in development)\b")
_FRAGMENTS = re.compile(
    r"^(?:[\w.-]+/){0,3}(?:newsfragments|changelog\.d|changes\.d|news\.d|releasenotes/notes|\.changeset)(?=/)"
)
_FRAGMENT = re.compile(r"(?<![\w.+-])[\w+-][\w.+-]*\.(?:md|rst|txt|ya?ml)")
_DOCUMENT = re.compile(r"^(docs?)/(?:[\w .+-]+/)*[\w .+-]+\.(?:md|mdx|rst|txt|adoc|ipynb)")
_ABOUT = re.compile(r"(?:readme|template|_template)\b", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.-]+(?:/[\w.-]+){0,3}")

TITLE = "Habits of this repository (part of the task where they fit)"


def habits(workspace: Workspace, base: str, shows_top: bool = False) -> str:
    """Return a section on what changes with the code here, empty for a repository without such a habit.

    With `shows_top` it holds the newest entries of a changelog. It depends on the base alone. Blocks.
    """
    recent = workspace.recent_changes(base)
    history = History([paths for paths in recent if _has_code(paths)])
    files = workspace.files(base).keys()
    # Where there are fragments, a release writes the changelog from them.
    path, kept = _changelog(workspace, base, files, history, {path for paths in recent for path in paths})
    fragments = _fragments(workspace, base, files, history)
    top = _newest(workspace, base, path) if shows_top and kept and not fragments else ""
    return section(TITLE, "\n".join(filter(None, [fragments or kept, top, _documents(files, history)])))


def _newest(workspace: Workspace, base: str, path: str) -> str:
    """Return the first lines of a changelog, from its unreleased version on."""
    text = "\n".join((workspace.text(base, path) or "").splitlines()[:TOP_LINES])
    if unreleased := _UNRELEASED.search(text):
        above = text[: unreleased.start()].rstrip("\n").splitlines()
        text = "\n".join([*above[-1:], text[unreleased.start() :]])  # its title may stand above
    return fenced("\n".join(line[:SHOWN_LENGTH] for line in text.splitlines()[:SHOWN_LINES]))


def is_changelog(path: str) -> bool:
    """Return whether a path is that of a changelog, whose new entries come at its top."""
    return bool(_CHANGELOG.fullmatch(path))


@dataclass(frozen=True)
class History:
    """The paths of the last commits that changed code, the newest first."""

    commits: Sequence[Collection[str]]

    def times(self, pattern: re.Pattern[str]) -> int:
        """Return how many commits changed a file whose whole path matches."""
        return sum(any(map(pattern.fullmatch, paths)) for paths in self.commits)

    def is_habit(self, times: int) -> bool:
        """Return whether so many commits make a habit."""
        return times >= max(FEWEST, SHARE * len(self.commits))

    def so_often(self, times: int) -> str:
        """Return the words for a count."""
        return f"{times} of the last {len(self.commits)} changes of the code did"


def _fragments(workspace: Workspace, base: str, files: Collection[str], history: History) -> str:
    declared = _declared_folder(workspace, base)
    found = [match[0] for path in files if (match := _FRAGMENTS.match(path))]
    folder = declared or (Counter(found).most_common(1)[0][0] if found else "")
    if not folder:
        return ""
    fragment = re.compile(rf"{re.escape(folder)}/(?:[\w.-]+/)?{_FRAGMENT.pattern}")
    paths = [path for commit in history.commits for path in sorted(commit) if fragment.fullmatch(path)]
    examples = [path for path in dict.fromkeys(paths) if not _ABOUT.match(PurePosixPath(path).name)]
    times = history.times(fragment)
    # towncrier's folder is empty after each release, so its declaration counts as well.
    if not declared and not history.is_habit(times):
        return ""
    such = f", such as {' and '.join(f'`{path}`' for path in examples[:EXAMPLES])}" if examples else ""
    often = history.so_often(times)
    return f"- What users notice gets a news fragment, a new file in `{folder}/`{such} ({often})."


def _declared_folder(workspace: Workspace, base: str) -> str:
    """Return the folder of towncrier's fragments, empty without one."""
    for name in ("towncrier.toml", "pyproject.toml"):
        try:
            table = read_toml(workspace.text(base, name) or "").get("tool", {}).get("towncrier")
            folder = (
                str(table.get("directory") or "newsfragments").removeprefix("./").rstrip("/") if table else ""
            )
        except (ValueError, AttributeError):
            continue
        if _PLAIN.fullmatch(folder):
            return folder
    return ""


def _changelog(
    workspace: Workspace, base: str, files: Collection[str], history: History, recent: Collection[str]
) -> tuple[str, str]:
    """Return the changelog, one with an unreleased version before one that changes often, and its habit."""

    def rank(path: str) -> tuple[bool, int]:
        top = "\n".join((workspace.text(base, path) or "").splitlines()[:TOP_LINES])
        # Its maintainers may write it themselves, and a young repository has one before it has a habit.
        is_kept = path in recent or len(history.commits) < FEWEST
        return is_kept and bool(_UNRELEASED.search(top)), history.times(re.compile(re.escape(path)))

    ranks = {path: rank(path) for path in sorted(files) if is_changelog(path)}
    if not ranks:
        return "", ""
    path = max(ranks, key=lambda path: ranks[path])
    unreleased, times = ranks[path]
    often = f" ({history.so_often(times)})" if history.is_habit(times) else ""
    place = "under its unreleased version" if unreleased else "at its top"
    habit = f"- What users notice gets an entry in `{path}`, {place}{often}." if unreleased or often else ""
    return path, habit


def _documents(files: Collection[str], history: History) -> str:
    folders = {match[1] for path in files if (match := _DOCUMENT.fullmatch(path))}
    for folder in sorted(folders):
        # The changelog has a line of its own.
        document = re.compile(rf"(?!(?i:{_CHANGELOG.pattern})$){folder}/.*")
        times = history.times(document)
        if history.is_habit(times):
            return f"- `{folder}/` describes what users see, and changes with it ({history.so_often(times)})."
    return ""


def _has_code(paths: Collection[str]) -> bool:
    """Return whether a commit changed code that is no test and no example of the documents."""
    return any(_is_code(path) for path in paths)


def _is_code(path: str) -> bool:
    above = PurePosixPath(path).parts[:-1]
    aside = {"docs", "doc", "examples", "test", "tests", "testing", ".github"}.intersection(above)
    return bool(CODE.search(path)) and not aside and not is_test_name(path)
