"""The command index --watch: an index that follows its folder, and what it notices, until Ctrl-C."""

import asyncio
from pathlib import Path

from rich.text import Text

from graph.component_settings import index_settings
from graph.settings import Settings
from memory.live import Indexes, LiveIndex
from memory.repo_index import Changes, RepoIndex, Status
from server.cli.exit_codes import ExitCode
from server.cli.index_command import RESULTS, must_exist, show
from server.cli.signals import on_stop
from server.cli.views.console import CliConsole
from server.cli.views.format import pluralize, sanitize

TICK = 0.5
"""Seconds between looks at how far the vectors are."""


async def watch(settings: Settings, face: CliConsole, folder: Path, query: str | None) -> ExitCode:
    """Bring a folder's index up to date and keep it so; what answers the query is shown when it changes."""
    await must_exist(folder)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    found: asyncio.Queue[tuple[Changes, Status]] = asyncio.Queue()

    def heard(changes: Changes, status: Status) -> None:
        loop.call_soon_threadsafe(found.put_nowait, (changes, status))

    def say(text: str) -> None:
        loop.call_soon_threadsafe(face.say, sanitize(text))

    indexes = Indexes.open(index_settings(settings), say)
    try:
        with on_stop(lambda: loop.call_soon_threadsafe(stop.set)):
            live = await asyncio.to_thread(indexes.of, folder, heard)
            await asyncio.to_thread(live.watch)
            teller = asyncio.create_task(_Teller(face, live, query).tell(found))
            await asyncio.wait([teller, asyncio.create_task(stop.wait())], return_when="FIRST_COMPLETED")
            if teller.done():
                teller.result()
            teller.cancel()
    finally:
        await asyncio.to_thread(indexes.close)
    return ExitCode.VERIFIED


class _Teller:
    """Writes a line for whatever is found, and one for each tenth of the vectors on the way."""

    def __init__(self, face: CliConsole, live: LiveIndex[RepoIndex], query: str | None) -> None:
        self._face = face
        self._live = live
        self._query = query
        self._shown: list[str] = []
        self._share = -1

    async def tell(self, found: "asyncio.Queue[tuple[Changes, Status]]") -> None:
        """Go on until it is cancelled."""
        while True:
            try:
                changes, status = await asyncio.wait_for(found.get(), TICK)
            except TimeoutError:
                if self._share != 100:
                    self._progress(await asyncio.to_thread(self._live.status))
                continue
            self._share = _percent(status)
            self._face.write(_sentence(changes, status))
            if status.engine == "text" or self._share == 100:
                await self._search()

    def _progress(self, status: Status) -> None:
        share = _percent(status)
        if status.chunks and share // 10 > self._share // 10:
            self._share = share
            self._face.say(f"vectors {share} %")

    async def _search(self) -> None:
        if self._query is None:
            return
        snippets = await asyncio.to_thread(self._live.index.search, self._query, RESULTS)
        places = [one.path for one in snippets]
        if places != self._shown:
            self._shown = places
            show(self._face, snippets)
            self._face.print(Text())


def _sentence(changes: Changes, status: Status) -> str:
    found = f"+ {pluralize(len(changes.changed), 'file')}, {len(changes.gone)} gone; "
    have = f"{pluralize(status.files, 'file')}, {pluralize(status.chunks, 'chunk')}"
    return (found if changes.changed or changes.gone else "") + f"{have}, vectors {_percent(status)} %"


def _percent(status: Status) -> int:
    return int(status.embedded * 100)
