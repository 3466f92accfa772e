"""The tester writes tests that fail without the change and pass with it, or says why there can be none."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.agent.agents import Agents
from nodes.agent.conversation import Conversation
from nodes.agent.suite_command import suite_commands
from nodes.check.base_tests.test_side import TestSide
from nodes.check.mutation.mutants import Mutant, details
from nodes.check.runners.test_names import is_test_name, shown_case
from nodes.check.suites.config import NoSuite
from nodes.check.suites.packages import Packages
from nodes.check.suites.suite import Suite
from nodes.dialogue import sections
from nodes.dialogue.edits import Edit, finish_edit
from nodes.dialogue.excerpts import symbols
from nodes.dialogue.nearby import changed_symbols, near_tests
from nodes.dialogue.prompts import (
    DATA,
    EDIT_FORMAT,
    TASK,
    fenced,
    messages,
    section,
    task_line,
    task_section,
    with_tools,
)
from nodes.dialogue.replies import Unusable, no_edit_reason
from nodes.dialogue.turns import earlier
from nodes.events import ErrorReported
from nodes.llm.model_settings import ModelError
from nodes.proof import Proof, Unguarded
from nodes.repository import open_workspace
from nodes.state import ProvedState, State, StepResult, steps_of
from tools.workspace import Workspace

SYSTEM = f"""\
You are the tester. You write the tests that prove a change: each fails on the repository as it was and
passes with the change. They run in a sandbox without a network, with nothing installed but what the
repository's tests already use. {TASK}

{EDIT_FORMAT}

- Write into the repository's own test layout and style, best into a test file that fits.
- Keep every existing test as it is. Only where one expects the very opposite of what the task says, change
  that expectation to what the task says, and nothing else of it.
- Test behaviour through the public face: the ordinary case, the edges, the errors that are raised. Few,
  telling, quick, deterministic tests; no network, no sleeping, no dependence on the order.
- Write tests only. If the change is wrong, let a test show it; others will mend the code.
- Only if the change adds nothing that a test could tell (words in a document, or a conftest.py and helpers
  of the tests, which run with your tests on both sides), write no block and answer with one line:
  NO TESTS: the reason

