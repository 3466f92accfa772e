"""Models that a run's options name, and the list of those that users may choose."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from desk import KEY, Desk, Rule
from runs import Bench, script

from graph.errors import InputError
from graph.run_request import merge_options, run_options
from graph.settings import Settings
from memory.secrets import names_key
from nodes.llm.model_settings import ModelError
from server.app import create_app


def asked(desk: Desk) -> dict[str, set[str]]:
    """The models that each agent used so far."""
    agents: dict[str, set[str]] = {}
    for request in desk.requests:
        words = request.messages[0]["content"].split()
        agents.setdefault(words[3].strip(",."), set()).add(request.model)
    return agents


async def test_a_run_uses_the_models_of_its_options_and_the_thread_remembers_them(bench: Bench) -> None:
    desk = script(bench.desk)
    options = {"model": "big", "models": {"coder": "quick"}}
    run = await bench.run(options=options)
    assert run.end.status == "verified"
    assert asked(desk) == {"planner": {"big"}, "coder": {"quick"}, "tester": {"big"}, "critic": {"big"}}
    assert {(each.agent, each.model) for each in run.end.usage} >= {("coder", "quick"), ("critic", "big")}
    (started,) = run.of("run.started")
    assert (started.model, started.models) == ("big", {"coder": "quick"})
    desk.requests.clear()
    await bench.run("Explain it", run.thread)
    assert asked(desk)["planner"] == {"big"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), {"planner": "desk-a", "coder": "desk-a"}),
        (("--coder-model", "c"), {"planner": "desk-a", "coder": "c"}),
        (("--model", "m"), {"planner": "m", "coder": "m"}),
        (("--model", "m", "--planner-model", "p"), {"planner": "p", "coder": "m"}),
    ],
)
def test_flags_name_models_and_come_before_the_settings(
    bench: Bench, flags: tuple[str, ...], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_MODEL", "desk-a")
    script(bench.desk, critic="no verdict")
    bench.autocode("run", "Add mul", "--repo", str(bench.repo.path), *flags)
    used = asked(bench.desk)
    assert {agent: used[agent] for agent in expected} == {agent: {name} for agent, name in expected.items()}


def test_a_thread_keeps_the_models_of_its_agents_until_a_flag_replaces_them(bench: Bench) -> None:
    script(bench.desk, planner="The answer.\nANSWER")
    bench.desk.rules.insert(0, Rule("planner", '{"answer": "It adds."}'))
    thread = bench.name_thread("talk")

    def planner(*flags: str) -> str:
        bench.desk.requests.clear()
        bench.autocode("run", "Explain", "--repo", str(bench.repo.path), "--thread", thread, *flags)
        return bench.desk.requests[0].model

    assert planner("--planner-model", "p", "--coder-model", "c") == "p"
    assert planner("--coder-model", "d") == "p"
    assert planner("--model", "m") == "m"
    assert planner("--planner-model", "q") == "q"
    assert planner("--planner-model", "") == "m"
    assert planner("--model", "") == "deepseek-coder"


def test_a_model_for_all_agents_replaces_those_of_single_agents() -> None:
    before = {"models": {"coder": "c"}}
    assert merge_options(before, {"model": "m"}) == {"model": "m"}
    assert merge_options(before, {"model": "m", "models": {"critic": "k"}})["models"] == {"critic": "k"}
    assert merge_options(before, {"max_tokens": 5})["models"] == {"coder": "c"}


@pytest.mark.parametrize(
    ("settings", "options", "says"),
    [
        ({}, {"models": {"writer": "m"}}, "models.writer"),
        ({}, {"model": "two words"}, "model"),
        ({}, {"model": ""}, "model"),
        ({"llm_mode": "openai"}, {"model": "groq/x"}, "LLM_MODE=openai does not reach groq/x"),
        ({}, {"model": "nameless", "max_cost_usd": 1.0}, "nameless"),
    ],
)
def test_options_that_name_no_usable_model_are_refused(
    tmp_path: Path, settings: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run_options(options, Settings.load(autocode_home=tmp_path, **settings))


async def test_an_unknown_provider_and_a_missing_key_are_told_before_anything_is_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in filter(names_key, list(os.environ)):
        monkeypatch.delenv(name)
    opened: list[str] = []
    monkeypatch.setattr("graph.resources.open_sandbox", lambda *_: opened.append("sandbox"))
    for model, says in (("nobody/x", "no provider of nobody/x"), ("mistral/x", "MISTRAL_API_KEY")):
        asks: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"model": model}}
        for foreground, error in ((False, InputError), (True, ModelError)):
            async with bench.supervisor(llm_mode="litellm", foreground=foreground) as supervisor:
                with pytest.raises(error, match=says):
                    await supervisor.submit(asks, "t")
                assert await supervisor.journal.threads.get("t") is None
    assert not opened


async def test_a_failed_run_goes_on_with_another_model(bench: Bench) -> None:
    bench.desk.on("^model: weak", status=400)
    script(bench.desk)
    options = {"models": {"coder": "weak"}}
    asks: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": options}
    async with bench.supervisor(llm_max_retries=0) as supervisor:
        run = await supervisor.wait((await supervisor.submit(asks, "t")).id)
        assert run.status == "failed"
        bench.desk.requests.clear()
        await supervisor.resume("t", limits={"models": {"coder": "strong"}})
        assert (await supervisor.wait(run.id)).status == "verified"
        used = asked(bench.desk)
        assert used["coder"] == {"strong"} and "planner" not in used
        thread = await supervisor.journal.threads.get("t")
        assert thread and thread.options["models"] == {"coder": "strong"}


async def offered(settings: Settings) -> dict[str, Any]:
    """Return the answer of GET /api/models."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            answer = await client.get("/api/models")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found


