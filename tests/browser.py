"""A real browser for tests of the page, and logs of threads that are written for it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect
from programs import find_program

from memory.records.journal import Journal
from nodes.events import EVENT, PAYLOADS, Event, RunFinished
from nodes.publish import Draft

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
expect.set_options(timeout=20_000)  # milliseconds: many tests run beside this one

EXPECTED = ("Failed to load resource",)
"""Messages of the console about answers that a test asks for."""


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Start Chromium. Without it the test is skipped. In CI it fails."""
    program = find_program(*PROGRAMS)
    async with async_playwright() as playwright:
        # Its own sandbox does not work for root, and the page is ours.
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def open_page(browser: Browser, url: str, **more: Any) -> AsyncIterator["OpenPage"]:
    """Open a tab with a storage of its own. It must cause no error and no breach of the policy."""
    context = await browser.new_context(base_url=url, reduced_motion="reduce", **more)
    opened = OpenPage(await context.new_page())
    yield opened
    await context.close()
    assert not opened.faults, "\n".join(opened.faults)


class OpenPage:
    """A tab, with what it sends and what went wrong in it."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab
        self.faults: list[str] = []
        self.sent: list[Any] = []
        tab.on("console", self._note)
        tab.on("pageerror", lambda error: self.faults.append(str(error)))
        tab.on("request", self._collect)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.faults.append(message.text)

    def _collect(self, request: Request) -> None:
        if request.method == "POST":
            self.sent.append(request.post_data_json)

    async def press(self, name: str, **where: Any) -> None:
        """Click a button by its name."""
        await self.tab.get_by_role("button", name=name, exact=True, **where).click()

    async def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until a text is visible."""
        await self.tab.get_by_text(text).first.wait_for(timeout=seconds * 1000)


async def write_log(
    home: Path,
    thread: str,
    events: Sequence[tuple[Any, ...]],
    repo: str = "/repo",
    task: str = "Write mul",
) -> None:
    """Write a thread's log: (type, data), or (type, data, node), or (type, data, node, step).

    The run ends as its `run.finished` says. Until then it waits, so that no server takes it up.
    """
    journal: Journal[Event] = await Journal.open(
        f"sqlite:///{home / 'autocode.db'}", EVENT.validate_python, []
    )
    run, drafts = f"run-{thread}", [_draft(*event) for event in events]
    try:
        if await journal.threads.get(thread) is None:
            await journal.threads.create(thread, {}, repo)
            await journal.runs.start(run, thread, {"task": task, "repo": repo}, "waiting")
        end = drafts.pop() if isinstance(drafts[-1].data, RunFinished) else None
        await journal.events.write(thread, run, drafts)
        if end and isinstance(end.data, RunFinished):
            await journal.runs.end(thread, run, end, end.data.status, end.data.branch)
    finally:
        await journal.aclose()


def _draft(type: str, data: dict[str, Any], node: str | None = None, step: str | None = None) -> Draft:
    return Draft(PAYLOADS[type].model_validate(data), node, step)