{DATA}"""

AGAIN = """\
These of your tests prove nothing. They pass on the repository as it was, or they only ask whether a name
exists, and still pass when every changed function returns nothing:
{cases}
Write tests that fail without the change and pass with it (replace those, or add to them). If no test can
tell the difference, answer with one line: NO TESTS: the reason"""

NONE_YET = """\
No new test of yours fails on the repository as it was. Write tests that do, and that pass with the
change. If no test can tell the difference, answer with one line: NO TESTS: the reason"""

REFUSED = """\
You answered NO TESTS. The critic does not agree:
{reason}
Write tests that fail without the change and pass with it."""

UNGUARDED = """\
Your tests pass. But these lines of the change were broken one by one, and no test noticed:
{places}
Add tests that do notice, and that pass with the change; keep the tests that exist. Where a test could tell
no difference, write none. If that is so for all of them, answer with one line: NO TESTS: the reason"""

BROKEN = """\
When your tests pass, each changed function is broken as a whole, and then these places one at a time. What no
test notices comes back to you. Where a test can tell, let one notice; that one may pass without the change:
{places}"""

MUTANTS = 10
"""Places of the change that the tester is told to guard."""

EXAMPLES = 2
LISTED = 30
"""Test files that are listed by name."""

PLACES = 20


def unguarded_lines(state: State) -> list[Unguarded]:
    """Return the lines that the tester should guard next, none if the check is not good or it was asked."""
    if state.get("guards_asked") or not state["check"]:
        return []
    proof = Proof.model_validate(state["check"])
    return proof.unguarded[:PLACES] if proof.proves and not proof.gaps else []


@dataclass(frozen=True)
class Tester:
    """Asks for tests, and asks once more if the first ones prove nothing."""

    agents: Agents

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the head with the tests, or the reason for none."""
        if unguarded_lines(state):
            return await self._guard(state, runtime)
        asked, wanted = state["tests_asked"], state.get("tests_wanted", "")
        step = f"tester-{asked + 1}"
        counted: State = {"tests_asked": asked + 1}
        if wanted:  # the critic reviews the same tree again, if the tester has no test for it
            counted |= {"tests_wanted": "", "verdict": None, "review_rounds": state["review_rounds"] + 1}
        workspace = await open_workspace(state)
        asking = self.agents.conversation(runtime, state, "tester", step, workspace, state["head"])
        async with asking as conversation:
            return await self._test(conversation, workspace, state, counted)

    async def _test(
        self, conversation: Conversation, workspace: Workspace, state: State, counted: State
    ) -> State:
        step, wanted = conversation.step, state.get("tests_wanted", "")
        try:
            edit = await self._ask(conversation, workspace, state)
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        except Unusable as error:
            conversation.publish(ErrorReported(message=f"the tester failed: {error.fault}", kind="step"))
            if wanted:  # the critic's verdict stands
                reason = f"the tester wrote no usable test: {error.fault}"
                return {"stops": [{"kind": "unverified", "reason": reason}]}
            failed = StepResult(step_id=step, base=state["head"], error=f"no usable tests: {error.fault}")
            return counted | {"results": [failed]}
        if isinstance(edit, str):
            return counted | {"untestable": edit}
        await conversation.hold(workspace, edit)
        return counted | {"head": edit.snapshot, "untestable": "", "tester_remark": edit.remark}

    async def _guard(self, state: State, runtime: Runtime[None]) -> State:
        """Return the head with tests for unguarded lines. Whatever goes wrong, the checked head remains."""
        workspace, asked = await open_workspace(state), State(guards_asked=True)
        asking = self.agents.conversation(runtime, state, "tester", "tester-guards", workspace, state["head"])
        async with asking as conversation:
            try:
                edit = await self._ask(conversation, workspace, state)
            except (BudgetSpent, Unusable, ModelError) as error:
                reason = error.fault if isinstance(error, Unusable) else error
                warning = f"no tests for the unguarded lines: {reason}"
                conversation.publish(ErrorReported(message=warning, kind="warning"))
                return asked
            said = edit if isinstance(edit, str) else edit.remark
            remark = " ".join(filter(None, (state.get("tester_remark"), said)))
            if isinstance(edit, str) or workspace.tree(edit.snapshot) == workspace.tree(state["head"]):
                return asked | {"tester_remark": remark}
            await conversation.hold(workspace, edit)
        proof = Proof.model_validate(state["check"])
        before = ProvedState(head=state["head"], check=proof.model_dump(), untestable=proof.untestable)
        return asked | {
            "head": edit.snapshot,
            "untestable": "",
            "fallback": before,
            "tester_remark": remark,
        }

    async def _ask(self, conversation: Conversation, workspace: Workspace, state: State) -> Edit | str:
        packages = await asyncio.to_thread(Packages, workspace, state["base"], state["head"])
        return await conversation.ask(
            lambda: self._prompt(workspace, packages, state, conversation),
            lambda text: _read(workspace, packages, state["head"], conversation.snapshot, text),
        )

    def _prompt(
        self, workspace: Workspace, packages: Packages, state: State, conversation: Conversation
    ) -> list[BaseMessage]:
        base, head, tools = state["base"], state["head"], conversation.offers_tools
        changed = [change.path for change in workspace.changes(base, head) if change.status != "deleted"]
        files = workspace.files(head)
        suites = packages.suites(changed)
        tests = [path for folder, suite in suites.items() for path in _tests(folder, suite, files)]
        others = [path for path in tests if path not in changed]
        # The first line of a task names what it is about, so it counts twice.
        steps = [step["description"] for step in steps_of(state["plan"])]
        asked = " ".join([task_line(state["task"]), state["task"], *steps])
        names = dict.fromkeys([*changed_symbols(workspace.diff(base, head)), *symbols(asked)])
        near = near_tests(workspace, head, others, [*names], changed, EXAMPLES, asked)
        near = near or {path: [] for path in others[:1]}  # for the style
        example = sections.EXAMPLE_TOKENS if tools else sections.LONG_EXAMPLE_TOKENS
        parts = [
            sections.agents_md(workspace, head, changed),
            suite_commands(suites),
            section("The repository's test files", _listed(tests, near) or f"(none yet{_place(suites)})"),
            sections.files("Existing tests near the change", workspace, head, near, example, near),
            sections.context(workspace, head, state["context_files"]),
            earlier(state.get("turns", []), conversation.room, brief=True),
            sections.plan(state["plan"], task=state["task"]),
            sections.refusals(state.get("refusals") or []),
            sections.change(workspace, base, head, "The change that your tests are to prove", tools),
            sections.remarks(state["results"]),
            ""
            if unguarded_lines(state)
            else _broken(details(workspace, base, head, suites, changed, MUTANTS)),
            task_section(state["task"]),
            _again(state),
        ]
        return messages(with_tools(SYSTEM, tools), parts, task_line(state["task"]))


