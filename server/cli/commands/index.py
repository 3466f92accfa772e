"""The command `index`: index a repository, search it, and watch it for changes."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.signals import on_stop
from server.cli.views.format import one_line, pluralize, sanitize

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.live import LiveIndex
    from memory.repo_index import Changes, IndexStatus, RepoIndex, Snippet
    from server.cli.views.console import CliConsole

RESULTS = 8
LINES_PER_RESULT = 4

PROGRESS_LINES = 10
"""Number of progress lines where output cannot be redrawn."""

POLL_SECONDS = 0.5
"""Time between two looks at the share of embedded chunks."""


@command
async def index(
    settings: "Settings",
    console: "CliConsole",
    folder: Annotated[Path, Argument(metavar="DIR", help="The folder that holds the repository.")],
    search: Annotated[str | None, Option(metavar="QUERY", help="Show the best matches for QUERY.")] = None,
    watch: Annotated[bool, Option("--watch", help="Keep the index up to date until Ctrl-C.")] = False,
) -> ExitCode:
    """Index a repository for full-text and vector search.

    Unchanged files are not read again. Ctrl-C keeps the work that is done.
    """
    if not await asyncio.to_thread(folder.is_dir):
        raise UsageError(f"there is no folder {one_line(str(folder))}; name one that holds source files")
    return await (_watch if watch else _index)(settings, console, folder, search)


async def _index(settings: "Settings", console: "CliConsole", folder: Path, query: str | None) -> ExitCode:
    from memory.embeddings import choose
    from memory.repo_index import RepoIndex
    from memory.vectors import VectorStore

    wanted = settings.index_settings()
    stop, notices = Event(), list[str]()
    with (
        closing(
            VectorStore(wanted.chroma, wanted.chroma_host, wanted.chroma_port, notices.append)
        ) as vectors,
        await asyncio.to_thread(RepoIndex, folder, wanted, vectors.collection) as repo_index,
    ):
        changes = await _update(repo_index, console, stop)
        if stop.is_set():
            console.notify("Stopped. The work that is done is kept.")
            return ExitCode.UNVERIFIED
        status = await asyncio.to_thread(repo_index.status)
        # Opening the index may have reported the same damage as the status.
        if status.note and not any(status.note in notice for notice in notices):
            notices.append(status.note)
        for notice in notices:
            console.notify(notice)
        engine = "full text only" if status.engine == "text" else f"{status.embedded:.0%} with vectors"
        changed = f"{len(changes.changed)} changed, {len(changes.gone)} gone"
        console.print(f"{_size(status)} ({changed}); {engine}")
        choice = choose(wanted.embeddings)
        console.print(sanitize("; ".join(filter(None, (choice.why, choice.better)))), style="dim")
        if query is not None:
            _show(console, await asyncio.to_thread(repo_index.search, query, RESULTS))
    return ExitCode.VERIFIED


async def _update(repo_index: "RepoIndex", console: "CliConsole", stop: Event) -> "Changes":
    """Update text and vectors. Start again if the index turns out to be damaged on the way."""
    with _progress(console, "files") as progress:
        changes = await asyncio.to_thread(repo_index.refresh, None, progress)
    if changes.note:
        console.notify(changes.note)
    with on_stop(stop.set), _progress(console, "vectors") as progress:
        await asyncio.to_thread(repo_index.embed, progress, stop.is_set)
    if repo_index.lacks_text and not stop.is_set():
        return await _update(repo_index, console, stop)
    return changes


@contextmanager
def _progress(console: "CliConsole", name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows progress: as a bar, or as a few lines where nothing can be redrawn."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if console.can_redraw:
        columns = TextColumn(f"{name:8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console.out, transient=True) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    next_line = 0.0

    def write_line(done: int, total: int) -> None:
        nonlocal next_line
        if done >= next_line:
            console.notify(f"{name}: {done} of {total}")
            next_line = done + total / PROGRESS_LINES

    yield write_line


def _show(console: "CliConsole", snippets: list["Snippet"]) -> None:
    """Print search results: place, symbol, score, reason, and the first lines."""
    from rich.text import Text

    if not snippets:
        console.print("Nothing was found.", style="yellow")
    for snippet in snippets:
        heading = Text(f"\n{one_line(snippet.path)}:{snippet.first}-{snippet.last}", style="bold cyan")
        if snippet.symbol:
            heading.append(f"  {one_line(snippet.symbol)}", style="bold")
        heading.append(f"  {snippet.score:.4f}", style="not bold default")
        heading.append(f"  {one_line(snippet.why)}", style="dim not bold default")
        console.print(heading)
        for line in sanitize(snippet.text).splitlines()[:LINES_PER_RESULT]:
            console.print(Text(f"    {line}", no_wrap=True, overflow="ellipsis"))


async def _watch(settings: "Settings", console: "CliConsole", folder: Path, query: str | None) -> ExitCode:
    from memory.live import LiveIndexes

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    updates: asyncio.Queue[tuple[Changes, IndexStatus]] = asyncio.Queue()

    # The index calls both functions from threads of its own.
    def enqueue(changes: "Changes", status: "IndexStatus") -> None:
        loop.call_soon_threadsafe(updates.put_nowait, (changes, status))

    def notify(text: str) -> None:
        loop.call_soon_threadsafe(console.notify, text)

    indexes = LiveIndexes(settings.index_settings(), notify)
    try:
        with on_stop(lambda: loop.call_soon_threadsafe(stop.set)):
            live = await asyncio.to_thread(indexes.of, folder, enqueue)
            await asyncio.to_thread(live.watch)
            printing = asyncio.create_task(_print_updates(console, live, query, updates))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([printing, stopping], return_when="FIRST_COMPLETED")
            if printing.done():
                printing.result()  # it never returns, so this raises its error
            printing.cancel()
    finally:
        await asyncio.to_thread(indexes.close)
    return ExitCode.VERIFIED


async def _print_updates(
    console: "CliConsole",
    live: "LiveIndex",
    query: str | None,
    updates: "asyncio.Queue[tuple[Changes, IndexStatus]]",
) -> None:
    """Print each update, changed search results, and each tenth of the vectors, until cancelled."""
    paths, percent = list[str](), -1  # so that 0 % is printed
    while True:
        try:
            changes, status = await asyncio.wait_for(updates.get(), POLL_SECONDS)
        except TimeoutError:
            if percent == 100:
                continue
            status = await asyncio.to_thread(live.status)
            if status.chunks and _percent(status) // 10 > percent // 10:
                percent = _percent(status)
                console.notify(f"vectors {percent} %")
            continue
        percent = _percent(status)
        changed = f"+ {pluralize(len(changes.changed), 'file')}, {len(changes.gone)} gone; "
        changed = changed if changes.changed or changes.gone else ""
        console.write(f"{changed}{_size(status)}, vectors {percent} %")
        if query is not None and (status.engine == "text" or percent == 100):
            snippets = await asyncio.to_thread(live.index.search, query, RESULTS)
            before, paths = paths, [snippet.path for snippet in snippets]
            if paths != before:  # scores change with every edit, and nobody wants to read them again
                _show(console, snippets)
                console.print("")


def _size(status: "IndexStatus") -> str:
    return f"{pluralize(status.files, 'file')}, {pluralize(status.chunks, 'chunk')}"


def _percent(status: "IndexStatus") -> int:
    return int(status.embedded * 100)
