"""Tool steps in runs: what they read and change, what asks, and effects that happen once."""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from desk import Request
from gitrepo import GitRepo
from langgraph.checkpoint.base import BaseCheckpointSaver
from runs import CALC, MUL, Bench, block, script
from served import ForkedServer

from graph.builder import Graph, Resources, build
from graph.errors import InputError
from graph.event_log import open_journal
from graph.supervisor import Supervisor
from nodes.dialogue.answers import review
from nodes.events import ApprovalRequired, ApprovalResolved, Event, ToolResult
from server.api.run_results import RunResults
from tools.catalogue import OutsidePlace, OutsideResult, PlanTool, ToolOutput

YES = {"decision": "approve"}
CODER = "system: You are a coder"


def tool(name: str, group: int = 1, description: str = "", **params: Any) -> dict[str, Any]:
    return {
        "agent": "tool",
        "description": description or f"Run {name}",
        "tool_name": name,
        "tool_params": params,
        "parallel_group": group,
    }


def coder(description: str, file: str, group: int = 1) -> dict[str, Any]:
    return {"agent": "coder", "description": description, "file": file, "parallel_group": group}


def plan(*steps: Mapping[str, Any]) -> str:
    return json.dumps({"explanation": "As asked.", "steps": steps})


@dataclass
class Outside:
    """A world outside that keeps what was done to it. `hangs` holds the tools that never come back."""

    done: list[str] = field(default_factory=list)
    hangs: set[str] = field(default_factory=set)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, call: PlanTool, place: OutsidePlace) -> OutsideResult:
        self.done.append(" ".join(call.subjects()))
        self.began.set()
        if call.name in self.hangs:
            await asyncio.sleep(600)
        named = "named" if place.approved else "not named"
        return OutsideResult(ToolOutput(stdout=f"{' '.join(call.subjects())}, {named}"), place.head)

    @asynccontextmanager
    async def supervisor(
        self, bench: Bench, shared: bool = False, **settings: Any
    ) -> AsyncIterator[Supervisor]:
        def build_with_fakes(resources: Resources, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
            work = dict.fromkeys(("git_push", "git_pull", "git_clone"), self)
            execution = replace(resources.tools.execution, outside=work)
            return build(
                replace(resources, tools=replace(resources.tools, execution=execution)), checkpointer
            )

        opening = Supervisor.open(bench.settings(**settings), shared=shared, build=build_with_fakes)
        async with opening as supervisor:
            yield supervisor


async def begin(supervisor: Supervisor, bench: Bench, **input: Any) -> str:
    """Run a task on thread `t` until it ends or waits. Return its status."""
    given: Any = {"task": "Add mul", "repo": str(bench.repo.path), **input}
    run = await supervisor.submit(given, "t")
    return (await supervisor.wait(run.id)).status


async def answered(supervisor: Supervisor, answers: Mapping[str, Any]) -> str:
    run = await supervisor.resume("t", answers)
    return (await supervisor.wait(run.id)).status


async def asked(supervisor: Supervisor) -> dict[str, ApprovalRequired]:
    """The open questions by what they would push."""
    return {str(each.request["params"].get("branch")): each for each in await supervisor.pending("t")}


async def told(supervisor: Supervisor, type: str) -> list[Any]:
    return [event.data for event in await supervisor.journal.events.read("t") if event.type == type]


async def test_tools_read_and_change_the_files_and_coders_see_what_they_say(bench: Bench) -> None:
    for link in ("unused", "used"):
        (bench.repo.path / link).symlink_to("calc.py")
    bench.repo.commit({"old.py": "x = 1\n"})
    steps = [
        tool("mv", source="old.py", target="new.py"),
        tool("rm", paths=["unused"]),
        tool("mv", source="used", target="moved"),
        tool("python_run", code="open('made.txt', 'w').write('made'); print('printed' * 2)"),
        coder("Add mul", "calc.py", 2),
        tool("git_status", 3),
        tool("git_diff", 3, paths=["made.txt"]),
        tool("git_log", 3, count=1),
        tool("git_commit", 3, message="Multiply\n\nAs asked."),
        tool("cat", 3, paths=["new.py", "made.txt"]),
        tool("env_list", 3),
        tool("pwd", 3),
    ]
    script(bench.desk, planner=plan(*steps))
    run = await bench.run()
    assert run.end.status == "verified", run.end.missing
    outputs: dict[str, list[str]] = {}
    for result in run.of("tool.result"):
        assert result.returncode == 0, result
        assert ("the link stays" in result.stderr) == ("used moved" in " ".join(result.call.command)), result
        outputs.setdefault(result.tool, []).append(result.stdout)
    assert outputs["git_status"] == ["M calc.py\nA made.txt\nA new.py\nD old.py\nD unused\n"]
    assert outputs["cat"] == ["x = 1\nmade"] and outputs["pwd"] == ["/workspace\n"]
    assert "+made" in outputs["git_diff"][0] and "mul" not in outputs["git_diff"][0]
    assert len(outputs["git_log"][0].splitlines()) == 1
    variables = outputs["env_list"][0].splitlines()
    assert "HOME=/tmp" in variables and not any("API_KEY" in line for line in variables)
    (prompt,) = bench.desk.prompts(CODER)
    assert "printedprinted" in prompt and "exit code 0" in prompt
    assert run.end.branch
    assert bench.repo.git("log", "-1", "--format=%s|%b", run.end.branch).startswith("Multiply|As asked.")
    assert bench.repo.git("show", f"{run.end.branch}:made.txt") == "made"


async def test_a_plan_with_a_bad_tool_goes_back_once_with_the_reason(bench: Bench) -> None:
    replies = iter([plan(tool("cat", paths=["--help"])), plan(coder("Add mul", "calc.py"))])
    script(bench.desk, planner=lambda _: next(replies))
    run = await bench.run()
    assert run.end.status == "verified"
    (retry,) = [each for each in run.of("retry") if "unusable" in each.reason]
    assert "a path must not begin with a dash" in retry.reason


async def test_without_tool_use_the_planner_reads_of_none_and_none_is_taken(bench: Bench) -> None:
    script(bench.desk)
    run = await bench.run(settings={"enable_tool_use": False})
    assert run.end.status == "verified"
    assert "git_push" not in bench.desk.prompts("system: You are the planner")[0]
    async with bench.supervisor(enable_tool_use=False) as supervisor:
        with pytest.raises(InputError, match="ENABLE_TOOL_USE is false"):
            await begin(supervisor, bench, steps=[tool("ls")])


async def test_a_tool_that_takes_too_long_ends_with_the_name_of_the_setting(bench: Bench) -> None:
    script(bench.desk)
    steps = [tool("python_run", code="import time; time.sleep(60)")]
    run = await bench.run(settings={"tool_executor_timeout": 1}, steps=steps)
    (result,) = run.of("tool.result")
    assert result.returncode != 0 and "1 s, which is TOOL_EXECUTOR_TIMEOUT" in result.stderr
    assert run.end.status == "unverified"


async def test_two_tools_and_a_coder_wait_and_work_at_once_and_no_effect_happens_twice(bench: Bench) -> None:
    world = Outside()
    steps = [
        tool("git_push", branch="autocode/a"),
        tool("git_push", branch="autocode/b"),
        tool("git_push", branch="autocode/c"),
        coder("Add mul", "calc.py"),
        coder("Write half", "half.py"),
    ]
    script(bench.desk, coder=half)
    async with world.supervisor(bench) as supervisor:
        assert await begin(supervisor, bench, steps=steps) == "waiting"
        questions = await asked(supervisor)
        assert sorted(questions) == ["autocode/a", "autocode/b", "autocode/c"] and world.done == []
        question = {
            "kind": "tool",
            "tool": "git_push",
            "params": {"branch": "autocode/b"},
            "command": "git push -- origin autocode/b",
            "effect": "outside",
            "reason": "tools that reach outside of the sandbox ask by default",
            "step": "Run git_push",
        }
        assert questions["autocode/b"].request == question | review(question)
        with pytest.raises(InputError, match="branch: write the name"):
            edit = {"decision": "edit", "params": {"branch": "--force"}}
            await supervisor.resume("t", {questions["autocode/a"].id: edit})
        assert await answered(supervisor, {questions["autocode/c"].id: YES}) == "waiting"
        assert world.done == ["origin autocode/c"]
    # Another process goes on.
    async with world.supervisor(bench) as supervisor:
        questions = await asked(supervisor)
        assert sorted(questions) == ["autocode/a", "autocode/b"]
        answers = {
            questions["autocode/b"].id: {"decision": "edit", "params": {"branch": "autocode/d"}},
            questions["autocode/a"].id: {"decision": "reject", "reason": "not that one"},
        }
        assert await answered(supervisor, answers) == "unverified"
        assert world.done == ["origin autocode/c", "origin autocode/d"]
        results = await told(supervisor, "tool.result")
        outputs = sorted(result.stdout or result.stderr for result in results)
        assert outputs == ["origin autocode/c, named", "origin autocode/d, named", "refused: not that one\n"]
        end = (await told(supervisor, "run.finished"))[-1]
        assert end.missing[0] == "step s1 failed: refused: not that one"
        events = await supervisor.journal.events.read("t")
        started = [event.step_id for event in events if event.type == "node.started" and event.step_id]
        assert (started.count("s4"), started.count("s5")) == (1, 1)  # the coders, who were done
    assert len(bench.desk.prompts(CODER)) == 2


async def test_an_effect_that_may_have_happened_is_asked_about(bench: Bench) -> None:
    world = Outside(hangs={"git_push"})
    script(bench.desk, planner=plan(tool("git_push", branch="autocode/a"), coder("Add mul", "calc.py")))
    async with world.supervisor(bench, tool_policy={"git_push": "allow"}) as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"auto_approve": True}}
        await supervisor.submit(given, "t")
        await world.began.wait()
        await supervisor.stop()
    world.hangs.clear()
    async with world.supervisor(bench, tool_policy={"git_push": "allow"}) as supervisor:
        fork = await supervisor.history.fork("t")  # what happened to the run happened to its copy
        forked = await supervisor.resume(fork)
        assert (await supervisor.wait(forked.id)).status == "waiting"
        assert (await supervisor.pending(fork))[0].request["uncertain"]
        run = await supervisor.resume("t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        assert world.done == ["origin autocode/a"]
        (question,) = await supervisor.pending("t")
        assert "may have happened already" in question.request["reason"]
        assert await answered(supervisor, {question.id: YES}) == "verified"
        assert world.done == ["origin autocode/a"] * 2


async def test_a_denied_step_is_told_by_its_rule_while_others_wait(bench: Bench) -> None:
    world = Outside()
    steps = plan(tool("git_push", branch="autocode/a"), tool("git_push", branch="main"))
    script(bench.desk, planner=steps)
    async with world.supervisor(bench, tool_policy={"git_push:origin main": "deny"}) as supervisor:
        assert await begin(supervisor, bench) == "waiting"
        events = await supervisor.journal.events.read("t")
    waiting, denied = RunResults.from_events(events, events[0].run_id).outputs(str(bench.repo.path), True)
    assert "a human's approval is needed" in waiting.model_dump()["output"]["stderr"]
    assert "is denied (TOOL_POLICY or config.toml: git_push:origin main = deny)" in str(denied.output)


async def test_the_planner_plans_around_a_refusal_once(bench: Bench) -> None:
    world = Outside()
    first = plan(tool("git_push", branch="autocode/a"), coder("Add mul", "calc.py", 2))
    plans = iter([first, plan(tool("git_push", branch="autocode/b"), coder("Add mul", "calc.py", 2))])
    script(bench.desk, planner=lambda _: next(plans))
    async with world.supervisor(bench) as supervisor:
        assert await begin(supervisor, bench) == "waiting"
        (question,) = await supervisor.pending("t")
        no = {"decision": "reject", "reason": "use the branch b"}
        assert await answered(supervisor, {question.id: no}) == "waiting"
        assert "refused: use the branch b" in bench.desk.prompts("system: You are the planner")[-1]
        (question,) = await supervisor.pending("t")
        assert question.request["params"] == {"branch": "autocode/b"}
        assert await answered(supervisor, {question.id: YES}) == "verified"
        assert world.done == ["origin autocode/b"]


async def test_a_second_refusal_fails_the_step_and_the_others_go_on(bench: Bench) -> None:
    world = Outside()
    script(bench.desk, planner=plan(tool("git_push"), coder("Add mul", "calc.py", 2)))
    async with world.supervisor(bench) as supervisor:
        status = await begin(supervisor, bench)
        for _ in range(2):
            assert status == "waiting"
            (question,) = await supervisor.pending("t")
            status = await answered(supervisor, {question.id: {"decision": "reject", "reason": "never"}})
        assert status == "unverified" and world.done == []
        end = (await told(supervisor, "run.finished"))[-1]
        assert end.missing[0].endswith("failed: refused: never") and end.branch


async def test_policy_and_remembered_answers_decide_without_a_question(bench: Bench) -> None:
    world = Outside()
    steps = plan(tool("git_push", branch="autocode/a"), coder("Add mul", "calc.py"))
    script(bench.desk, planner=steps)
    rules = {"git_push": "allow", "git_push:origin autocode/b": "deny"}
    async with world.supervisor(bench, tool_policy=rules) as supervisor:
        assert await begin(supervisor, bench) == "verified"
        assert [result.stdout for result in await told(supervisor, "tool.result")] == [
            "origin autocode/a, not named"
        ]
        denied = [tool("git_push", branch="autocode/b"), coder("Add mul", "calc.py")]
        assert await begin(supervisor, bench, steps=denied, options={"auto_approve": True}) == "unverified"
        end = (await told(supervisor, "run.finished"))[-1]
        assert "git_push is denied (TOOL_POLICY or config.toml" in end.missing[0]


async def test_others_than_the_user_get_no_use_of_the_users_logins_by_their_own_approval(
    bench: Bench,
) -> None:
    world = Outside()
    script(bench.desk)
    steps = [tool("git_pull", branch="main"), tool("git_push", branch="main")]
    rules: Any = {"git_push:origin main": "ask", "git_push:origin autocode/*": "allow"}
    async with world.supervisor(bench, shared=True, tool_policy=rules) as supervisor:
        assert await begin(supervisor, bench, steps=steps, options={"auto_approve": True}) == "unverified"
        end = (await told(supervisor, "run.finished"))[-1]
        assert ["logins of the user" in reason for reason in end.missing[:2]] == [True, True]
        await begin(supervisor, bench, steps=[tool("git_push", branch="autocode/a")])
    assert world.done == ["origin autocode/a"]


async def test_an_answer_for_the_repository_counts_for_later_runs_until_it_is_revoked(bench: Bench) -> None:
    world = Outside()
    script(bench.desk)
    steps = [tool("git_push", branch="autocode/a")]
    async with world.supervisor(bench) as supervisor:
        assert await begin(supervisor, bench, steps=steps) == "waiting"
        (question,) = await supervisor.pending("t")
        await answered(supervisor, {question.id: YES | {"scope": "repository"}})
        assert await begin(supervisor, bench, steps=steps) == "unverified"  # no file was changed
        other = [tool("git_push", branch="autocode/b")]
        assert await begin(supervisor, bench, steps=other) == "waiting"
        await supervisor.cancel("t")
        (consent,) = await supervisor.journal.consents.all()
        assert consent.about["params"] == {"branch": "autocode/a"}
        assert await supervisor.journal.consents.revoke(consent.key)
        assert await begin(supervisor, bench, steps=steps) == "waiting"
        assert world.done == ["origin autocode/a"] * 2


async def test_a_repository_can_only_be_stricter(bench: Bench) -> None:
    world = Outside()
    text = '[test]\nmutants = "off"\n[policy]\ngit_push = "allow"\nrm = "deny"\n'
    bench.repo.commit({".autocode.toml": text})
    script(bench.desk)
    steps = [tool("git_push", branch="autocode/a"), tool("rm", paths=["calc.py"])]
    async with world.supervisor(bench) as supervisor:
        assert await begin(supervisor, bench, steps=steps) == "waiting"
        (question,) = await supervisor.pending("t")  # its own `allow` counts for nothing
        assert await answered(supervisor, {question.id: {"decision": "reject"}}) == "unverified"
        failures = [each.message for each in await told(supervisor, "error") if each.kind == "step"]
        assert failures[0] == "step s1 failed: refused by the user" and world.done == []
        assert failures[1].startswith("step s2 failed: rm is denied (.autocode.toml")


async def test_a_run_cannot_loosen_the_policy_of_the_threads_next_run(bench: Bench) -> None:
    world = Outside()
    strict = CALC[".autocode.toml"] + '[policy]\ngit_push = "deny"\n'
    bench.repo.commit({".autocode.toml": strict})
    script(bench.desk)
    loosen = tool("python_run", code=f"open('.autocode.toml', 'w').write({CALC['.autocode.toml']!r})")
    async with world.supervisor(bench, tool_policy={"git_push": "allow"}) as supervisor:
        await begin(supervisor, bench, steps=[loosen, coder("Add mul", "calc.py", 2)])
        assert await begin(supervisor, bench, steps=[tool("git_push", branch="autocode/a")]) == "unverified"
        end = (await told(supervisor, "run.finished"))[-1]
        assert "git_push is denied (.autocode.toml" in end.missing[0] and world.done == []


async def test_an_approval_counts_for_the_address_that_was_shown(bench: Bench, tmp_path: Path) -> None:
    world = Outside()
    bench.repo.git("remote", "add", "origin", str(tmp_path / "shown"))
    script(bench.desk)
    async with world.supervisor(bench) as supervisor:
        assert await begin(supervisor, bench, steps=[tool("git_push")]) == "waiting"
        (question,) = await supervisor.pending("t")
        bench.repo.git("remote", "set-url", "origin", str(tmp_path / "other"))
        forged = YES | {"remote": str(tmp_path / "other")}
        assert await answered(supervisor, {question.id: forged}) == "unverified"
        end = (await told(supervisor, "run.finished"))[-1]
        assert "when this was approved, and is" in end.missing[0] and world.done == []


async def test_a_denied_tool_is_not_repeated_after_a_crash(bench: Bench) -> None:
    world = Outside(hangs={"git_push"})
    script(bench.desk)
    async with world.supervisor(bench, tool_policy={"git_push": "allow"}) as supervisor:
        given: Any = {
            "task": "x",
            "repo": str(bench.repo.path),
            "steps": [tool("git_push", branch="autocode/a")],
        }
        await supervisor.submit(given, "t")
        await world.began.wait()
        await supervisor.stop()
    world.hangs.clear()
    async with world.supervisor(bench, tool_policy={"git_push:origin autocode/b": "deny"}) as supervisor:
        run = await supervisor.resume("t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        (question,) = await supervisor.pending("t")
        with pytest.raises(InputError, match="can have no scope"):
            await supervisor.resume("t", {question.id: YES | {"scope": "run"}})
        edit = {"decision": "edit", "params": {"branch": "autocode/b"}}
        assert await answered(supervisor, {question.id: edit}) == "unverified"
        assert world.done == ["origin autocode/a"]


async def test_a_long_diff_and_variables_of_several_lines_do_not_flood_the_log(bench: Bench) -> None:
    script(bench.desk)
    steps = [
        tool("python_run", code="open('long.txt', 'w').write('line of the file\\n' * 200_000)"),
        tool("git_diff", 2),
        tool("env_list", 2),
    ]
    run = await bench.run(steps=steps)
    diff, variables = (each for each in run.of("tool.result")[1:])
    assert len(diff.stdout) < 20_000 and "its rest was dropped" in diff.stderr, diff.stderr
    assert "HOME=/tmp" in variables.stdout.splitlines() and "\0" not in variables.stdout


async def test_a_push_to_a_local_remote_needs_the_word_of_a_human(bench: Bench, tmp_path: Path) -> None:
    bare = GitRepo(tmp_path / "bare.git", "--bare")
    bench.repo.git("remote", "add", "origin", str(bare.path))
    script(bench.desk)
    steps = [
        coder("Add mul", "calc.py"),
        tool("git_push", 2),
        tool("git_push", 3, branch="main"),
        tool("rm", 4, paths=["tests/test_calc.py"]),
        tool("git_push", 5),
    ]
    async with bench.supervisor() as supervisor:
        status = await begin(supervisor, bench, steps=steps)
        while status == "waiting":
            assert not bare.git("for-each-ref", "refs/heads/main")
            (question,) = await supervisor.pending("t")
            wish = question.request["params"]
            refusal = {"decision": "reject", "reason": "nothing goes to main"}
            answer = refusal if wish.get("branch") == "main" else YES
            status = await answered(supervisor, {question.id: answer})
        outputs = [result.stdout for result in await told(supervisor, "tool.result")]
    assert [text.partition(" of ")[0] for text in outputs if text] == ["autocode/t-work"] * 2
    assert bare.git("rev-list", "--count", "autocode/t-work") == "3"
    assert "def mul" in bare.git("show", "autocode/t-work:calc.py")
    assert bench.repo.git("for-each-ref", "refs/remotes") == ""


def test_a_plan_that_is_approved_shows_the_calls_of_its_tools(bench: Bench) -> None:
    steps = plan(tool("rm_rf", description="Tidy up", paths=["tests", "a"]), coder("Add mul", "calc.py", 2))
    script(bench.desk, planner=steps)
    parked = bench.autocode("run", "Add mul", "--repo", str(bench.repo.path), "--approve-plan")
    assert parked.exit_code == 3 and 'Tidy up  (rm_rf paths=["tests", "a"])' in parked.output, parked.output


def test_the_terminal_shows_the_question_and_the_output_and_lists_what_was_approved(
    bench: Bench, tmp_path: Path
) -> None:
    bare = GitRepo(tmp_path / "bare.git", "--bare")
    bench.repo.git("remote", "add", "origin", str(bare.path))
    steps = plan(
        coder("Add mul", "calc.py"),
        tool("git_push", 2, "Let the others see it"),
        tool("python_run", 2, code="print('seen')"),
    )
    script(bench.desk, planner=steps)
    waits = bench.autocode("run", "Add mul", "--repo", str(bench.repo.path))
    assert waits.exit_code == 3 and "{" not in waits.output.partition("YOUR APPROVAL")[2], waits.output
    assert "Let the others see it" in waits.output and "$ git push -- origin" in waits.output
    assert f"Theremoteis{bare.path}" in "".join(waits.output.split())  # long lines are folded
    (id,) = set(re.findall(r"--approve (\w+)", waits.output))
    thread = re.findall(r"autocode resume (\w+)", waits.output)[0]
    done = bench.autocode("resume", thread, "--approve", id, "--scope", "repository")
    assert done.exit_code == 0, done.output
    assert re.search(r"tool .*Let the others see it: git_push: done", done.output)
    assert f"autocode/{thread}-work of" in done.output and "seen" in waits.output
    listed = bench.autocode("approvals")
    assert "git push -- origin" in listed.output
    assert "over terminal" in listed.output
    assert re.search(r"approved by \S+ over terminal", bench.autocode("show", thread).output)
    key = listed.output.splitlines()[1].split()[0]
    assert (
        "Revoked: git push -- origin (in this repository)"
        in bench.autocode("approvals", "--revoke", key).output
    )
    assert bench.autocode("approvals", "--revoke", key).exit_code == 2


async def test_yes_to_all_does_not_name_a_branch(bench: Bench, tmp_path: Path) -> None:
    bare = GitRepo(tmp_path / "bare.git", "--bare")
    bench.repo.git("remote", "add", "origin", str(bare.path))
    script(bench.desk)
    steps = [coder("Add mul", "calc.py"), tool("git_push", 2, branch="main")]
    run = await bench.run(steps=steps, options={"auto_approve": True})
    (result,) = run.of("tool.result")
    assert "others need your approval" in result.stderr and not bare.git("for-each-ref", "refs/heads")
    assert result.call.permitted_by == "--yes"


def half(request: Request) -> str:
    """The reply of a coder that adds mul, or writes half."""
    return block("half.py", "def half(a):\n    return a / 2") if "Step: Write half" in request.prompt else MUL


def test_three_questions_outlive_a_kill_and_are_answered_on_three_faces(
    bench: Bench, recordings_folder: Path, tmp_path: Path
) -> None:
    bare = GitRepo(tmp_path / "bare.git", "--bare")
    bench.repo.git("remote", "add", "origin", str(bare.path))
    steps = [
        *(tool("git_push", branch=f"autocode/{name}") for name in "abc"),
        coder("Add mul", "calc.py"),
        coder("Write half", "half.py"),
    ]
    script(bench.desk, coder=half)
    body: dict[str, Any] = {"steps": steps, "repo": str(bench.repo.path), "thread_id": "t"}
    with ForkedServer(bench.home, bench.desk, replay=recordings_folder) as server:
        with server.client() as client:
            first = client.post("/api/agent/run_parallel", json=body).json()
        assert first["status"] == "waiting", first
        server.end(signal.SIGKILL)
        assert bare.git("for-each-ref") == ""
        server.start()
        with server.client() as client:
            asked = client.get("/api/threads/t/approvals").json()
            ids = {each["request"]["params"]["branch"][-1]: each["id"] for each in asked}
            assert sorted(ids) == ["a", "b", "c"]
            page = {"answers": {ids["c"]: YES}}
            headers = {"Sec-Fetch-Site": "same-origin"}
            assert client.post("/api/threads/t/approvals", json=page, headers=headers).status_code == 200
            wait_for(client, ("waiting",))
            chat = {"decisions": [{"type": "approve"}]}
            command = {"assistant_id": "autocode", "command": {"resume": chat}}
            refused = client.post("/threads/t/runs", json=command)
            assert refused.status_code == 422 and ids["a"] in refused.text  # nobody knows which is meant
            command = {"assistant_id": "autocode", "command": {"resume": {ids["a"]: chat}}}
            assert client.post("/threads/t/runs", json=command).status_code == 200
            wait_for(client, ("waiting",))
        server.end()
        done = bench.autocode("resume", "t", "--approve", ids["b"])
        assert done.exit_code == 0, done.output
    branches = bare.git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
    assert branches == ["autocode/a", "autocode/b", "autocode/c"]
    log = asyncio.run(events_of(bench))
    resolved = [event.data for event in log if isinstance(event.data, ApprovalResolved)]
    assert [each.details and each.details.through for each in resolved] == ["page", "SDK", "terminal"]
    assert [each.details and each.details.by for each in resolved][:2] == ["127.0.0.1"] * 2
    results = [event.data for event in log if isinstance(event.data, ToolResult)]
    pushed = [each.call.params["branch"] for each in results if each.call]
    assert pushed == ["autocode/c", "autocode/a", "autocode/b"]
    assert len(bench.desk.prompts(CODER)) == 2


async def events_of(bench: Bench) -> list[Event]:
    """The whole log of the thread."""
    async with aclosing(await open_journal(bench.settings())) as journal:
        return await journal.events.read("t")


def wait_for(client: httpx.Client, statuses: Sequence[str]) -> None:
    """Wait until the thread has one of these statuses."""
    until = time.monotonic() + 60
    while client.get("/api/threads/t").json()["status"] not in statuses:
        assert time.monotonic() < until
        time.sleep(0.1)