def _listed(tests: Sequence[str], near: Iterable[str]) -> str:
    """Return the names of test files, those near the change first."""
    names = list(dict.fromkeys([*near, *tests]))
    more = len(names) - LISTED
    return "\n".join(names[:LISTED] + ([f"(and {more} more)"] if more > 0 else []))


def _tests(folder: str, suite: Suite, files: Iterable[str]) -> list[str]:
    """Return the test files of a package by their whole paths."""
    below = [path.removeprefix(f"{folder}/") for path in files if not folder or path.startswith(f"{folder}/")]
    tests = filter(suite.is_test if suite.is_pytest else TestSide(suite, below).is_test, below)
    return [f"{folder}/{path}" if folder else path for path in tests]


def _broken(places: Sequence[Mutant]) -> str:
    """Return the section of places that will be broken to try the tests."""
    listed = fenced("\n".join(map(str, places)))
    return section("What your tests should notice", BROKEN.format(places=listed)) if places else ""


def _place(suites: Mapping[str, Suite]) -> str:
    """Return where a first test may go."""
    folder, suite = next(iter(suites.items()))
    place = "tests/test_*.py" if suite.is_pytest else suite.runner.place if suite.runner else ""
    below = f"{folder}/" if folder else ""
    return f": {below}{place} is a good place" if place else ""


def _again(state: State) -> str:
    """Return what is wrong with the tester's earlier reply, empty for the first one."""
    if places := unguarded_lines(state):
        listed = fenced("\n".join(f"{lines.place}: {lines.mutant}" for lines in places))
        return section("No test notices when these lines break", UNGUARDED.format(places=listed))
    if wanted := state.get("tests_wanted"):
        return section("The critic wants a test", REFUSED.format(reason=fenced(wanted)))
    if not state["tests_asked"]:
        return ""
    cases = "\n".join(f"- {shown_case(case)}" for case in state["vacuous"])
    return section("Your earlier tests", AGAIN.format(cases=cases) if cases else NONE_YET)


def _read(workspace: Workspace, packages: Packages, head: str, worked: str, text: str) -> Edit | str:
    """Return the tests, or the tester's reason for none."""
    if reason := no_edit_reason(text, "NO TESTS"):
        return reason
    # Testers break the code to see their tests fail. What the tools did to it is left out.
    admitted = _admitted(workspace, packages, head, [c.path for c in workspace.changes(head, worked)])
    kept = workspace.write(head, {path: workspace.read(worked, path) for path in admitted}, "tester: tools")
    edit = finish_edit(workspace, head, kept, text, "tester")
    admitted = _admitted(workspace, packages, head, edit.paths)
    for path in edit.paths:
        if path not in admitted:
            raise Unusable(
                f"{path} is no test file and no data of tests.",
                "Write tests and their data only, below a folder that holds tests, and leave the code as it "
                "is.",
            )
    return edit


def _admitted(workspace: Workspace, packages: Packages, head: str, paths: Collection[str]) -> list[str]:
    """Return the paths that a tester may write, among those that it wants to write."""
    files = workspace.files(head).keys()

    @cache
    def admits(folder: str, is_new: bool) -> Callable[[str], bool]:
        return _rule(packages, folder, {*files, *paths} if is_new else files, is_new)

    return [path for path in paths if admits(packages.nearest(path), path not in files)(path)]


def _rule(packages: Packages, folder: str, files: Collection[str], is_new: bool) -> Callable[[str], bool]:
    """Return whether the tester may write a file of a package, judged by the package's suite."""
    # The package may be another one than the change's, such as one with tests for all of them.
    try:
        suite = packages.suite(folder)
    except NoSuite:  # nothing at the root says what runs there
        return is_test_name
    if suite.grade != "tests":
        return lambda path: True
    start = len(folder) + 1 if folder else 0
    side = TestSide(suite, [name[start:] for name in files if not folder or name.startswith(f"{folder}/")])
    return lambda path: side.admits(path[start:], is_new)
