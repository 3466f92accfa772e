"""The command group `memory`: list, search and forget what earlier tasks taught."""

import json as jsonlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.format import first_line, one_line, pluralize

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.records.episodes import Episode
    from memory.search.recollection import Recollection
    from server.cli.views.console import CliConsole

RESULTS = 10

memory = Typer(help="Memory of earlier verified tasks.", no_args_is_help=True, rich_markup_mode=None)


@memory.command("list")
@command
async def memory_list(
    settings: "Settings",
    console: "CliConsole",
    json: Annotated[bool, Option("--json", help="Print a JSON array of all episodes.")] = False,
) -> ExitCode:
    """List remembered tasks, newest first."""
    async with _open_memory(settings, console) as memory:
        episodes = await memory.episodes.read()
    return _print(console, episodes)


@memory.command("search")
@command
async def memory_search(
    settings: "Settings",
    console: "CliConsole",
    query: Annotated[str, Argument(metavar="QUERY", help="A task, in your words.")],
    json: Annotated[bool, Option("--json", help="Print a JSON array, most similar first.")] = False,
) -> ExitCode:
    """Show the earlier tasks most similar to QUERY.

    Similarity goes from 0 to 1. Runs use only tasks that are similar enough.
    """
    if not query.strip():
        raise UsageError("the query is empty; describe the kind of task to look for")
    async with _open_memory(settings, console) as memory:
        await memory.warm()  # a search before that compares words only
        nearest = (await memory.search_episodes(query))[:RESULTS]
        episodes = {each.id: each for each in await memory.episodes.read([title.id for title, _ in nearest])}
    results = {title.id: score for title, score in nearest if title.id in episodes}
    return _print(console, [episodes[id] for id in results], list(results.values()))


@memory.command("forget")
@command
async def memory_forget(
    settings: "Settings",
    console: "CliConsole",
    ids: Annotated[
        list[str], Argument(metavar="ID...", help="Episode ids, see `autocode memory list`.")
    ] = [],  # noqa: B006  # typer copies it
    all: Annotated[bool, Option("--all", help="Forget everything.")] = False,
) -> ExitCode:
    """Forget earlier tasks for good."""
    if bool(ids) == all:
        raise UsageError("name the episodes to forget, or give --all; `autocode memory list` shows their ids")
    async with _open_memory(settings, console) as memory:
        chosen = [title.id for title in await memory.episodes.titles()] if all else ids
        if unknown := await memory.episodes.forget(chosen):
            names = ", ".join(one_line(id) for id in sorted(unknown))
            raise UsageError(
                f"there is no episode {names}, so none was forgotten; see `autocode memory list`"
            )
        await memory.warm()
        aligned = await memory.align()
    console.notify(f"{pluralize(len(set(chosen)), 'episode')} forgotten.")
    if not aligned:
        console.notify("Chroma cannot be reached. The next search deletes their vectors.")
    return ExitCode.VERIFIED


@asynccontextmanager
async def _open_memory(settings: "Settings", console: "CliConsole") -> AsyncIterator["Recollection"]:
    """Open the memory, even if ENABLE_MEMORY is off for runs."""
    from graph.resources import open_memory
    from memory.records.database import Database
    from memory.records.episodes import Episodes

    enabled = settings.model_copy(update={"enable_memory": True})
    async with (
        aclosing(await Database.open(settings.database, settings.secrets())) as database,
        open_memory(enabled, Episodes(database, settings.secrets()), console.notify, delay=0) as memory,
    ):
        if memory is not None:
            yield memory


def _print(
    console: "CliConsole", episodes: Sequence["Episode"], similarity: Sequence[float] = ()
) -> ExitCode:
    """Print episodes as JSON or as a table."""
    from server.cli.views.console import list_table

    if console.json:
        objects = [{"id": episode.id, **episode.model_dump()} for episode in episodes]
        for entry, score in zip(objects, similarity, strict=False):
            entry["similarity"] = round(score, 3)
        console.write_raw(jsonlib.dumps(objects) + "\n")
    elif episodes:
        like = ["like"] if similarity else []
        columns = ("id", *like, "when", "task", "files", "repairs", "repository")
        table = list_table(*columns, task=3, files=2, repository=1)
        for number, episode in enumerate(episodes):
            table.add_row(
                episode.id,
                *([f"{similarity[number]:.2f}"] if similarity else []),
                episode.created[:10],
                first_line(episode.task),
                ", ".join(one_line(file.path) for file in episode.files),
                str(len(episode.mends) or ""),
                one_line(episode.repo.rpartition("/")[2]),
            )
        console.print(table)
    else:
        console.notify("Nothing is remembered yet. AutoCodeAI remembers tasks that end verified.")
    return ExitCode.VERIFIED
