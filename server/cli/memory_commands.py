"""The commands that look at what was learned from earlier tasks, and make it forgotten."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from rich.table import Table

from graph.resources import open_memory
from graph.settings import Settings
from memory.records.database import Database
from memory.records.episodes import Episode, Episodes
from memory.search.recollection import Recollection
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.console import CliConsole
from server.cli.views.format import first_line, one_line, pluralize

FOUND = 10


async def listing(settings: Settings, face: CliConsole) -> ExitCode:
    """List all episodes, newest first."""
    async with _memory(settings, face) as memory:
        episodes = await memory.episodes.read()
    if face.json:
        face.data(json.dumps([_plain(episode) for episode in episodes]) + "\n")
    elif episodes:
        face.print(_table(episodes))
    else:
        face.say("Nothing is remembered yet; a task that ends verified is.")
    return ExitCode.VERIFIED


async def search(settings: Settings, face: CliConsole, query: str) -> ExitCode:
    """Show the episodes nearest to a task, with their similarity, however far they are."""
    if not query.strip():
        raise UsageError("the query is empty; say what kind of task to look for")
    async with _memory(settings, face) as memory:
        await memory.warm()
        nearest = (await memory.search_episodes(query))[:FOUND]
        read = {one.id: one for one in await memory.episodes.read([title.id for title, _ in nearest])}
    found = [(read[title.id], similarity) for title, similarity in nearest if title.id in read]
    if face.json:
        plain = [{**_plain(episode), "similarity": round(similarity, 3)} for episode, similarity in found]
        face.data(json.dumps(plain) + "\n")
    elif found:
        face.print(_table([episode for episode, _ in found], [similarity for _, similarity in found]))
    else:
        face.say("Nothing is remembered yet; a task that ends verified is.")
    return ExitCode.VERIFIED


async def forget(settings: Settings, face: CliConsole, ids: Sequence[str], all: bool) -> ExitCode:
    """Delete episodes and their vectors: these, or all; where one is unknown, none."""
    if bool(ids) == all:
        raise UsageError("name the episodes to forget, or give --all; `autocode memory list` shows their ids")
    async with _memory(settings, face) as memory:
        chosen = [title.id for title in await memory.episodes.titles()] if all else ids
        if unknown := await memory.episodes.forget(chosen):
            names = ", ".join(one_line(id) for id in sorted(unknown))
            raise UsageError(
                f"there is no episode {names}; `autocode memory list` shows them; none was forgotten"
            )
        await memory.warm()
        aligned = await memory.align()
    face.say(f"{pluralize(len(set(chosen)), 'episode')} forgotten.")
    if not aligned:
        face.say("Chroma could not be asked; their vectors go when it is next searched.")
    return ExitCode.VERIFIED


@asynccontextmanager
async def _memory(settings: Settings, face: CliConsole) -> AsyncIterator[Recollection]:
    """Open memory, also where runs have it switched off."""
    on = settings.model_copy(update={"enable_memory": True})
    async with (
        aclosing(await Database.open(settings.database)) as database,
        open_memory(on, Episodes(database, settings.secrets()), face.say, delay=0) as memory,
    ):
        if memory is not None:
            yield memory


def _plain(episode: Episode) -> dict[str, object]:
    return {"id": episode.id, **episode.model_dump()}


def _table(episodes: Sequence[Episode], similarity: Sequence[float] = ()) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("id", *(["like"] if similarity else []), "when"):
        table.add_column(name, no_wrap=True)
    table.add_column("task", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("files", ratio=2, no_wrap=True, overflow="ellipsis")
    table.add_column("mended", justify="right", no_wrap=True)
    table.add_column("repository", ratio=1, no_wrap=True, overflow="ellipsis")
    for number, one in enumerate(episodes):
        files = ", ".join(one_line(file.path) for file in one.files)
        like = [f"{similarity[number]:.2f}"] if similarity else []
        repo = one_line(one.repo.rpartition("/")[2])
        table.add_row(
            one.id, *like, one.created[:10], first_line(one.task), files, str(len(one.mends) or ""), repo
        )
    return table
