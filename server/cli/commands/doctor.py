"""The command `doctor`: check what runs need on this machine."""

import asyncio
import os
import platform
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from server.cli.entry import command
from server.cli.exit_codes import ExitCode
from server.cli.views.format import format_age, format_megabytes, pluralize, sanitize

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.records.journal import Journal
    from memory.repo_index import IndexSettings
    from nodes.events import Event
    from sandbox.backends import Diagnosis
    from server.cli.views.console import CliConsole

FindingState = Literal["found", "weak", "missing"]
SIGNS = {"found": ("✓", "+", "green"), "weak": ("!", "!", "yellow"), "missing": ("✗", "x", "bold red")}
"""For each state of a finding: sign, ASCII sign, style."""

PROBE_SECONDS = 20

ENVIRONMENTS = 10
"""Number of environments that are named."""


@dataclass(frozen=True)
class Finding:
    """The result of one check. Runs need everything that is `missing` and can do without what is `weak`."""

    subject: str
    state: FindingState
    text: str
    remedy: str = ""


@command
async def doctor(settings: "Settings", console: "CliConsole") -> ExitCode:
    """Check what this machine has and lacks.

    Says how to fix each problem. Exit code 5 if runs cannot work.
    """
    from rich.table import Table
    from rich.text import Text

    findings = [finding async for finding in _examine(settings, console)]
    ascii_only = console.out.options.ascii_only
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for finding in findings:
        sign, ascii_sign, style = SIGNS[finding.state]
        sign, arrow = (ascii_sign, "->") if ascii_only else (sign, "→")
        table.add_row(Text(sign, style=style), finding.subject, sanitize(finding.text))
        if finding.remedy:
            table.add_row("", "", Text(f"{arrow} {sanitize(finding.remedy)}", style=style))
    console.print(table)
    missing = [finding.subject for finding in findings if finding.state == "missing"]
    verdict = f"Missing: {', '.join(missing)}" if missing else "Ready to run."
    console.print("", Text(verdict, style="bold red" if missing else "bold green"))
    return ExitCode.ENVIRONMENT if missing else ExitCode.VERIFIED


async def _examine(settings: "Settings", console: "CliConsole") -> AsyncIterator[Finding]:
    """Yield a finding for each thing that runs need."""
    from graph.event_log import open_journal
    from memory.records.database import JournalError
    from sandbox.backends import diagnose

    yield Finding("python", "found", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield _git()
    yield _identity()
    yield _home(settings)
    for finding in _sandboxes(settings.sandbox_backend, await diagnose(settings.home)):
        yield finding
    yield _environments(settings)
    for finding in await _servers(settings):
        yield finding
    try:
        journal = await open_journal(settings)
    except JournalError as error:
        yield Finding("database", "missing", str(error))
        return  # models and memory cannot be checked without it
    kind = "SQLite, in AUTOCODE_HOME" if settings.database_url is None else "set by DATABASE_URL"
    yield Finding("database", "found", kind)
    try:
        yield await _models(settings, journal, console)
        yield await asyncio.to_thread(_prices, settings)
        for finding in await _memory(settings, journal):
            yield finding
    finally:
        await journal.aclose()


def _sandboxes(wanted: str, diagnoses: tuple["Diagnosis", ...]) -> list[Finding]:
    """Return a finding for each backend. A broken one counts as missing only if no wanted one works."""
    findings = []
    usable = any(each.available and wanted in ("auto", each.backend) for each in diagnoses)
    for each in diagnoses:
        needed = not usable and wanted in ("auto", each.backend)
        text = "; ".join([each.version, *each.limits]) if each.available else each.problem
        state: FindingState = "found" if each.available else "missing" if needed else "weak"
        findings.append(Finding(each.backend, state, text))
    return findings


def _environments(settings: "Settings") -> Finding:
    """List the environments with the size and age of each."""
    from sandbox.environment.records import stored

    records = stored(settings.home)
    if not records:
        return Finding("environments", "found", "none is built yet")
    total = format_megabytes(sum(record.size_mb for record in records))
    lines = [f"{len(records)} built, {total} in {settings.home / 'environments'}"]
    for record in records[:ENVIRONMENTS]:
        size, age = format_megabytes(record.size_mb), format_age(time.time() - record.used)
        used = age if age == "just now" else f"{age} ago"
        lines.append(
            f"{record.key[:12]}  {size}, used {used}, from {', '.join(record.sources) or 'commands'}"
        )
    if (more := len(records) - ENVIRONMENTS) > 0:
        lines.append(f"and {more} more: autocode environments")
    return Finding("environments", "found", "\n".join(lines))


async def _servers(settings: "Settings") -> list[Finding]:
    """Start each MCP server, and report the number of its tools or its error."""
    if not settings.mcp_servers:
        return []
    if not settings.enable_tool_use:
        return [Finding("MCP servers", "weak", "switched off", "set ENABLE_TOOL_USE=true")]
    from graph.resources import open_mcp

    mcp = open_mcp(settings)
    try:
        listings = await mcp.listings()
    finally:
        await mcp.aclose()
    findings = []
    for listing in listings:
        subject = f"MCP {listing.server}"
        if listing.problem:
            findings.append(Finding(subject, "weak", listing.problem, f"see {settings.home / 'mcp.json'}"))
            continue
        text = pluralize(len(listing.tools), "tool")
        text += ", for agents as well" if listing.reads else ", which ask"
        text += f"; {listing.left_out} left out" if listing.left_out else ""
        findings.append(Finding(subject, "found", text))
    return findings


def _git() -> Finding:
    import pygit2

    if program := shutil.which("git"):
        return Finding("git", "found", f"{program} (AutoCodeAI uses libgit2 {pygit2.LIBGIT2_VERSION})")
    remedy = "install git to merge branches by hand: apt-get install git, brew install git"
    return Finding("git", "weak", f"no git program; runs use libgit2 {pygit2.LIBGIT2_VERSION}", remedy)


def _identity() -> Finding:
    import pygit2

    try:
        config = pygit2.Config.get_global_config()
        return Finding("identity", "found", f"{config['user.name']} <{config['user.email']}>")
    except (KeyError, OSError):  # OSError: there is no global configuration at all
        text = "git's global configuration has no user.name and user.email; a repository may have its own"
        remedy = 'git config --global user.name "Your Name"; git config --global user.email you@example.org'
        return Finding("identity", "weak", text, remedy)


def _home(settings: "Settings") -> Finding:
    folder = settings.home
    # A missing home is created on first use, in its nearest parent that exists.
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK):
        return Finding("home", "found", f"AUTOCODE_HOME is {settings.home}")
    return Finding(
        "home", "missing", f"cannot write to {settings.home}", "set AUTOCODE_HOME to another folder"
    )


