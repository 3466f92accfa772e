import io
import re
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console
from story import PLAN, PROOF, USAGE, Story, verified, waiting

from nodes.events import Event
from nodes.state import Options
from server.cli.views.format import (
    first_line,
    format_change,
    format_duration,
    format_price,
    one_line,
    pluralize,
    sanitize,
    timestamp,
)
from server.cli.views.plain_output import JsonLines, PlainLines
from server.cli.views.run_view import RunView
from server.cli.views.summary import print_summary, render_diff
from server.cli.views.terminal import Terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x1b[1;1H[bold red]Verified[/] [link=http://evil]x[/link]\u202etxt.exe\r\x9b31m"
)


def terminal(width: int = 80, height: int = 24, **options: object) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    settings = {"force_terminal": True, "width": width, "height": height, "markup": False, **options}
    return Console(file=file, highlight=False, emoji=False, legacy_windows=False, **settings), file  # type: ignore[arg-type]


def frame(
    events: Iterable[Event], width: int = 80, height: int = 24, options: Options | None = None
) -> list[str]:
    """Return the lines of the redrawn part of the screen after these events."""
    console, _ = terminal(width, height)
    view = Terminal(console, RunView(), options)
    for event in events:
        view.show(event)
    with console.capture() as drawn:
        console.print(view.frame)
    return [said.rstrip() for said in ESCAPES.sub("", drawn.get()).splitlines()]


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows after this output, cursor moves and erasures obeyed."""
    rows, at = [""], 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", written):
        if piece == "\n":
            at += 1
            rows += [""] * (at == len(rows))
        elif piece.endswith("A") and piece.startswith("\x1b"):
            at -= int(piece[2:-1] or 1)
        elif piece == "\x1b[2K":
            rows[at] = ""
        elif piece[0] not in "\x1b\r":
            rows[at] += piece
    return [row.rstrip() for row in rows]


def printed(events: Iterable[Event], width: int = 80) -> list[str]:
    """Return the lines that stay on the screen after these events."""
    console, file = terminal(width)
    with Terminal(console, RunView()) as view:
        for event in events:
            view.show(event)
    return screen(file.getvalue())


def lines(events: Iterable[Event]) -> list[str]:
    said: list[str] = []
    view = PlainLines(said.append, said.append, RunView())
    for event in events:
        view.show(event)
    return said


def ended(events: Iterable[Event], width: int = 80) -> str:
    console, file = terminal(width, color_system=None)
    print_summary(console, RunView.from_events(events))
    return ESCAPES.sub("", file.getvalue())


def test_a_plan_has_a_line_a_step_and_a_bracket_around_what_runs_at_once() -> None:
    story = Story()
    drawn = frame([story.begin(), *story.plan(), *story.stream({"s1": "one", "s2": "two"})])
    steps = [said for said in drawn if "coder" in said]
    assert len(steps) == 3
    assert "┌ coder    Add parse_duration()" in steps[0]
    assert "└ coder    Document --timeout" in steps[1]
    assert steps[2].startswith("·   coder")


def test_a_command_that_runs_several_times_is_written_once() -> None:
    story = Story()
    command = ["python", "-m", "pytest"]
    runs = [
        story.event("sandbox.started", node, what=what, backend="bubblewrap", command=command)
        for node, what in (("tryout", "the base"), ("sandbox", "the change"), ("sandbox", "mutant 1 of 1"))
    ]
    said = [line.split("] ")[1] for line in lines([story.begin(), *runs])]
    assert said[1:] == [
        "sandbox   the base (bubblewrap): python -m pytest",
        "sandbox   the change (bubblewrap)",
        "sandbox   mutant 1 of 1 (bubblewrap)",
    ]


def test_what_parallel_steps_stream_stays_with_its_step() -> None:
    story = Story()
    drawn = frame([story.begin(), *story.plan(), *story.stream({"s1": "alpha beta", "s2": "gamma delta"})])
    at = {said.strip(): number for number, said in enumerate(drawn)}
    first_step = next(number for number, said in enumerate(drawn) if "┌" in said)
    second_step = next(number for number, said in enumerate(drawn) if "└" in said)
    assert first_step < at["│ alpha beta"] < second_step < at["│ gamma delta"]


def test_only_the_last_two_lines_of_a_stream_are_shown() -> None:
    story = Story()
    drawn = frame([story.begin(), *story.plan(), *story.stream({"s1": "one\ntwo\nthree\nfour"})])
    assert [said.strip() for said in drawn if "│ " in said] == ["│ three", "│ four"]


def test_a_plan_longer_than_the_screen_keeps_what_is_at_work_in_sight() -> None:
    story = Story()
    steps = [
        {"id": f"s{n}", "agent": "coder", "description": f"step {n}", "group": n // 20} for n in range(40)
    ]
    begun = [story.begin(), story.event("plan", "planner", plan={"explanation": "", "steps": steps})]
    drawn = frame([*begun, *story.stream({"s35": "here"})], height=12)
    assert len(drawn) <= 12
    assert any("step 35" in said for said in drawn)
    assert any("more steps" in said for said in drawn)


def test_budget_and_retries_are_in_sight() -> None:
    story = Story()
    retry = story.event("retry", "planner", reason="429 Too Many Requests", attempt=2, wait_seconds=4.0)
    drawn = frame(
        [story.begin(), retry, story.budget(4120, 0.0312)], options=Options(max_cost_usd=0.5, max_tokens=9000)
    )
    sums = drawn[-1]
    assert "4,120 of 9,000 tokens" in sums
    assert "$0.0312 of $0.50" in sums
    assert "1 retry" in sums
    assert any("retry 2: 429 Too Many Requests, again in 4s" in said for said in drawn)


def recall(story: Story, step: str | None = None, **index: Any) -> Event:
    """Make an event with two places of one file and an earlier task."""
    state = {"engine": "text and vectors", "embedded": 0.4, "note": "", "ready": True, **index}
    known = [{"id": "a1", "task": "Let --delay take durations", "similarity": 0.7}]
    node, files = "dispatch" if step else "recall", ["src/cli.py", "src/cli.py"]
    return story.event("recall", node, step, files=files, episodes=[] if step else known, index=state)


def test_what_was_recalled_is_a_line_and_says_how_far_the_index_was() -> None:
    story = Story()
    begun, done = story.event("node.started", "recall"), story.event("node.finished", "recall", seconds=0.1)
    step = recall(story, "s1", embedded=1.0, note="by words")
    events = [story.begin(), begun, recall(story), done, *story.plan(), step]
    assert any(
        "recall   2 places in 1 file and 1 earlier task (index 40%)" in said for said in printed(events)
    )
    lines = list[str]()
    view = PlainLines(lines.append, lines.append, RunView())
    for event in events:
        view.show(event)
    assert any("recall    2 places in 1 file and 1 earlier task (index 40%)" in said for said in lines)
    assert any("recall    s1: 2 places in 1 file: by words" in said for said in lines)
    nothing = story.event(
        "recall", "recall", files=[], episodes=[],
        index={"engine": "text", "embedded": 0.0, "note": "", "ready": True},
    )  # fmt: skip
    view.show(nothing)
    assert lines[-1].endswith("recall    nothing (full text only)")
    assert not any("recall" in said for said in printed([story.begin(), begun, nothing, done]))


def test_a_price_that_is_unknown_is_not_zero() -> None:
    story = Story()
    spent: dict[str, Any] = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cost_usd": None,
        "total_tokens": 2,
        "total_cost_usd": 0.0,
    }
    unpriced = story.event("budget", "coder", agent="coder", model="own", unpriced=True, **spent)
    assert "price unknown" in frame([story.begin(), unpriced])[-1]


def test_a_run_leaves_a_line_for_everything_that_happened_in_its_order() -> None:
    left = printed(verified())
    signs = [said[0] for said in left if said.startswith(("✓", "✗"))]
    agents = [said.split()[2 if said[2] in "┌└" else 1] for said in left if said.startswith(("✓", "✗"))]
    assert " ".join(agents) == "planner coder coder coder tester sandbox debugger sandbox critic commit"
    assert "".join(signs) == "✓✓✓✓✓✗✓✓✓✓"
    assert any("tests.test_durations::test_nonsense_raises" in said for said in left)
    assert any("README.md: hunk 1: offset +12" in said for said in left)


def test_the_steps_of_a_refused_plan_are_no_longer_shown() -> None:
    story = Story()
    asked = story.event("approval.required", "approval", id="i", request={"kind": "plan", "plan": PLAN})
    log = [story.begin(), *story.plan(), asked]
    assert "Add parse_duration()" in "\n".join(frame(log))
    refused = story.event("approval.resolved", id="i", decision="reject", reason="smaller")
    drawn = "\n".join(frame([*log, refused]))
    assert "smaller" in drawn and "Add parse_duration()" not in drawn


def test_the_clock_of_a_run_that_is_resumed_leaves_out_the_time_between() -> None:
    story = Story()
    view = Terminal(terminal()[0], RunView())
    for event in [story.begin(), story.end("waiting")]:
        view.show(event)
    worked = view.run.now - view.run.started
    view.tick(view.run.now + 500)
    view.show(story.event("run.started", wait=501, task="x", repo="/srv/shop", resumed=True))
    assert view.run.now - view.run.started == pytest.approx(worked)


def test_nothing_of_a_run_is_printed_twice_when_it_waited_in_between() -> None:
    console, file = terminal()
    story, progress = Story(), RunView()
    view = Terminal(console, progress)
    with view:
        for event in [
            story.begin(),
            *story.plan(),
            story.event("approval.required", "approval", id="i", request={"kind": "plan"}),
        ]:
            view.show(event)
        view.show(story.end("waiting"))
    with view:
        view.show(story.begin(resumed=True))
        view.show(story.event("approval.resolved", id="i", decision="approve"))
        for event in [
            *story.node("approval", 0.0),
            *story.stream({"s1": "x"}),
            *story.edit("coder", "s1", "a.py", 1, 0),
        ]:
            view.show(event)
    left = "\n".join(screen(file.getvalue()))
    assert left.count("planner") == 1
    assert left.count("Add parse_duration()") == 1
    assert "approved" in left


def test_a_step_that_failed_is_never_shown_as_done() -> None:
    story = Story()
    failed = story.event("error", "coder", "s1", message="step s1 failed: no usable reply", kind="step")
    started = story.event("node.started", "coder", "s1")
    over = story.event("node.finished", "coder", "s1", seconds=2.0)
    row = next(
        said
        for said in printed([story.begin(), *story.plan(), started, failed, over])
        if "parse_duration" in said
    )
    assert row.startswith("✗")


def test_a_step_done_again_gets_a_line_of_its_own() -> None:
    story = Story()
    once = [*story.stream({"s1": "x"}), *story.edit("coder", "s1", "a.py", 1, 0)]
    again = [*story.stream({"s1": "y"}), *story.edit("coder", "s1", "a.py", 2, 0)]
    rows = [
        said
        for said in printed([story.begin(), *story.plan(), *once, *again], 140)
        if "parse_duration" in said
    ]
    assert len(rows) == 2
    assert "(again)" in rows[1]


def test_a_stopped_run_goes_on_where_it_stopped() -> None:
    story = Story()
    progress = RunView.from_events(
        [story.begin(), *story.plan(), *story.stream({"s1": "x"}), story.end("cancelled")]
    )
    assert [row.state for row in progress.rows] == ["done", "stopped", "planned", "planned"]
    progress.apply(story.begin(resumed=True))
    assert [row.state for row in progress.rows] == ["done", "planned", "planned", "planned"]
    assert progress.finished is None


@pytest.mark.parametrize("width", [20, 40, 80, 140])
def test_every_width_is_kept(width: int) -> None:
    left = printed(verified(), width)
    assert max(len(said) for said in left) <= width


def test_plain_lines_tell_the_run_without_colour_or_tokens() -> None:
    said = lines(verified())
    text = "\n".join(said)
    assert "\x1b" not in text
    assert all(re.match(r"\[ *[\d.:]+s?\] ", one) for one in said)
    assert "plan      3 steps" in text
    assert "check     RED: 3 passed, 1 failed" in text
    assert "test_nonsense_raises" in text
    assert "check     green: 4 passed" in text
    assert "retry     coder (gpt-4o), attempt 1: 429 Too Many Requests" in text
    assert "critic    PASS" in text
    assert said[-1].endswith("run       verified")
    assert "def parse_duration" not in text


def test_waiting_is_said_loudly_in_plain_lines() -> None:
    assert any("WAITING   for your approval of a plan: i-1" in said for said in lines(waiting()))


def test_json_lines_are_the_events_themselves() -> None:
    from nodes.events import EVENT

    said: list[str] = []
    events = [*verified(), Story().event("error", message="\x1b[2J\x9b2J\u202e", kind="error")]
    view = JsonLines(said.append, said.append, RunView())
    for event in events:
        view.show(event)
    assert [EVENT.validate_json(one) for one in said] == events
    assert all(one.isprintable() for one in said)


def test_text_from_models_and_repositories_can_neither_steer_the_terminal_nor_mark_up() -> None:
    story = Story()
    plan = {
        "explanation": HOSTILE,
        "steps": [{"id": "s1", "agent": HOSTILE, "description": HOSTILE, "group": 0}],
    }
    events = [
        story.event("run.started", task=HOSTILE, repo=HOSTILE),
        story.event("plan", "planner", plan=plan),
        *story.stream({"s1": HOSTILE}),
        story.event("retry", "coder", "s1", reason=HOSTILE, attempt=1, model=HOSTILE),
        *story.edit("coder", "s1", HOSTILE, 1, 1, HOSTILE),
        story.event("sandbox.started", "sandbox", what=HOSTILE, backend="docker", command=[HOSTILE]),
        story.event("sandbox.output", "sandbox", text=HOSTILE),
        story.event(
            "check",
            "sandbox",
            green=False,
            passed=0,
            failed=1,
            cases=[{"id": HOSTILE, "head": "failed"}],
            tree="",
        ),
        story.event("verdict", "critic", verdict="FAIL", reasons=[HOSTILE], tree=""),
        story.event("error", "coder", "s1", message=HOSTILE, kind="step"),
        story.end(
            "unverified",
            reason=HOSTILE,
            missing=[HOSTILE],
            proof={**PROOF, "problems": [HOSTILE], "command": [HOSTILE]},
        ),
    ]
    console, file = terminal(140, color_system=None)
    with Terminal(console, RunView()) as view:
        for event in events:
            view.show(event)
            view.tick(0)
    print_summary(console, view.run)
    console.print(render_diff(f"--- a/x\n+++ b/x\n@@ -1 +1 @@\n+{HOSTILE}\n", "t"))
    ours = re.compile(r"\x1b\[(\?25[lh]|\d*A|2K|1A|\d*[mG])|\r(?=\x1b\[2K|\x1b\[1A|\Z|\x1b\[\?25)|(?<=\n)\r")
    shown = ours.sub("", file.getvalue())
    everything = shown + "\n".join(lines(events))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", everything)
    assert "[bold red]Verified[/]" in everything


def test_the_end_names_the_proof_the_cost_and_the_commands_to_go_on_with() -> None:
    text = ended(verified())
    assert "Verified  autocode/7f3a12  4 of 4 passed" in text
    assert "python -m pytest" in text
    assert "exit code 0" in text
    assert text.index("test_hours_and_minutes") < text.index("fails without the change, passes with it")
    assert "VACUOUS" in text
    assert "over $0.0141" in text
    assert re.search(r"coder +deepseek/deepseek-chat +3 +4,500 +1,260", text)
    for command in ("git merge autocode/7f3a12", "autocode apply 7f3a12", "autocode show 7f3a12"):
        assert command in text


def test_tokens_from_a_providers_cache_have_a_column_of_their_own() -> None:
    story = Story()
    usage = [each | {"cached_tokens": 3_000} for each in USAGE]
    text = ended([story.begin(), story.end(proof=PROOF, branch="b", usage=usage)])
    assert "cached" in text and re.search(r"coder .*4,500 +3,000 +1,260", text)
    assert "cached" not in ended(verified())


def test_weaknesses_of_a_proof_are_loud() -> None:
    story = Story()
    weak = {
        **PROOF,
        "contradicted": ["t::a"],
        "sensitive": ["conftest.py"],
        "baseline": "unknown",
        "scope": "affected",
    }
    text = ended([story.begin(), story.end(proof=weak, branch="b", usage=USAGE)])
    for word in ("VACUOUS", "CONTRADICTED", "SENSITIVE", "BASELINE", "conftest.py"):
        assert word in text


def test_a_summary_leads_with_suspicions_and_never_hides_a_module() -> None:
    story = Story()
    weak = {
        **PROOF,
        "suspicious": [{"file": "conftest.py", "line": 3, "text": HOSTILE, "answer": HOSTILE}],
        "uncollected": [{"file": "tests/test_app.py", "reason": "No module named 'flask'"}],
        "unguarded": [{"file": "a.py", "first": 4, "last": 4, "mutant": "f() returns nothing"}],
        "strength": {"killed": 9, "tried": 10},
    }
    text = ended([story.begin(), story.end(proof=weak, branch="b", usage=USAGE)], 200)
    assert "Verified, with 1 suspicion  b  4 of 4 passed, 1 module not imported" in text
    assert text.index("SUSPICIOUS") < text.index("NOT IMPORTED") < text.index("next") < text.index("command")
    assert "conftest.py:3: " in text and "[bold red]Verified[/]" in text and "\x1b]0" not in text
    assert "a.py 4: no test notices when f() returns nothing" in text
    assert "9 of 10 mutants of the change noticed" in text
    assert text.index("autocode diff") < text.index("git merge")


def test_a_failure_is_told_once_and_the_cause_comes_first() -> None:
    story = Story()
    red = {**PROOF, "green": False, "problems": ["1 case failed: t::a"], "not_the_change": "no network"}
    missing = ["1 case failed: t::a", "the debugger says that this is not the change's fault: no network"]
    text = ended([story.begin(), story.end("unverified", reason=missing[0], missing=missing, proof=red)], 200)
    assert text.count("1 case failed: t::a") == 1 and text.count("no network") == 1
    assert text.index("1 case failed") < text.index("no network") < text.index("next") < text.index("command")


def test_a_suite_without_cases_shows_its_exit_code() -> None:
    story = Story()
    proof = {**PROOF, "grade": "exit code", "command": ["make", "test"], "cases": [], "vacuous": []}
    check: dict[str, Any] = {
        "green": True,
        "passed": 0,
        "failed": 0,
        "cases": [],
        "tree": "",
        "grade": "exit code",
    }
    told = story.event("check", "sandbox", command=["make", "test"], exit_code=0, **check)
    begin, end = story.begin(), story.end(proof=proof, branch="b")
    text = ended([begin, told, end]) + "\n".join(lines([begin, told, end]))
    assert "Verified  b  exit code 0" in text and "make test ended with exit code 0" in text
    assert "0 passed" not in text and "0 of 0" not in text


def test_a_result_without_proof_says_so_and_offers_no_merge() -> None:
    story = Story()
    missing = ["the critic: it breaks Windows"]
    text = ended(
        [story.begin(), story.end("unverified", branch="autocode/7f3a12-unverified", missing=missing)]
    )
    assert "NOT verified  autocode/7f3a12-unverified" in text
    assert "it breaks Windows" in text and 'autocode run "…" --thread' in text
    assert "git merge" not in text
    assert "autocode diff 7f3a12" in text


@pytest.mark.parametrize(
    ("status", "missing", "offered"),
    [
        ("cancelled", [], True),
        ("cancelled", ["refused"], False),
        ("failed", [], True),
        ("budget", ["spent"], True),
    ],
)
def test_a_run_that_can_go_on_says_how(status: str, missing: list[str], offered: bool) -> None:
    story = Story()
    text = ended([story.begin(), story.end(status, missing=missing)])
    assert ("autocode resume 7f3a12" in text) is offered


def test_a_long_diff_is_cut_and_says_where_the_rest_is() -> None:
    console, file = terminal(color_system=None)
    console.print(render_diff("\n".join(f"+{n}" for n in range(1000)), "autocode diff abc"))
    assert "+299" in file.getvalue()
    assert "700 more lines: autocode diff abc" in file.getvalue()


@pytest.mark.parametrize(
    ("formatted", "expected"),
    [
        (format_duration(-1), "0.0s"),
        (format_duration(0.04), "0.0s"),
        (format_duration(59.94), "59.9s"),
        (format_duration(60), "1:00"),
        (format_duration(65), "1:05"),
        (format_duration(3723), "1:02:03"),
        (format_price(0), "$0.00"),
        (format_price(0.5), "$0.50"),
        (format_price(0.0012), "$0.0012"),
        (format_price(3.456), "$3.46"),
        (format_price(None), "unknown"),
        (pluralize(0, "step"), "0 steps"),
        (pluralize(1, "step"), "1 step"),
        (pluralize(1200, "step"), "1,200 steps"),
        (pluralize(2, "retry", "retries"), "2 retries"),
        (format_change(12, 3), "+12 -3"),
        (first_line("\n\n  hello\tthere \nmore"), "hello there"),
        (first_line("x" * 200, 10), "x" * 9 + "…"),
        (first_line(" \n\t"), ""),
        (one_line("a\r\nb\x1b[31mc"), "a bc"),
        (sanitize("kept\tand\nkept"), "kept\tand\nkept"),
        (sanitize("\x1b]8;;http://x\x07y"), "␛]8;;http://x␇y"),
        (sanitize("a\u202eb\u200b"), "a<U+202E>b<U+200B>"),
        (sanitize("\x7f\x9b"), "\u2421<U+009B>"),
        (timestamp("1970-01-01T00:01:00.500Z"), 60.5),
    ],
)
def test_values_read_well(formatted: object, expected: object) -> None:
    assert formatted == expected


def test_plain_lines_tell_the_whole_plan() -> None:
    story = Story()
    said = [one for one in lines([story.begin(), *story.plan()]) if "group" in one]
    assert [step["description"] in one for step, one in zip(PLAN["steps"], said, strict=True)] == [True] * 3
