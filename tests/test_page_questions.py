"""The page's questions about plans, tools and environments, and texts that want to be more than text."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from browser import OpenPage, open_browser, open_page, write_log
from gitrepo import GitRepo
from playwright.async_api import Browser, Locator, expect
from served import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")
STARTED = ("run.started", {"task": "Write mul", "repo": "/repo"})
WAITING = ("run.finished", {"status": "waiting"})
PLAN = {
    "explanation": "As asked.",
    "steps": [{"id": "s1", "agent": "coder", "description": "Add mul", "group": 0, "file": "calc.py"}],
}
BUILD = {
    "kind": "environment",
    "commands": ["uv venv", "uv pip install -e '.[dev]'"],
    "sources": ["pyproject.toml", "uv.lock"],
    "reasons": ["Python 3.12"],
    "packages": ["libxml2-dev"],
    "at_hand": [".venv"],
    "difference": ["@@ -1 +1 @@", '+"lxml"'],
}
PUSH = {
    "kind": "tool",
    "tool": "git_push",
    "params": {"branch": "main"},
    "command": "git push -- origin",
    "effect": "outside",
    "reason": "the default",
    "step": "Show it",
    "difference": ["@@ -1 +1 @@", "-old", "+new"],
    "renewal": "uv lock",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A browser for all tests of the module. Each has a tab of its own."""
    async with open_browser() as opened:
        yield opened


