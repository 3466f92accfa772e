"""A conversation: tasks, notes and slash commands on one thread, through the supervisor."""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGINT, raise_signal
from typing import Any

import typer

from graph.errors import RunnerError
from graph.run_request import merge_options, new_thread_id, run_options
from graph.settings import Settings
from graph.supervisor import Supervisor
from nodes.event_parts import AgentUsage
from server.cli.chat.reader import PipeReader, TerminalReader
from server.cli.chat.screen import ChatConsole
from server.cli.chat.slash import AT_ANY_TIME, SLASH, body_of, check_text, flags_of, is_slash, read_slash
from server.cli.commands.apply import recover
from server.cli.commands.fork import fork_at, print_checkpoints
from server.cli.commands.options import limit_options
from server.cli.commands.tasks import read_input
from server.cli.entry import report
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.foreground import WAITS_IN_CHAT, ForegroundRun, person
from server.cli.thread_names import find_thread
from server.cli.views.approval_prompts import show_request
from server.cli.views.format import first_line, one_line
from server.cli.views.summary import cost_table


@dataclass
class Chat:
    """One conversation on a terminal or from a pipe. An error is one line, and the conversation goes on."""

    settings: Settings
    console: ChatConsole
    supervisor: Supervisor
    reader: TerminalReader | PipeReader
    repo: Path
    thread: str
    options: dict[str, Any] = field(default_factory=dict)
    _code: ExitCode = ExitCode.VERIFIED
    _leaving: bool = False

    def __post_init__(self) -> None:
        self.console = replace(self.console, typed=self._steer)

    async def converse(self) -> ExitCode:
        """Read and carry out until the user leaves. Return the code of the first task that failed."""
        if isinstance(self.reader, TerminalReader):
            place = one_line(str(self.repo))
            self.console.write(f"Thread {self.thread} in {place}. Type a task, or /help. Ctrl-C leaves.")
            await self._show_questions()
        while not self._leaving and (text := await self.reader.line()) is not None:
            if text := text.strip():
                code = await self._guarded(self._command(text) if is_slash(text) else self._say(text))
                self._code = self._code or code
        return ExitCode.VERIFIED if isinstance(self.reader, TerminalReader) else self._code

    async def _guarded(self, work: Coroutine[Any, Any, int]) -> ExitCode:
        """Carry out one line. Return the code of its error, which is said."""
        try:
            return ExitCode(await work)
        except typer.Exit:  # of a command's --help
            return ExitCode.VERIFIED
        except Exception as error:  # one line may fail in any way, and the conversation goes on
            if message := getattr(error, "format_message", None):  # a wrong flag
                error = UsageError(message())
            return report(error, self.console, self.settings)

    async def _say(self, text: str) -> ExitCode:
        """Answer what waits with this text, tell it to a run that waits, or give it as a task."""
        check_text(text)
        if await self.supervisor.reply(self.thread, text, person()):
            return await self._resume({})
        run = await self.supervisor.journal.runs.current(self.thread)
        if run and run.status == "waiting":  # that of a fork
            await self._note(text)
            return await self._resume({})
        await recover(self.console, self.repo)
        input = read_input(self.settings, text, self.repo, options=self.options)
        return await self._run().start(input, self.thread)

    async def _resume(self, limits: Mapping[str, float], yes: bool = False) -> ExitCode:
        run = await self.supervisor.journal.runs.current(self.thread)
        if run is None:
            raise UsageError("there is no run to go on with; type a task")
        return await self._run(yes).resume(run, {}, limits)

    def _run(self, yes: bool = False) -> ForegroundRun:
        return ForegroundRun(self.supervisor, self.console, yes, in_chat=True)

    async def _steer(self, text: str) -> bool:
        """Take what is typed while a run is at work: a note, or a command. False if a note was not stored."""
        if is_slash(text):
            await self._guarded(self._command(text, at_work=True))
            return True
        return await self._guarded(self._note(text)) is ExitCode.VERIFIED

    async def _note(self, text: str) -> ExitCode:
        check_text(text)
        await self.supervisor.log.note(self.thread, text)  # its event shows it
        return ExitCode.VERIFIED

    async def _command(self, text: str, at_work: bool = False) -> int:
        name, words = read_slash(text)
        if at_work and name not in AT_ANY_TIME:
            raise UsageError(f"/{name} has to wait: the run is at work; Ctrl-C stops it")
        if name == "quit":
            self._leaving = True
            if at_work:
                raise_signal(SIGINT)
            return ExitCode.VERIFIED
        if name == "resume":
            flags = flags_of(name, words, self.thread)
            limits = limit_options(*(flags[name] for name in ("budget", "max_tokens", "max_seconds")))
            given = {name: limit for name, limit in limits.items() if limit is not None}
            return await self._resume(given, flags["yes"])
        own: dict[str, Callable[[list[str]], Coroutine[Any, Any, None]]] = {
            "help": self._help, "new": self._new, "thread": self._switch, "model": self._model,
            "cost": self._cost, "plan": self._plan, "fork": self._fork,
        }  # fmt: skip
        if name in own:
            await own[name](words)
            return ExitCode.VERIFIED
        flags = flags_of(name, words, self.thread)
        if name == "threads" and not flags["every"]:
            flags["repo"] = flags["repo"] or self.repo
        code = await body_of(name)(self.settings, self.console, **flags)
        if name == "forget" and code == ExitCode.VERIFIED:
            await self._new([])
        return code

    async def _help(self, words: list[str]) -> None:
        for name, meaning in SLASH.items():
            self.console.write(f"/{name:<8} {meaning}")
        self.console.write(
            "All else is a task, an answer to what waits, or a note to the run that is at work."
        )

    async def _new(self, words: list[str]) -> None:
        self.thread = new_thread_id()
        self.console.write(f"New thread {self.thread}.")

    async def _switch(self, words: list[str]) -> None:
        if words:
            row = await find_thread(self.supervisor.journal, words[0])
            self.thread, self.repo = row.id, Path(row.repo) if row.repo else self.repo
        row_now = await self.supervisor.journal.threads.get(self.thread)
        about = f"{row_now.status}: {first_line(row_now.task)}" if row_now else "nothing said yet"
        self.console.write(f"Thread {self.thread}, {about} ({one_line(str(self.repo))})")
        await self._show_questions()

    async def _show_questions(self) -> None:
        """Show what the thread waits for, which the next text answers, or that its run has stopped."""
        if pending := await self.supervisor.pending(self.thread):
            with self.console.page() as page:
                for request in pending:
                    show_request(page, request)
            self.console.notify(WAITS_IN_CHAT)
            return
        with suppress(RunnerError):
            run = await self.supervisor.history.resumable_run(self.thread)
            self.console.notify(f"It has stopped: {first_line(run.input['task'])}\n/resume goes on with it.")

    async def _fork(self, words: list[str]) -> None:
        if not words:
            await print_checkpoints(self.console, self.supervisor, self.thread)
            self.console.notify("/fork N goes on from checkpoint N in a new thread.")
            return
        self.thread = await fork_at(self.supervisor, self.thread, words[0])
        self.console.write(f"New thread {self.thread}, with the files of that checkpoint.")
        await self._show_questions()

    async def _plan(self, words: list[str]) -> None:
        if words not in ([], ["on"], ["off"]):
            raise UsageError("/plan takes nothing, `on` or `off`")
        asks = words != ["off"]
        self.options |= {"approve_plan": asks}
        self.console.write(
            "The next plans wait for your approval." if asks else "The next plans run at once."
        )

    async def _model(self, words: list[str]) -> None:
        row = await self.supervisor.journal.threads.get(self.thread)
        before = merge_options(row.options if row else {}, self.options)
        if not words:
            await self._list_models(before)
            return
        *agents, last = words
        name = None if last == "default" else last
        chosen: dict[str, Any] = {"model": name, "models": None}
        if agents:
            models = {**(before.get("models") or {}), agents[0]: name}
            chosen = {"models": {agent: model for agent, model in models.items() if model} or None}
        run_options(merge_options(before, chosen), self.settings)  # only for its errors
        self.options |= chosen
        who = f"The next task's {one_line(agents[0])}" if agents else "The next task"
        self.console.write(f"{who} uses {one_line(name) if name else 'the models of the settings'}.")

    async def _list_models(self, options: Mapping[str, Any]) -> None:
        models = self.supervisor.resources.agents.models
        chosen = models.settings.chosen_by(run_options(options, self.settings))
        for agent in chosen.agents:
            self.console.write(f"{agent:<9} {one_line(chosen.model_of(agent))}")
        offer = await models.offers.current()
        if offer.problem:
            self.console.notify(one_line(offer.problem))
        if names := [one_line(model.id) for model in offer.models]:
            self.console.write(f"{len(names)} on offer: {', '.join(names[:30])}{', …' * (len(names) > 30)}")

    async def _cost(self, words: list[str]) -> None:
        """Print the usage of all runs of the thread."""
        journal = self.supervisor.journal
        runs = [run.id for run in await journal.runs.of_thread(self.thread)]
        sums = [AgentUsage(**vars(usage)) for usage in await journal.completions.usage(*runs)]
        self.console.print(cost_table(sums) if sums else "Nothing yet.")