async def test_the_models_of_a_local_server_are_listed(bench: Bench) -> None:
    listed = await offered(
        bench.settings(local_model="mine", model_prices='{"desk": {"input": 1, "output": 2}}')
    )
    assert listed["default"] == "mine" and set(listed["agents"].values()) == {"mine"}
    assert [model["id"] for model in listed["models"]] == ["mine", "desk"]
    desk = listed["models"][1]
    assert (desk["provider"], desk["input_price"], desk["output_price"]) == ("local", 1, 2)
    assert not listed["problem"]


async def test_a_server_that_lists_nothing_is_a_problem_with_a_reason(bench: Bench) -> None:
    listed = await offered(bench.settings(local_llm_url="http://127.0.0.1:9/v1"))
    assert [model["id"] for model in listed["models"]] == ["deepseek-coder"]
    assert "lists no models" in listed["problem"]


async def test_the_password_of_a_model_server_is_in_no_answer(bench: Bench) -> None:
    address = f"http://me:{KEY}@127.0.0.1:9/v1"
    settings = bench.settings(local_llm_url=address)
    listed = await offered(settings)
    assert "***" in listed["problem"] and KEY not in str(listed)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            body = {"task": "Add mul", "repo": str(bench.repo.path)}
            run = (await client.post("/api/threads", json=body)).json()
            await app.state.supervisor.wait(run["run_id"])
            headers = {"Accept": "application/json"}
            events = await client.get(f"/api/threads/{run['thread_id']}/events", headers=headers)
            assert "no model server answers" in events.text and KEY not in events.text


async def test_hosted_models_are_listed_for_the_providers_that_have_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in filter(names_key, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    listed = await offered(Settings.load(autocode_home=tmp_path, llm_mode="litellm"))
    names = [model["id"] for model in listed["models"]]
    assert names[0] == "anthropic/claude-sonnet-4-5" and len(names) == len(set(names)) > 3
    assert {model["provider"] for model in listed["models"]} == {"anthropic"}
    assert all(model["tools"] and model["context"] for model in listed["models"])
    assert KEY not in str(listed)
    listed = await offered(Settings.load(autocode_home=tmp_path, llm_mode="openai", openai_api_key=KEY))
    names = [model["id"] for model in listed["models"]]
    assert "gpt-4o" in names and not any("/" in name or name.startswith("ft:") for name in names)
    assert KEY not in str(listed)
