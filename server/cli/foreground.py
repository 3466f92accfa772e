"""A run in the foreground of a terminal: shown, questioned, stopped cleanly, turned into an exit code."""

import asyncio
import getpass
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from rich.text import Text

from graph.approvals import Answerer
from graph.delivery import Delivery
from graph.run_request import merge_options, new_thread_id, run_options
from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.state import Input, options_of
from server.cli.exit_codes import STATUSES, ExitCode
from server.cli.signals import exit_now, on_stop, raise_interrupt
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole, RunDisplay
from server.cli.views.format import one_line
from server.cli.views.run_view import RunView
from server.cli.views.summary import print_summary, render_diff, suspicious_places

FRAME_SECONDS = 0.1
WAITS_IN_CHAT = "It waits for your answer: /resume asks again, a plain yes approves, other words reject it."


@dataclass
class ForegroundRun:
    """One run. `yes` approves all, `apply` merges a verified result, `in_chat` names slash commands."""

    supervisor: Supervisor
    console: CliConsole
    yes: bool = False
    apply: bool = False
    in_chat: bool = False

    async def start(self, input: Input, thread: str | None = None) -> ExitCode:
        """Run a task on a new thread, or from the last result of `thread`."""
        thread_id = thread or new_thread_id()
        row = await self.supervisor.journal.threads.get(thread_id)
        given = merge_options(row.options if row else {}, input.get("options") or {})
        options = run_options(given, self.supervisor.settings)
        display = self.console.display(RunView(thread_id=thread_id), options)
        return await self._run(lambda: self.supervisor.submit(input, thread_id), display)

    async def resume(
        self, run: RunRow, answers: dict[str, approvals.ApprovalAnswer], limits: Mapping[str, float]
    ) -> ExitCode:
        """Continue a run, with `limits` in the place of its own.

        Without answers, its open questions are asked here, or approved by `yes`.
        """
        progress = RunView.from_events(await self.supervisor.journal.events.read(run.thread_id))
        progress.thread_id = run.thread_id
        pending = await self.supervisor.pending(run.thread_id)
        if pending and not answers:
            given = self._answers(pending)
            if given is None:
                return self._park(run.thread_id, pending)
            answers = given
        options = options_of(run.input).model_copy(update=dict(limits))
        display = self.console.display(progress, options)
        begin = partial(self.supervisor.resume, run.thread_id, answers, limits, person())
        return await self._run(begin, display)

    async def _run(self, begin: Callable[[], Awaitable[RunRow]], display: RunDisplay) -> ExitCode:
        """Show the run until it ends, is stopped, or has a question that nobody answers here."""
        progress = display.run
        while True:
            await self._watch(begin, display)
            if progress.finished is None or progress.finished.status != "waiting":
                return await self._conclude(progress)
            pending = await self.supervisor.pending(progress.thread_id)
            answers = self._answers(pending)
            if answers is None:
                return self._park(progress.thread_id, pending)
            begin = partial(self.supervisor.resume, progress.thread_id, answers, None, person())

    async def _watch(self, begin: Callable[[], Awaitable[RunRow]], display: RunDisplay) -> None:
        """Show events until they end. Ctrl-C or SIGTERM stops the run, and the log has its last events."""
        progress, loop = display.run, asyncio.get_running_loop()
        seen = progress.last_seq
        async with self.console.live(display):
            ticking = asyncio.create_task(_tick(display))
            reading = asyncio.create_task(self._read(begin, display))
            try:
                with on_stop(lambda: loop.call_soon_threadsafe(_stop, reading, display)):
                    await asyncio.wait((reading,))
                    if reading.cancelled():
                        await self.supervisor.stop()
                        if progress.last_seq > seen:  # else the log's newest run is an earlier one
                            log = self.supervisor.journal.events
                            for event in await log.read(progress.thread_id, progress.last_seq):
                                display.show(event)
            finally:
                ticking.cancel()
                reading.cancel()
                await asyncio.wait((ticking, reading))
        if not reading.cancelled() and (error := reading.exception()):
            if progress.last_seq > seen:
                thread = progress.thread_id
                command = "/resume" if self.in_chat else f"autocode resume {thread}"
                error.add_note(f"thread {thread}; go on with: {command}")
            raise error

    async def _read(self, begin: Callable[[], Awaitable[RunRow]], display: RunDisplay) -> None:
        run = await begin()
        async with aclosing(self.supervisor.watch(run, display.run.last_seq)) as events:
            async for event in events:
                display.show(event)

    def _answers(self, pending: approvals.PendingRequests) -> dict[str, approvals.ApprovalAnswer] | None:
        # `--yes` was said before anybody knew that an effect may have happened already.
        sure = [request for request in pending if not request.request.get("uncertain")]
        if self.yes and sure:
            return {request.id: {"decision": "approve"} for request in sure}
        if not self.console.can_ask:
            return None
        with on_stop(raise_interrupt):
            return approvals.ask(self.console.out, pending)

    async def _apply(self, unapplied: Delivery, thread: str) -> None:
        """Apply verified results, also of earlier tasks. Suspicious places need a person's word."""
        if (places := suspicious_places(unapplied.suspicious)) and not self._trusts(places):
            look = f"look at {', '.join(places)}, then `autocode apply {thread}`"
            self.console.notify(f"Not applied: {look}")
            return
        paths = await unapplied.apply(self.supervisor.settings.home)
        self.console.notify("Applied: " + (", ".join(map(one_line, paths)) or "nothing was left to do"))

    def _trusts(self, places: Sequence[str]) -> bool:
        """Ask whether a result with suspicious places is applied. `--yes` was said before they were known."""
        if not self.console.can_ask:
            return False
        with on_stop(raise_interrupt):
            return approvals.confirm(self.console.out, f"Apply it with its suspicions ({', '.join(places)})?")

    def _park(self, thread: str, pending: approvals.PendingRequests) -> ExitCode:
        """Tell the user how to answer."""
        if not self.console.json and not self.console.can_ask:
            for request in pending:
                with self.console.page() as page:
                    approvals.show_request(page, request)
        if self.in_chat:
            self.console.notify(WAITS_IN_CHAT)
            return ExitCode.WAITING
        self.console.notify(f"\nThread {thread} waits for your answer. Give it with one of:")
        for request in pending:
            for flags in approvals.answer_flags(request):
                self.console.notify(f"  autocode resume {thread} {flags}")
        return ExitCode.WAITING

    async def _conclude(self, progress: RunView) -> ExitCode:
        finished, thread = progress.finished, progress.thread_id
        stopped = f"Stopped. Go on with: {'/resume' if self.in_chat else f'autocode resume {thread}'}"
        if finished is None:
            if progress.run_id:
                self.console.notify(stopped)
            return ExitCode.UNVERIFIED
        run = await self.supervisor.run(progress.run_id) if finished.branch else None
        delivery = await Delivery.of_run(run) if run else None
        unapplied = None
        if self.apply and delivery and finished.status == "verified":
            unapplied = await Delivery.of_thread(self.supervisor.journal, thread)
        if not self.console.json:
            if delivery and self.console.out.is_terminal and (diff := await delivery.diff()):
                more = "/diff" if self.in_chat else f"autocode diff {thread}"
                self.console.print(Text(), render_diff(diff, more))
            with self.console.page() as page:
                applied = bool(unapplied and not unapplied.suspicious)
                print_summary(page, progress, applied, in_chat=self.in_chat)
        elif finished.status == "cancelled" and not finished.missing:
            self.console.notify(stopped)
        if unapplied:
            await self._apply(unapplied, thread)
        return STATUSES[finished.status]


def person() -> Answerer:
    """Return the user of this terminal."""
    try:
        return Answerer("terminal", getpass.getuser())
    except (KeyError, OSError):  # a container may know no name for the user
        return Answerer("terminal", f"uid {os.getuid()}")


async def _tick(display: RunDisplay) -> None:
    while True:
        display.tick(time.time())
        await asyncio.sleep(FRAME_SECONDS)


def _stop(reading: "asyncio.Task[None]", display: RunDisplay) -> None:
    """Stop the run so that it can be resumed. At the second signal, leave at once."""
    if reading.cancelling():
        display.__exit__(None, None, None)
        exit_now()
    display.notify("Stopping. Press Ctrl-C again to exit at once.")
    reading.cancel()