async def _models(settings: "Settings", journal: "Journal[Event]", console: "CliConsole") -> Finding:
    from graph.resources import open_resources
    from nodes.llm.model_settings import ModelError

    mode = f"LLM_MODE={settings.llm_mode}"
    try:
        async with (
            open_resources(settings, journal, console.notify) as resources,
            asyncio.timeout(PROBE_SECONDS),
        ):
            await resources.agents.models.probe()
    except ModelError as error:
        return Finding("models", "missing", f"{mode}: {error}")
    except TimeoutError:
        remedy = "check the network and the model server"
        return Finding("models", "missing", f"{mode}: no answer in {PROBE_SECONDS} s", remedy)
    return Finding("models", "found", f"{mode}: the models of all agents can be used")


def _prices(settings: "Settings") -> Finding:
    """Report the models without a price. Local models often have none, so this is no fault."""
    unpriced = settings.model_settings().unpriced()
    if not unpriced:
        return Finding("prices", "found", "known for all models, so --budget works")
    text = f"unknown for {', '.join(unpriced)}; --budget is refused"
    return Finding("prices", "weak", text, "set MODEL_PRICES (see .env.example)")


async def _memory(settings: "Settings", journal: "Journal[Event]") -> list[Finding]:
    """Return findings on episodes, embeddings and vectors."""
    from memory.embeddings import choose

    if not settings.enable_memory:
        text = "switched off: runs neither search nor learn"
        return [Finding("memory", "weak", text, "set ENABLE_MEMORY=true")]
    wanted = settings.index_settings()
    choice = choose(wanted.embeddings)
    # Hashes are weak only where a better embedder could be installed; EMBEDDINGS=hash is a choice.
    weak = choice.kind == "hash" and bool(choice.better)
    tasks = pluralize(len(await journal.episodes.titles()), "task")
    return [
        Finding("memory", "found", f"{tasks} remembered; indexes are in {wanted.folder}"),
        Finding("embeddings", "weak" if weak else "found", choice.why, choice.better),
        await asyncio.to_thread(_vectors, wanted),  # importing chromadb blocks
    ]


def _vectors(wanted: "IndexSettings") -> Finding:
    from memory.vectors import VectorStore, VectorsUnavailable

    store = VectorStore(wanted.chroma, wanted.chroma_host, wanted.chroma_port)
    try:
        store.open()
    except VectorsUnavailable as error:
        return Finding("vectors", "weak", f"{error}; searches use full text only")
    store.close()
    return Finding("vectors", "found", "; ".join(filter(None, [f"Chroma: {store.place}", store.note])))
