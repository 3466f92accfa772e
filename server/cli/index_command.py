"""The command index: a folder's index made or brought up to date, and searched."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from graph.component_settings import index_settings
from graph.settings import Settings
from memory.embeddings import choose
from memory.repo_index import Changes, RepoIndex, Snippet
from memory.vectors import Shelf
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.signals import on_stop
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line, pluralize, sanitize

RESULTS = 8
_LINES = 4
_STEPS = 10
"""Lines that progress takes where no cursor can be moved."""


async def index(settings: Settings, face: CliConsole, folder: Path, query: str | None) -> ExitCode:
    """Index a folder, and show what answers the query best."""
    await must_exist(folder)
    wanted = index_settings(settings)
    stop, heard = Event(), list[str]()
    with (
        closing(Shelf(wanted.chroma, wanted.chroma_host, wanted.chroma_port, heard.append)) as shelf,
        await asyncio.to_thread(RepoIndex.open, folder, wanted, shelf.collection) as opened,
    ):
        changes = await _made(opened, face, stop)
        if stop.is_set():
            face.say("Stopped; what was done is kept.")
            return ExitCode.UNVERIFIED
        status = await asyncio.to_thread(opened.status)
        if status.note and not any(status.note in said for said in heard):
            heard.append(status.note)
        for said in heard:
            face.say(sanitize(said))
        changed = f"{len(changes.changed)} changed, {len(changes.gone)} gone"
        have = f"{pluralize(status.files, 'file')}, {pluralize(status.chunks, 'chunk')}"
        vectors = (
            "searched by words alone" if status.engine == "text" else f"{status.embedded:.0%} with vectors"
        )
        face.print(Text(f"{have} ({changed}); {vectors}"))
        choice = choose(wanted.embeddings)
        face.print(Text(sanitize("; ".join(filter(None, (choice.why, choice.better)))), style="dim"))
        if query is not None:
            snippets = await asyncio.to_thread(opened.search, query, RESULTS)
            show(face, snippets)
    return ExitCode.VERIFIED


async def _made(opened: RepoIndex, face: CliConsole, stop: Event) -> Changes:
    """Bring text and vectors up to date, from the beginning where the index turns out to be damaged."""
    with _progress(face, "files") as progress:
        changes = await asyncio.to_thread(opened.refresh, None, progress)
    if changes.note:
        face.say(changes.note)
    with on_stop(stop.set), _progress(face, "vectors") as progress:
        await asyncio.to_thread(opened.embed, progress, stop.is_set)
    return await _made(opened, face, stop) if opened.lacks_text and not stop.is_set() else changes


async def must_exist(folder: Path) -> None:
    """Raise Usage if there is no such folder."""
    if not await asyncio.to_thread(folder.is_dir):
        raise UsageError(f"there is no folder {one_line(str(folder))}; name one that holds source files")


@contextmanager
def _progress(face: CliConsole, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far something is: a bar on a terminal, a few plain lines elsewhere."""
    if not face.can_redraw:
        yield _Lines(face, what)
        return
    columns = TextColumn(f"{what:8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=face.out, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    def __init__(self, face: CliConsole, what: str) -> None:
        self._face, self._what, self._next = face, what, 0.0

    def __call__(self, done: int, total: int) -> None:
        if done >= self._next:
            self._face.say(f"{self._what}: {done} of {total}")
            self._next = done + total / _STEPS


def show(face: CliConsole, snippets: list[Snippet]) -> None:
    """Print what was found, each with its place, the reason, and its first lines."""
    if not snippets:
        face.print(Text("Nothing was found.", style="yellow"))
    for one in snippets:
        place = f"\n{one_line(one.path)}:{one.first}-{one.last}"
        symbol = f"  {one_line(one.symbol)}" if one.symbol else ""
        face.print(
            Text.assemble(
                (place, "bold cyan"),
                (symbol, "bold"),
                (f"  {one.score:.4f}", ""),
                (f"  {one_line(one.why)}", "dim"),
            )
        )
        for text in sanitize(one.text).splitlines()[:_LINES]:
            face.print(Text(f"    {text}", no_wrap=True, overflow="ellipsis"))