def asked(id: str, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The event of a question."""
    return ("approval.required", {"id": id, "request": request})


def resolved(id: str, decision: str = "approve") -> tuple[str, dict[str, Any]]:
    """The event of its answer."""
    return ("approval.resolved", {"id": id, "decision": decision})


def box_of(page: OpenPage, title: str) -> Locator:
    """The first question with this title."""
    return page.tab.get_by_role("region", name=f"Waiting for you: {title}").first


async def answer(page: OpenPage, box: Locator, button: str) -> Any:
    """Press a button of a question, and return the answer that it sends. The server refuses it."""
    count = len(page.sent)
    await box.get_by_role("button", name=button, exact=True).click()
    # The log was written by hand, so the server knows of no question.
    await expect(box).to_contain_text(re.compile("no such approval|has a scope"))
    await expect(box.get_by_role("button").last).to_be_enabled()
    assert len(page.sent) == count + 1
    (sent,) = page.sent[-1]["answers"].values()
    return sent


async def test_a_plan_is_edited_as_a_form_and_approve_sends_what_is_on_the_screen(
    browser: Browser, served: Served
) -> None:
    await write_log(served.home, "plans", [STARTED, asked("i1", {"kind": "plan", "plan": PLAN}), WAITING])
    async with open_page(browser, served.url) as page:
        await page.tab.goto("/#plans")
        box = box_of(page, "approve this plan?")
        assert await answer(page, box, "Approve") == {"decision": "approve"}
        step = box.get_by_label("Description of step 1")
        await step.fill("My way")
        await box.get_by_role("button", name="Add a step").click()
        await box.get_by_label("Description of step 2").fill("Beside it")
        await box.get_by_label("with step 1").check()
        await box.get_by_label("Edits").last.fill("a.py, b.py")
        await box.get_by_label("Reads").last.fill("README.md")
        sent = await answer(page, box, "Approve with my changes")
        assert sent["decision"] == "edit" and sent["plan"]["explanation"] == "As asked."
        first, second = sent["plan"]["steps"]
        assert (first["description"], first["file"], first["parallel_group"]) == ("My way", "calc.py", 0)
        assert (second["files"], second["context_files"]) == (["a.py", "b.py"], ["README.md"])
        assert second["parallel_group"] == 0
        assert await step.input_value() == "My way"  # a refused answer loses nothing
        await box.get_by_role("button", name="Move step 2 up").click()
        sent = await answer(page, box, "Approve with my changes")
        assert [one["description"] for one in sent["plan"]["steps"]] == ["Beside it", "My way"]
        assert [one["parallel_group"] for one in sent["plan"]["steps"]] == [0, 1]
        await box.get_by_role("button", name="Remove step 2").click()
        await box.get_by_role("button", name="Remove step 1").click()
        await box.get_by_role("button", name="Approve with my changes").click()
        await expect(box).to_contain_text("A plan needs a step.")
        await box.get_by_role("button", name="Undo my changes").click()
        assert await answer(page, box, "Approve") == {"decision": "approve"}
        await box.get_by_role("button", name="Reject…").click()
        assert await answer(page, box, "End the run") == {"decision": "reject"}
        await box.get_by_label("What should be different?").fill("smaller")
        assert await answer(page, box, "Ask for another plan") == {"decision": "reject", "reason": "smaller"}


async def test_the_questions_about_an_environment_are_answered_with_buttons_and_never_edited(
    browser: Browser, served: Served
) -> None:
    failed = {"kind": "environment", "commands": [], "problem": "ffi.h is missing\n    #include <ffi.h>"}
    await write_log(served.home, "builds", [STARTED, asked("i1", BUILD), WAITING])
    async with open_page(browser, served.url) as page:
        await page.tab.goto("/#builds")
        box = box_of(page, "build this environment?")
        await box.wait_for()
        buttons = [name for name in await box.get_by_role("button").all_inner_texts() if name.strip()]
        assert buttons == ["Approve", "Use .venv", "Reject"] and await box.locator("textarea").count() == 0
        assert await box.locator("code").all_inner_texts() == BUILD["commands"]
        told = await box.inner_text()
        assert "made from pyproject.toml, uv.lock" in told and "libxml2-dev" in told and "Python 3.12" in told
        assert await box.locator(".added").all_inner_texts() == ['+"lxml"']
        assert await answer(page, box, "Approve") == {"decision": "approve"}
        assert await answer(page, box, "Use .venv") == {"decision": "edit", "params": {"venv": ".venv"}}
        assert await answer(page, box, "Reject") == {"decision": "reject"}
        await write_log(served.home, "builds", [resolved("i1"), asked("i2", failed)])
        box = box_of(page, "go on without the environment?")
        await expect(box.locator("pre")).to_have_text(failed["problem"])
        assert await answer(page, box, "Go on without it") == {"decision": "approve"}
        assert await answer(page, box, "End the run") == {"decision": "reject"}


async def test_a_build_is_a_block_that_runs_with_its_output_and_ends(
    browser: Browser, served: Served
) -> None:
    def build(**data: Any) -> tuple[str, dict[str, Any], str]:
        return ("environment", data, "environment")

    begun = [
        STARTED,
        build(status="building", commands=BUILD["commands"]),
        build(status="output", text="Resolved 9\n"),
    ]
    await write_log(served.home, "made", begun)
    async with open_page(browser, served.url) as page:
        await page.tab.goto("/#made")
        first = page.tab.get_by_label("Building the environment", exact=True).first
        await expect(first.get_by_text("Running")).to_be_attached()
        await expect(first).to_contain_text("Resolved 9")
        await write_log(
            served.home,
            "made",
            [build(status="output", text="Prepared 9\n"), build(status="ready", seconds=12.3)],
        )
        await expect(first).to_contain_text("12 s")
        await expect(first.get_by_text("done", exact=True)).to_be_attached()
        await first.get_by_role("button").click()
        await expect(first.locator("pre")).to_have_text(
            "$ uv venv\n$ uv pip install -e '.[dev]'\nResolved 9\nPrepared 9\n"
        )
        npm = {"commands": ["npm ci"], "folder": "web"}
        await write_log(
            served.home,
            "made",
            [
                build(status="building", **npm),
                build(status="failed", folder="web", text="node is missing\nLast lines of the output:"),
                build(status="building", commands=["npm ci"]),
                ("run.finished", {"status": "cancelled", "reason": "cancelled by the user"}),
            ],
        )
        failed = page.tab.get_by_label("Building the environment of web")
        await expect(failed).to_contain_text("node is missing")
        await expect(failed.get_by_text("failed", exact=True)).to_be_attached()
        last = page.tab.get_by_label("Building the environment", exact=True).last
        await expect(last.get_by_text("stopped", exact=True)).to_be_attached()
        await expect(page.tab.get_by_label("Building the environment")).to_have_count(3)


async def test_a_tool_is_asked_for_with_its_command_and_never_as_raw_json(
    browser: Browser, served: Served
) -> None:
    await write_log(served.home, "tools", [STARTED, asked("i1", PUSH), asked("i2", PUSH), WAITING])
    async with open_page(browser, served.url) as page:
        await page.tab.goto("/#tools")
        box = box_of(page, "run git_push?")
        await box.wait_for()
        assert await box.locator("code").all_inner_texts() == ["git push -- origin"]
        assert "{" not in await box.inner_text() and "Show it" in await box.inner_text()
        assert await box.locator(".added").all_inner_texts() == ["+new"]
        await expect(box).to_contain_text("The lock is renewed, with network: uv lock")
        scoped = await answer(page, box, "Also later in this repository")
        assert scoped == {"decision": "approve", "scope": "repository"}
        await box.get_by_text("Change its parameters").click()
        await box.get_by_label("branch").fill("autocode/b")
        await expect(box.get_by_role("button", name="Also later")).to_have_count(0)
        edited = await answer(page, box, "Approve with my changes")
        assert edited == {"decision": "edit", "params": {"branch": "autocode/b"}}
        await box.get_by_label("Reason for rejecting").fill("not there")
        assert await answer(page, box, "Reject") == {"decision": "reject", "reason": "not there"}
        hidden = PUSH | {"command": "python -c '\u202etnirp\u202c' \u200b\x1b[2J", "params": {}}
        uncertain = PUSH | {"uncertain": True, "reason": "this may have happened already", "params": {}}
        step = {"id": "s1", "agent": "tool", "description": "Tidy up", "group": 0}
        plan = {
            "explanation": "",
            "steps": [step | {"tool_name": "rm_rf", "tool_params": {"paths": ["docs"]}}],
        }
        output = {"tool": "git_push", "stdout": "pushed\n", "stderr": "", "returncode": 0}
        more = [
            ("plan", {"plan": plan}),
            ("node.started", {}, "tool", "s1"),
            ("tool.result", output, "tool", "s1"),
            resolved("i1"),
            resolved("i2", "reject"),
            asked("i3", uncertain),
            asked("i4", hidden),
        ]
        await write_log(served.home, "tools", more)
        await expect(page.tab.get_by_role("region", name="Waiting for you:")).to_have_count(2)
        await expect(box).to_contain_text("this may have happened already")
        await expect(box_of(page, "run git_push?")).to_contain_text("this may have happened already")
        buttons = await box_of(page, "run git_push?").get_by_role("button").all_inner_texts()
        assert [name for name in buttons if name.strip()] == ["Approve", "Reject"]
        await expect(page.tab.locator("code").get_by_text("U+202E")).to_have_text(
            "python -c '<U+202E>tnirp<U+202C>' <U+200B><U+001B>[2J"
        )
        await page.wait_for('rm_rf paths=["docs"]')
        await expect(page.tab.get_by_label("Tidy up")).to_contain_text("pushed")


async def test_a_step_that_waits_is_one_card_until_it_ends_and_a_failed_one_says_so(
    browser: Browser, served: Served
) -> None:
    step = {"agent": "tool", "group": 0, "tool_name": "git_push", "tool_params": {}}
    steps = [step | {"id": "s1", "description": "Show it"}, step | {"id": "s2", "description": "Share it"}]
    output = {"tool": "git_push", "stdout": "", "stderr": "refused: no\n", "returncode": 1}
    starts: list[Any] = [("node.started", {}, "tool", id) for id in ("s1", "s2")]
    plan = ("plan", {"plan": {"explanation": "", "steps": steps}})
    asks = [(*asked("i1", PUSH), "tool", "s1"), (*asked("i2", PUSH), "tool", "s2")]
    await write_log(served.home, "waits", [STARTED, plan, *starts, *asks, WAITING])
    async with open_page(browser, served.url) as page:
        await page.tab.goto("/#waits")
        cards = page.tab.locator("section.work")
        for name in ("Show it", "Share it"):
            await expect(page.tab.get_by_label(name, exact=True).get_by_text("waiting")).to_be_attached()
        ends = [
            resolved("i1"),
            STARTED,
            *starts,
            ("tool.result", output | {"stderr": "", "returncode": 0}, "tool", "s1"),
            ("node.finished", {"seconds": 0.1}, "tool", "s1"),
            resolved("i2", "reject"),
            starts[1],
            ("tool.result", output, "tool", "s2"),
            ("node.finished", {"seconds": 0.1}, "tool", "s2"),
            ("error", {"kind": "step", "message": "step s2 failed: refused: no"}, "merge", "s2"),
            ("run.finished", {"status": "unverified", "reason": "step s2 failed: refused: no"}),
        ]
        await write_log(served.home, "waits", ends)
        failed = page.tab.get_by_label("Share it", exact=True)
        await expect(failed.get_by_text("failed", exact=True)).to_be_attached()
        await expect(page.tab.get_by_label("Show it", exact=True).get_by_text("done")).to_be_attached()
        await expect(cards).to_have_count(2)
        await expect(page.tab.get_by_text("Running")).to_have_count(0)


async def test_a_note_names_its_readers_and_an_edited_plan_is_shown_as_it_runs(
    browser: Browser, served: Served
) -> None:
    edited = PLAN | {"steps": [PLAN["steps"][0] | {"description": "My way"}]}  # type: ignore[operator]
    events = [
        STARTED,
        ("plan", {"plan": PLAN}),
        ("plan", {"plan": edited, "by": "user"}),
        ("node.started", {}, "coder", "s1"),
        ("message", {"role": "user", "text": "Mind the types"}),
    ]
    await write_log(served.home, "steered", events)
    async with open_page(browser, served.url) as page:
        await page.tab.goto("/#steered")
        plan = page.tab.get_by_role("region", name="Plan", exact=True)
        await expect(plan).to_contain_text("Plan, as you changed it")
        await expect(plan).to_contain_text("My way")
        await page.wait_for("No agent has read it yet")
        await write_log(served.home, "steered", [("note.read", {"notes": [5]}, "coder", "s1")])
        await page.wait_for("Read: My way")
        await expect(page.tab.get_by_text("No agent has read it yet")).to_have_count(0)


EVIL = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"


async def test_no_text_of_a_model_a_repository_or_a_user_becomes_markup(
    browser: Browser, served: Served, repo: GitRepo
) -> None:
    repo.git("checkout", "-q", "-b", "autocode/evil")
    repo.commit({f"{EVIL.replace('/', '')}.py": f"x = {EVIL!r}\n", "a.md": f"{EVIL}\n[a](javascript:hack)\n"})
    plan = {"explanation": EVIL, "steps": [{"id": "s1", "agent": "coder", "description": EVIL, "group": 0}]}
    call = {"name": EVIL, "arguments": {"command": EVIL}, "seconds": 1, "bytes": 1, "summary": EVIL}
    check = {"green": False, "passed": 0, "failed": 1, "problems": [EVIL], "tree": "t"}
    case = {"id": EVIL, "base": "failed", "head": "failed", "new": True}
    summary = {
        "headline": EVIL,
        "weaknesses": [EVIL],
        "advice": EVIL,
        "words": f"{EVIL}\n\n[go](javascript:hack)\n\n{'a.*' * 20_000}\n\n*the end*",
    }
    usage = {"agent": EVIL, "model": EVIL, "calls": 1, "input_tokens": 1, "output_tokens": 1}
    usage |= {"seconds": 1, "cost_usd": None}
    events = [
        ("run.started", {"task": EVIL, "repo": str(repo.path), "model": EVIL}),
        ("plan", {"plan": plan}),
        ("node.started", {}, "coder", "s1"),
        ("token", {"text": EVIL}, "coder", "s1"),
        ("tool.call", call, "coder", "s1"),
        ("error", {"message": EVIL, "kind": "failure"}, "coder", "s1"),
        ("check", check | {"cases": [case]}, "sandbox"),
        ("verdict", {"verdict": "FAIL", "reasons": [EVIL], "tree": "t"}, "critic"),
        ("message", {"role": "user", "text": EVIL}),
        asked("i1", {"kind": EVIL, "x": EVIL}),
        resolved("i1", EVIL),
        (
            "run.finished",
            {
                "status": "unverified",
                "branch": "autocode/evil",
                "missing": [EVIL],
                "summary": summary,
                "usage": [usage],
            },
        ),
    ]
    await write_log(served.home, "evil", events, repo=str(repo.path), task=EVIL)
    async with open_page(browser, served.url, viewport={"width": 1440, "height": 900}) as page:
        await page.tab.goto("/#evil")
        await page.tab.get_by_label("a.md", exact=True).wait_for()
        for name in ("Tests", "Proof", "Cost", "Log", "Changes"):
            await page.tab.get_by_role("tab", name=name).click()
            await page.tab.wait_for_timeout(150)
        assert EVIL in await page.tab.locator("main").inner_text()
        # The paragraph before would keep marked busy for minutes.
        assert await page.tab.locator("em").get_by_text("the end").count() == 1
        await page.tab.goto("/")
        await page.tab.get_by_role("link").get_by_text(EVIL).first.wait_for()
        assert await page.tab.evaluate("window.hacked") is None
        assert await page.tab.locator("img[src=x], [onerror], a[href^='javascript:']").count() == 0
