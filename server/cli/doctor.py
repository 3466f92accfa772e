"""The command doctor: what this machine has and lacks for a run, with the cure for each."""

import asyncio
import os
import platform
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import pygit2
from rich.table import Table
from rich.text import Text

from graph.component_settings import index_settings, open_journal
from graph.resources import open_resources
from graph.settings import Settings
from memory.embeddings import choose
from memory.records.database import JournalError
from memory.records.journal import Journal
from memory.repo_index import IndexSettings
from memory.vectors import Vectors, VectorsUnavailable
from nodes.events import Event
from nodes.llm.model_settings import ModelError
from sandbox.backends import Diagnosis, diagnose
from server.cli.exit_codes import ExitCode
from server.cli.views.console import CliConsole
from server.cli.views.format import pluralize, sanitize

SIGNS = {"found": ("✓", "+", "green"), "weak": ("!", "!", "yellow"), "missing": ("✗", "x", "bold red")}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for; only a `missing` one keeps runs from working."""

    what: str
    state: Literal["found", "weak", "missing"]
    text: str
    cure: str = ""


async def examine(settings: Settings, face: CliConsole) -> ExitCode:
    """Look at everything, print it, and leave with 5 when something essential is missing."""
    findings = [finding async for finding in look(settings, face)]
    ascii_only = face.out.options.ascii_only
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for one in findings:
        sign, plain, style = SIGNS[one.state]
        table.add_row(Text(plain if ascii_only else sign, style=style), one.what, Text(sanitize(one.text)))
        if one.cure:
            table.add_row(
                "",
                "",
                Text(
                    f"→ {sanitize(one.cure)}" if not ascii_only else f"-> {sanitize(one.cure)}", style=style
                ),
            )
    face.print(table)
    missing = [one.what for one in findings if one.state == "missing"]
    verdict = f"Missing: {', '.join(missing)}" if missing else "Ready to run."
    face.print(Text(), Text(verdict, style="bold red" if missing else "bold green"))
    return ExitCode.ENVIRONMENT if missing else ExitCode.VERIFIED


async def look(settings: Settings, face: CliConsole) -> AsyncIterator[Finding]:
    """Look for each thing in turn."""
    yield Finding("python", "found", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield _git()
    yield _identity()
    yield _home(settings)
    for finding in sandboxes(settings.sandbox_backend, await diagnose(settings.home)):
        yield finding
    try:
        journal = await open_journal(settings)
    except JournalError as error:
        yield Finding("database", "missing", str(error))
        return
    kind = "SQLite, in AUTOCODE_HOME" if settings.database_url is None else "as DATABASE_URL names it"
    yield Finding("database", "found", kind)
    try:
        yield await _models(settings, journal, face)
        for finding in await _memory(settings, journal):
            yield finding
    finally:
        await journal.aclose()


def sandboxes(wanted: str, diagnoses: tuple[Diagnosis, ...]) -> list[Finding]:
    """Say which backends work; one is needed, and the one that is set is needed itself."""
    findings, usable = [], [one for one in diagnoses if one.available and wanted in ("auto", one.backend)]
    for one in diagnoses:
        if one.available:
            findings.append(Finding(one.backend, "found", "; ".join([one.version, *one.limits])))
        else:
            needed = not usable and wanted in ("auto", one.backend)
            findings.append(Finding(one.backend, "missing" if needed else "weak", one.problem))
    return findings


def _git() -> Finding:
    if program := shutil.which("git"):
        return Finding("git", "found", f"{program} (libgit2 {pygit2.LIBGIT2_VERSION} does the work)")
    cure = "install git to merge branches by hand: apt-get install git, brew install git"
    return Finding("git", "weak", f"no git program; runs use libgit2 {pygit2.LIBGIT2_VERSION}", cure)


def _identity() -> Finding:
    try:
        config = pygit2.Config.get_global_config()
        name, email = config["user.name"], config["user.email"]
    except (KeyError, OSError):
        cure = 'git config --global user.name "Your Name"; git config --global user.email you@example.org'
        return Finding(
            "identity", "weak", "git does not know your name; a repository's own settings may", cure
        )
    return Finding("identity", "found", f"{name} <{email}>")


def _home(settings: Settings) -> Finding:
    place = settings.home
    while not place.exists():
        place = place.parent
    if os.access(place, os.W_OK | os.X_OK):
        return Finding("home", "found", f"AUTOCODE_HOME is {settings.home}")
    return Finding(
        "home", "missing", f"{settings.home} cannot be written", "set AUTOCODE_HOME to a folder of yours"
    )


async def _models(settings: Settings, journal: Journal[Event], face: CliConsole) -> Finding:
    mode = f"LLM_MODE={settings.llm_mode}"
    try:
        async with open_resources(settings, journal, face.say) as resources, asyncio.timeout(20):
            await resources.models.probe()
    except ModelError as error:
        return Finding("models", "missing", f"{mode}: {error}")
    except TimeoutError:
        return Finding(
            "models", "missing", f"{mode}: no answer in 20 s", "is the network or the server there?"
        )
    return Finding("models", "found", f"{mode}: every agent's model can be asked")


async def _memory(settings: Settings, journal: Journal[Event]) -> list[Finding]:
    """Say what is remembered, what compares texts and why, and whether vectors can be kept."""
    if not settings.enable_memory:
        off = "switched off: runs neither search nor learn"
        return [Finding("memory", "weak", off, "ENABLE_MEMORY=true")]
    wanted = index_settings(settings)
    known = pluralize(len(await journal.episodes.titles()), "task")
    return [
        Finding("memory", "found", f"{known} remembered; indexes are in {wanted.folder}"),
        _embeddings(wanted),
        await asyncio.to_thread(_vectors, wanted),
    ]


def _embeddings(wanted: IndexSettings) -> Finding:
    choice = choose(wanted.embeddings)
    weak = choice.kind == "hash" and bool(choice.better)
    return Finding("embeddings", "weak" if weak else "found", choice.why, choice.better)


def _vectors(wanted: IndexSettings) -> Finding:
    try:
        store = Vectors.open(wanted.chroma, wanted.chroma_host, wanted.chroma_port)
    except VectorsUnavailable as error:
        return Finding("vectors", "weak", f"{error}; full text is searched without them")
    store.close()
    return Finding("vectors", "found", "; ".join(filter(None, [f"Chroma: {store.where}", store.note])))
