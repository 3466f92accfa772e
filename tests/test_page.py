"""The page in a real browser, on a real server: its main paths, its states, and its manners."""

import json
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from browser import OpenPage, open_browser, open_page, write_log
from desk import Desk
from gitrepo import GitRepo
from playwright.async_api import Browser, expect
from served import ForkedServer, Served
from test_protocol_js import HERE, packages

__all__ = ["packages"]

pytestmark = pytest.mark.asyncio(loop_scope="module")
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A browser for all tests of the module. Each has a tab of its own."""
    async with open_browser() as opened:
        yield opened


async def faults_of(page: OpenPage) -> list[str]:
    """Serious findings of axe, each with its first place."""
    await page.tab.evaluate((HERE / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = await page.tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {fault['nodes'][0]['html']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.usefixtures("packages")
async def test_a_task_goes_from_the_form_over_an_edited_plan_to_an_applied_result(
    browser: Browser, served: Served, repo: GitRepo
) -> None:
    async with open_page(browser, served.url, viewport=WIDE) as page:
        tab = page.tab
        await tab.goto("/")
        assert await faults_of(page) == []
        await tab.get_by_role("button", name="Repository:").click()
        await tab.get_by_role("combobox", name="Repository").fill(str(repo.path))
        await tab.get_by_role("option", name=repo.path.name).first.wait_for()
        await tab.keyboard.press("Enter")
        await page.wait_for("Explain how calc.py works")  # an example that suits the repository
        await page.press("Files")
        await tab.get_by_role("combobox").fill("calc")
        await tab.get_by_role("option", name="calc.py", exact=True).click()
        await tab.keyboard.press("Escape")
        await tab.get_by_label("Task", exact=True).fill("Add mul to calc.py")
        await tab.get_by_label("Show me the plan first").check()
        await tab.get_by_label("Task", exact=True).press("Control+Enter")

        await page.wait_for("Waiting for you: approve this plan?")
        assert page.sent[0]["context_files"] == ["calc.py"] and page.sent[0]["repo"] == str(repo.path)
        await expect(tab).to_have_title(re.compile(r"^\(!\) Needs you · Add mul to calc\.py"))
        assert await faults_of(page) == []
        step = tab.get_by_label("Description of step 1")
        await step.fill("Add mul to calc.py, my way")
        await tab.reload()
        await expect(step).to_have_value("Add mul to calc.py, my way")  # nothing that is typed is lost
        await page.press("Add a step")
        await page.press("Approve with my changes")
        await page.wait_for("Step 2 needs a description.")
        await page.press("Remove step 2")
        await page.press("Approve with my changes")
        await page.wait_for("You changed the plan")
        (answer,) = page.sent[-1]["answers"].values()
        assert answer["decision"] == "edit" and len(page.sent) == 2
        assert [planned["description"] for planned in answer["plan"]["steps"]] == [
            "Add mul to calc.py, my way"
        ]

        result = tab.get_by_role("region", name="Result").first
        await expect(result.get_by_role("heading", name="Verified")).to_be_visible(timeout=60_000)
        assert await tab.evaluate("document.documentElement.scrollHeight") == WIDE["height"]
        await expect(result).to_contain_text("1 test fails without the change and passes with it")
        await expect(tab.get_by_role("region", name="calc.py", exact=True)).to_contain_text("def mul(a, b):")
        assert await faults_of(page) == []
        for name in ("Cost", "Proof", "Log", "Tests", "Changes"):
            await tab.get_by_role("tab", name=name).click()
            assert await faults_of(page) == []
            if name == "Tests":
                await expect(tab.get_by_role("tabpanel")).to_contain_text("proves the change")
                assert tab.url.endswith("/tests")
        await page.press("Choose what to apply")
        await tab.get_by_label("Apply tests/test_mul.py").uncheck()
        await page.press("Apply selected (1 of 2)")
        await page.wait_for("Applied 1 file to your checkout: calc.py")
        assert "def mul" in (repo.path / "calc.py").read_text()
        assert not (repo.path / "tests" / "test_mul.py").exists()
        await page.press("Apply selected (1 of 1)")
        await page.wait_for("Nothing is left to apply.")
        assert (repo.path / "tests" / "test_mul.py").exists()
        await expect(result.get_by_text("Applied", exact=True)).to_be_visible()
        for path in ("tests/test_mul.py", "calc.py"):
            await page.press("Undo")
            await page.wait_for(f"Took back 1 file: {path}.")
        assert "def mul" not in (repo.path / "calc.py").read_text()
        await page.press("Apply")
        await page.wait_for("Applied 2 files to your checkout")
        await expect(result.get_by_role("button", name="Apply", exact=True)).to_have_count(0)
        await tab.get_by_label("Follow up").fill("What does add return?")
        await tab.get_by_label("Follow up").press("Control+Enter")
        await page.wait_for("The sum.")
        await expect(tab.get_by_text("Worked for")).to_have_count(2)
        await page.press("More")
        await page.press("Fork from here")
        await page.wait_for("This thread has no task of its own yet.")
        await expect(tab.get_by_role("heading", level=1)).to_have_text("Fork of Add mul to calc.py")


LINES = [f"line {number}\n" for number in range(1, 81)]


@pytest.mark.usefixtures("packages")
async def test_hunks_are_chosen_applied_and_taken_back_and_unchanged_lines_are_opened(
    browser: Browser, served: Served, repo: GitRepo
) -> None:
    repo.commit({"long.txt": "".join(LINES)})
    repo.git("checkout", "-q", "-b", "autocode/parts-unverified")
    changed = [*LINES]
    changed[4], changed[69] = "line five\n", "line seventy\n"
    repo.commit({"long.txt": "".join(changed), "new.txt": "new\n"})
    repo.git("checkout", "-q", "main")
    end = {"status": "unverified", "branch": "autocode/parts-unverified", "missing": ["nothing was checked"]}
    events = [("run.started", {"task": "Name two lines", "repo": str(repo.path)}), ("run.finished", end)]
    await write_log(served.home, "parts", events, repo=str(repo.path))
    file = repo.path / "long.txt"
    async with open_page(browser, served.url, viewport=WIDE) as page:
        tab = page.tab
        await tab.goto("/#parts")
        await expect(tab.get_by_role("button", name="Push…")).to_be_visible()
        long = tab.get_by_role("region", name="long.txt", exact=True)
        await expect(long).not_to_contain_text("line 40")
        await long.get_by_role("button", name="Show 30 lines more below").click()
        await expect(long).to_contain_text("line 38")
        await long.get_by_role("button", name="Show 28 lines").click()
        await expect(long).to_contain_text("line 40")
        await long.get_by_role("button", name="Show 7 lines").click()
        await expect(long).to_contain_text("line 80")
        await page.press("Choose what to apply")
        await tab.get_by_label("Apply new.txt").uncheck()
        assert await faults_of(page) == []
        await tab.get_by_label("Apply this hunk, line 67").uncheck()
        await page.press("Apply selected (1 of 3)")
        await page.press("Apply it although it is not verified")
        await page.wait_for("Applied 1 file to your checkout: long.txt")
        assert file.read_text() == "".join([*LINES[:4], "line five\n", *LINES[5:]])
        await expect(tab.get_by_role("button", name="Apply selected (2 of 2)")).to_be_visible()
        file.write_text(file.read_text().replace("line five", "line 5, mine"))
        await page.press("Undo")
        await page.wait_for("nothing was taken back")  # the same line has changed since
        file.write_text(file.read_text().replace("line 5, mine", "line five"))
        await page.press("Undo")
        await page.wait_for("Took back 1 file: long.txt.")
        assert file.read_text() == "".join(LINES)


@pytest.mark.usefixtures("packages")
async def test_a_narrow_window_shows_the_conversation_first_and_the_threads_in_a_drawer(
    browser: Browser, served: Served
) -> None:
    await write_log(served.home, "narrow", FAILED)
    async with open_page(browser, served.url, viewport=NARROW, color_scheme="dark") as page:
        tab = page.tab
        await tab.goto("/#narrow")
        await page.wait_for("the provider did not answer")
        assert await tab.get_by_text("the provider did not answer").count() == 1
        assert await tab.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
        assert not await tab.get_by_role("tab", name="Changes").is_visible()
        assert await faults_of(page) == []
        await page.press("Details")
        assert await tab.get_by_role("tab", name="Changes").is_visible()
        assert not await tab.get_by_label("Timeline").is_visible()
        assert await faults_of(page) == []
        await page.press("Show the threads")
        search = tab.get_by_role("searchbox", name="Search tasks")
        assert await search.is_visible()
        await search.fill("no such task")
        await page.wait_for("No task matches.")
        await tab.keyboard.press("Escape")
        await expect(search).not_to_be_visible()


FAILED = [
    ("run.started", {"task": "Write mul", "repo": "/repo"}),
    ("node.started", {}, "planner"),
    ("token", {"text": "I think"}, "planner"),
    ("node.finished", {"seconds": 1.0, "error": "the provider did not answer"}, "planner"),
    ("run.finished", {"status": "failed", "reason": "the provider did not answer"}),
]


async def test_a_failure_is_said_in_its_place_and_nothing_looks_alive_after_a_stop(
    browser: Browser, served: Served
) -> None:
    running = [FAILED[0], ("node.started", {}, "planner"), ("token", {"text": "I think"}, "planner")]
    await write_log(served.home, "stopped", running)
    async with open_page(browser, served.url, viewport=WIDE) as page:
        tab = page.tab
        await tab.goto("/#stopped")
        await expect(tab.get_by_label("Planning")).to_contain_text("I think")
        end = {"status": "cancelled", "reason": "cancelled by the user"}
        await write_log(served.home, "stopped", [("run.finished", end)])
        await expect(tab.get_by_role("heading", name="Cancelled")).to_be_visible()
        assert await tab.get_by_text("Running").count() == 0
        assert await tab.get_by_text("cancelled by the user").count() == 1
        await expect(tab.get_by_role("button", name="Resume")).to_be_visible()
        refused = {
            "status": "cancelled",
            "reason": "the plan was rejected",
            "missing": ["the plan was rejected"],
        }
        await write_log(served.home, "stopped", [FAILED[0], ("run.finished", refused)])
        await page.wait_for("the plan was rejected")
        assert await tab.get_by_text("the plan was rejected").count() == 1
        # It would only be asked again.
        await expect(tab.get_by_role("button", name="Resume")).not_to_be_visible()
        await tab.goto("/#nobody")
        await page.wait_for("There is no such thread")


async def test_nothing_stands_beside_a_conversation_that_has_changed_no_file(
    browser: Browser, served: Served
) -> None:
    asked = ("run.started", {"task": "Why half?", "repo": "/repo"})
    answer = ("message", {"role": "assistant", "text": "Because."}, "planner")
    await write_log(served.home, "asked", [asked, answer, ("run.finished", {"status": "answered"})])
    async with open_page(browser, served.url, viewport=WIDE) as page:
        tab = page.tab
        await tab.goto("/#asked")
        await page.wait_for("Because.")
        await expect(tab.get_by_role("tablist")).to_have_count(0)
        await page.press("Details")
        await expect(tab.get_by_role("tab", name="Log")).to_have_attribute("aria-selected", "true")
        await page.press("Back to the conversation")
        await expect(tab.get_by_role("tablist")).to_have_count(0)
        edit = (
            "edit",
            {"files": [{"path": "a.py", "added": 1, "removed": 0}], "added": 1, "removed": 0, "snapshot": ""},
        )
        await write_log(served.home, "asked", [FAILED[0], (*edit, "coder"), FAILED[-1]])
        await expect(tab.get_by_role("tab", name="Changes")).to_have_attribute("aria-selected", "true")


async def test_a_red_result_leads_to_the_output_of_the_test_that_fails(
    browser: Browser, served: Served
) -> None:
    proof = {
        "task": "Write mul", "run": "r", "base": "b", "head": "h", "tree": "t", "grade": "tests",
        "backend": "docker", "image": "python", "command": ["pytest"], "exit_code": 1, "green": False,
        "cases": [{"id": "test_mul", "base": "error", "head": "failed", "new": True}],
        "failures": [{"id": "test_mul", "text": "assert -1 == 12"}],
    }  # fmt: skip
    end = {"status": "unverified", "missing": ["1 case failed: test_mul"], "proof": proof}
    await write_log(served.home, "red", [FAILED[0], ("run.finished", end)])
    async with open_page(browser, served.url, viewport=WIDE) as page:
        await page.tab.goto("/#red")
        await page.press("Show the output of 1 failing test")
        await expect(page.tab.get_by_text("assert -1 == 12")).to_be_visible()


async def test_a_thread_is_renamed_filtered_and_deleted_in_the_list_with_the_keyboard(
    browser: Browser, served: Served
) -> None:
    await write_log(served.home, "listed", FAILED)
    async with open_page(browser, served.url, viewport=WIDE) as page:
        tab = page.tab
        await tab.goto("/")
        await tab.keyboard.press("Escape")
        await tab.locator("#main").focus()
        await tab.keyboard.press("/")
        await tab.keyboard.type("listed")
        link = tab.get_by_role("navigation").get_by_role("link")
        await expect(link).to_have_count(1)
        await tab.keyboard.press("ArrowDown")
        await tab.keyboard.press("Enter")
        await tab.get_by_role("heading", name="Failed").wait_for()
        await link.hover()
        await tab.get_by_role("button", name="Rename or delete").click()
        await page.press("Rename")
        await tab.get_by_label("Title of the thread").fill("Multiplication, listed")
        await tab.keyboard.press("Enter")
        await expect(link).to_contain_text("Multiplication, listed")
        await expect(tab.get_by_role("heading", level=1)).to_have_text("Multiplication, listed")
        await link.hover()
        await tab.get_by_role("button", name="Rename or delete").click()
        await page.press("Delete")
        await page.press("Delete the thread")
        await page.wait_for("No task matches.")
        await page.wait_for("Its branches stay in the repository.")
        assert urlsplit(tab.url).fragment == ""


async def test_a_thread_is_forgotten_with_its_branches(
    browser: Browser, served: Served, repo: GitRepo
) -> None:
    with served.client() as client:
        run = client.post("/api/threads", json={"task": "Add mul, to forget", "repo": str(repo.path)}).json()
    async with open_page(browser, served.url, viewport=WIDE) as page:
        tab = page.tab
        await tab.goto(f"/#{run['thread_id']}")
        await expect(tab.get_by_role("heading", name="Verified")).to_be_visible(timeout=60_000)
        assert "autocode/" in repo.git("branch", "--list", "autocode/*")
        await tab.get_by_role("searchbox", name="Search tasks").fill("to forget")
        link = tab.get_by_role("navigation").get_by_role("link")
        await expect(link).to_have_count(1)
        await link.focus()
        await tab.keyboard.press("Delete")
        await page.press("Forget it with its branches")
        await page.wait_for("No task matches.")
        await page.wait_for(f"Forgot “Add mul, to forget” with autocode/{run['thread_id']}.")
        assert not repo.git("branch", "--list", "autocode/*")
        await expect(tab.get_by_role("heading", name="What should be done?")).to_be_visible()


async def test_a_server_that_is_gone_is_said_and_the_page_comes_back_with_it(
    browser: Browser, tmp_path: Path
) -> None:
    with Desk() as desk, ForkedServer(tmp_path, desk) as server:
        await write_log(tmp_path, "t", FAILED[:3])
        async with open_page(browser, server.url, viewport=WIDE) as page:
            tab = page.tab
            await tab.goto("/#t")
            await expect(tab.get_by_label("Planning")).to_contain_text("I think")
            server.end(signal.SIGKILL)
            since = time.monotonic()
            await page.wait_for("The server does not answer.")
            assert time.monotonic() - since < 3
            await write_log(tmp_path, "t", [("token", {"text": ", so I plan"}, "planner")])
            server.environment["AUTOCODE_API_KEY"] = "the-key"
            server.start("--port", str(urlsplit(server.url).port))
            await page.wait_for("This server needs its key.")
            await tab.locator("input[type=password]").fill("the-key")
            await page.press("Use this key")
            await expect(tab.get_by_label("Planning")).to_contain_text("I think, so I plan")
            await expect(tab.get_by_text("The server does not answer.")).not_to_be_visible()
            assert json.dumps("the-key") not in await tab.evaluate("JSON.stringify({...localStorage})")
