"""The Python face: one call runs a task, and tells its events to a function or a coroutine function."""

from runs import MULTIPLY, TESTS, Bench, block, script

from graph import run_task
from nodes.events import Event


async def test_a_task_without_a_repository_gets_one_and_a_coroutine_hears_its_events(bench: Bench) -> None:
    script(bench.desk, coder=block("mul.py", MULTIPLY), tester=TESTS.replace("from calc", "from mul"))
    heard: list[Event] = []

    async def hear(event: Event) -> None:
        heard.append(event)

    outcome = await run_task("Write mul", on_event=hear, settings=bench.settings())
    assert (outcome.status, outcome.branch) == ("verified", f"autocode/{outcome.thread_id}")
    assert (bench.home / "scratch" / outcome.thread_id / ".git").is_dir()
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))


async def test_a_function_hears_the_events_whatever_it_returns(bench: Bench) -> None:
    script(bench.desk)
    heard: dict[int, str] = {}
    outcome = await run_task(
        "Add mul to calc.py",
        bench.repo.path,
        on_event=lambda event: heard.setdefault(event.seq, event.type),
        settings=bench.settings(),
    )
    assert outcome.proof and outcome.proof.passed == 2
    assert heard[1] == "run.started" and heard[len(heard)] == "run.finished"
