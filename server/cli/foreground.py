"""Carries a run on the command line: shows it, asks what it asks, stops it cleanly, returns its exit code."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from rich.text import Text

from graph.runner import Runner
from nodes.events import ApprovalRequired, Event
from nodes.state import Input, Options
from server.cli.exit_codes import STATUSES, ExitCode
from server.cli.signals import exit_now, on_stop, raise_interrupt
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole, RunDisplay
from server.cli.views.run_view import RunView
from server.cli.views.summary import print_summary, render_diff
from server.result import Result

FRAME_SECONDS = 0.1


@dataclass
class Drive:
    """One command's hold on a run; `yes` answers whatever is asked, `apply` brings a verified result home."""

    runner: Runner
    face: CliConsole
    yes: bool = False
    apply: bool = False

    async def start(self, input: Input, thread: str | None = None) -> ExitCode:
        """Run a task on a new thread, or on from the last result of `thread`."""
        options = Options.model_validate(self._limits() | (input.get("options") or {}))
        return await self._carry(self.runner.start(input, thread), RunView(thread_id=thread or ""), options)

    async def resume(self, thread: str, answers: dict[str, approvals.ApprovalAnswer]) -> ExitCode:
        """Go on with a thread's run; without answers, what waits is asked about or answered by `yes`."""
        progress = RunView.from_events(await self.runner.events(thread))
        progress.thread_id = thread
        run = await self.runner.journal.runs.current(thread)
        options = Options.model_validate(run.input.get("options") or {}) if run else Options()
        pending = await self.runner.pending(thread)
        if pending and not answers:
            given = self._answers(pending)
            if given is None:
                return self._park(thread, pending)
            answers = given
        return await self._carry(self.runner.resume(thread, answers), progress, options)

    async def _carry(self, events: AsyncIterator[Event], progress: RunView, options: Options) -> ExitCode:
        """Show the run to its end, its stop, or a question that nobody here answers."""
        view = self.face.display(progress, options)
        while True:
            await self._watch(events, view)
            if progress.finished is None or progress.finished.status != "waiting":
                return await self._conclude(progress)
            pending = await self.runner.pending(progress.thread_id)
            answers = self._answers(pending)
            if answers is None:
                return self._park(progress.thread_id, pending)
            events = self.runner.resume(progress.thread_id, answers)

    async def _watch(self, events: AsyncIterator[Event], view: RunDisplay) -> None:
        """Show events until they end; Ctrl-C or SIGTERM ends them early, and the log tells the rest."""
        progress, loop = view.run, asyncio.get_running_loop()
        seen = progress.last_seq
        with view:
            ticking = asyncio.create_task(_tick(view))
            reading = asyncio.create_task(_read(events, view))
            try:
                with on_stop(lambda: loop.call_soon_threadsafe(_end, reading, view)):
                    await asyncio.wait((reading,))
                if progress.last_seq > seen:
                    for event in await self.runner.events(progress.thread_id, progress.last_seq):
                        view.show(event)
            finally:
                ticking.cancel()
                reading.cancel()
                await asyncio.wait((ticking, reading))
        if not reading.cancelled() and (error := reading.exception()):
            if progress.last_seq > seen:
                error.add_note(
                    f"thread {progress.thread_id}; go on with: autocode resume {progress.thread_id}"
                )
            raise error

    def _answers(self, pending: approvals.PendingRequests) -> dict[str, approvals.ApprovalAnswer] | None:
        if self.yes:
            return approvals.approve_all(pending)
        if not self.face.can_ask:
            return None
        with on_stop(raise_interrupt):
            return approvals.ask(self.face.out, pending)

    def _park(self, thread: str, pending: approvals.PendingRequests) -> ExitCode:
        """Say how the run is taken up again."""
        if not self.face.json and not self.face.can_ask:
            for one in pending:
                with self.face.page() as console:
                    approvals.show_request(console, one)
        self.face.notify(f"\nThread {thread} waits for your answer. Give it with one of:")
        for one in pending:
            for way in _ways(thread, one):
                self.face.notify(f"  {way}")
        return ExitCode.WAITING

    async def _conclude(self, progress: RunView) -> ExitCode:
        finished = progress.finished
        if finished is None:
            if progress.run_id:
                self.face.notify(f"Stopped. Go on with: autocode resume {progress.thread_id}")
            return ExitCode.UNVERIFIED
        result = await Result.of(self.runner.journal, progress.thread_id) if finished.branch else None
        diff = await result.diff() if result and self.face.out.is_terminal else ""
        if self.face.json:
            if finished.status == "cancelled" and not finished.missing:
                self.face.notify(f"Stopped. Go on with: autocode resume {progress.thread_id}")
        else:
            if diff:
                self.face.print(Text(), render_diff(diff, progress.thread_id))
            with self.face.page() as console:
                print_summary(console, progress, applied=self.apply)
        if self.apply and result and finished.status == "verified":
            self.face.notify("Applied: " + ", ".join(await result.apply()))
        return STATUSES[finished.status]

    def _limits(self) -> dict[str, Any]:
        settings = self.runner.settings
        limits = ("max_cost_usd", "max_tokens", "max_run_seconds")
        return {name: getattr(settings, name) for name in limits}


async def _read(events: AsyncIterator[Event], view: RunDisplay) -> None:
    async with aclosing(cast(Any, events)) as stream:
        async for event in stream:
            view.show(event)


async def _tick(view: RunDisplay) -> None:
    while True:
        view.tick(time.time())
        await asyncio.sleep(FRAME_SECONDS)


def _end(reading: "asyncio.Task[None]", view: RunDisplay) -> None:
    """Stop the run where it can be resumed; when asked for a second time, leave at once."""
    if reading.cancelling():
        view.__exit__(None, None, None)
        exit_now()
    view.notify("Stopping; once more leaves at once.")
    reading.cancel()


def _ways(thread: str, asked: ApprovalRequired) -> list[str]:
    return [
        f"autocode resume {thread} --approve {asked.id}",
        f'autocode resume {thread} --reject {asked.id} --reason "…"',
        f"autocode resume {thread} --edit {asked.id} @FILE",
    ]
