"""The Agent Protocol as LangGraph's Python SDK speaks it, against a real server process."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest
from gitrepo import GitRepo
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    ConflictError,
    InternalServerError,
    NotFoundError,
    UnprocessableEntityError,
)
from langgraph_sdk.schema import StreamPart
from served import Served

from server.protocol.assistants import ASSISTANT_ID

Client = LangGraphClient
MODES: Any = ["values", "updates", "messages-tuple", "custom", "events", "checkpoints"]
NODES = [
    "snapshot",
    "environment",
    "recall",
    "planner",
    "dispatch",
    "coder",
    "merge",
    "dispatch",
    "tester",
    "sandbox",
    "critic",
    "commit",
]
BESIDE = "tryout"
"""The node that runs beside the planner, and ends before or after it."""

APPROVE: Any = {"resume": {"decision": "approve"}}


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    """The SDK's client, as its documentation has it."""
    async with get_client(url=served.url) as opened:
        yield opened


def task(repo: GitRepo, text: str = "Add mul", **options: Any) -> dict[str, Any]:
    return {"task": text, "repo": str(repo.path), "options": options}


def in_order(parts: list[StreamPart]) -> list[str]:
    """The nodes that updates tell of, without the one beside the planner, which must be among them."""
    nodes = [node for update in of(parts, "updates") for node in update]
    assert nodes.count(BESIDE) == 1
    return [node for node in nodes if node != BESIDE]


async def new(client: Client) -> str:
    return (await client.threads.create())["thread_id"]


async def told(parts: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in parts]


def of(parts: list[StreamPart], event: str) -> list[Any]:
    return [part.data for part in parts if part.event == event]


def place(part: StreamPart) -> tuple[int, ...]:
    assert part.id
    return tuple(map(int, part.id.split("-")))


async def settled(client: Client, thread: str, run: str, *statuses: str) -> str:
    """Wait until a run has one of these statuses."""
    while (status := (await client.runs.get(thread, run))["status"]) not in statuses:
        await client.runs.join(thread, run)
    return status


async def test_the_assistant_is_found_by_its_name_and_by_its_uuid(client: Client) -> None:
    (found,) = await client.assistants.search()
    assert found["assistant_id"] == ASSISTANT_ID and found["graph_id"] == "autocode"
    assert await client.assistants.search(graph_id="other") == []
    assert await client.assistants.count() == 1
    for name in ("autocode", ASSISTANT_ID):
        assert (await client.assistants.get(name))["assistant_id"] == ASSISTANT_ID
        drawn = await client.assistants.get_graph(name)
        assert {"planner", "coder", "sandbox"} <= {str(node["id"]) for node in drawn["nodes"]}
        schemas = await client.assistants.get_schemas(name)
        assert schemas["input_schema"] and "task" in schemas["input_schema"]["properties"]
    assert len(await client.assistants.get_versions(ASSISTANT_ID)) == 1
    assert await client.assistants.get_subgraphs(ASSISTANT_ID) == {}
    with pytest.raises(NotFoundError, match="the only one is autocode"):
        await client.assistants.get("stranger")


async def test_threads_are_created_found_labelled_and_deleted(client: Client) -> None:
    mark = uuid4().hex
    thread = await client.threads.create(metadata={"mark": mark}, graph_id="autocode")
    id = thread["thread_id"]
    assert thread["status"] == "idle" and thread["metadata"] == {"mark": mark, "graph_id": "autocode"}
    with pytest.raises(ConflictError, match="already"):
        await client.threads.create(thread_id=id)
    assert (await client.threads.create(thread_id=id, if_exists="do_nothing"))["thread_id"] == id
    more = {"more": {"team": "x", "tags": [{"a": 1, "b": 2}, "c"]}}
    await client.threads.update(id, metadata=more)
    (found,) = await client.threads.search(metadata={"mark": mark})
    assert found["metadata"] == {"mark": mark, "graph_id": "autocode", **more}
    for part, count in (
        ({"team": "x"}, 1),
        ({"tags": [{"a": 1}]}, 1),
        ({"tags": ["d"]}, 0),
        ({"team": True}, 0),
    ):
        for ids in (None, [id]):
            found_ids = await client.threads.search(metadata={"mark": mark, "more": part}, ids=ids)
            assert len(found_ids) == count, part
    assert await client.threads.search(metadata={"mark": mark}, status="busy") == []
    (short,) = await client.threads.search(ids=[id], select=["thread_id"])
    assert dict(short) == {"thread_id": id}
    assert await client.threads.count(metadata={"mark": mark}) == 1
    assert (await client.threads.get_state(id))["values"] == {} and await client.threads.get_history(id) == []
    await client.threads.delete(id)
    with pytest.raises(NotFoundError, match="no thread"):
        await client.threads.get(id)


async def test_a_stream_tells_the_run_in_every_mode(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    parts = await told(
        client.runs.stream(thread, "autocode", input=task(repo), stream_mode=MODES, metadata={"who": "me"})
    )
    assert [place(part) for part in parts] == sorted({place(part) for part in parts})
    assert parts[0].event == "metadata" and "error" not in {part.event for part in parts}
    (run,) = await client.runs.list(thread)
    assert parts[0].data == {"run_id": run["run_id"], "attempt": 1}
    assert run["status"] == "success" and run["metadata"]["outcome"] == "verified"  # type: ignore[index]
    assert run["metadata"]["who"] == "me"  # type: ignore[index]
    for label in ({"graph_id": "autocode"}, {"assistant_id": ASSISTANT_ID}):  # as chat clients list threads
        assert thread in {
            str(each["thread_id"]) for each in await client.threads.search(metadata=label, limit=1000)
        }
        assert not await client.threads.search(metadata=dict.fromkeys(label, "other"))
    assert in_order(parts) == NODES
    values = of(parts, "values")
    assert len(values) == len(NODES) + 1 == len(of(parts, "checkpoints"))
    state = await client.threads.get_state(thread)
    assert values[-1] == state["values"] and values[-1]["missing"] == [] and state["next"] == []
    assert [message["type"] for message in values[-1]["messages"]][:1] == ["human"]
    spoken: dict[str, str] = {}
    for chunk, about in of(parts, "messages"):
        assert chunk["type"] == "AIMessageChunk" and about["langgraph_node"] in NODES
        spoken[chunk["id"]] = spoken.get(chunk["id"], "") + chunk["content"]
    assert len(spoken) == 4 and any("def test_mul" in text for text in spoken.values())
    assert any(about["usage_metadata"] for about, _ in of(parts, "messages"))
    assert {"plan", "edit", "check", "verdict", "run.finished"} <= {
        one["type"] for one in of(parts, "custom")
    }
    assert {"on_chain_start", "on_chat_model_stream", "on_chain_end"} <= {
        one["event"] for one in of(parts, "events")
    }
    assert (await client.threads.get(thread))["status"] == "idle"
    grown = await told(client.runs.join_stream(thread, run["run_id"], stream_mode=["messages"]))
    assert [one[0]["content"] for one in of(grown, "messages/complete")] == list(spoken.values())
    assert len(of(grown, "messages/metadata")) == 4


async def test_an_interrupt_waits_with_its_id_and_is_answered_once(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    asked = await told(
        client.runs.stream(thread, "autocode", input=task(repo, approve_plan=True), stream_mode="values")
    )
    (interrupt,) = asked[-1].data["__interrupt__"]
    assert interrupt["value"]["kind"] == "plan" and asked[-1].data["plan"]
    state = await client.threads.get_state(thread)
    assert (
        state["next"] == ["approval"]
        and state["tasks"][0]["interrupts"] == [interrupt] == state["interrupts"]
    )
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted" and list(shown["interrupts"].values()) == [[interrupt]]
    assert await client.threads.search(ids=[thread], status="interrupted", select=["status"])
    (run,) = await client.runs.list(thread)
    assert run["status"] == "interrupted"
    assert await client.runs.join(thread, run["run_id"]) == {"__interrupt__": [interrupt]}
    with pytest.raises(NotFoundError, match="no such approval"):
        await client.runs.create(thread, "autocode", command={"resume": {"0" * 32: {"decision": "approve"}}})
    with pytest.raises(UnprocessableEntityError, match="decision"):
        await client.runs.create(thread, "autocode", command={"resume": "yes"})
    answer: Any = {"resume": {interrupt["id"]: {"decision": "approve"}}}
    rest = await told(
        client.runs.stream(thread, "autocode", command=answer, stream_mode=["updates", "values"])
    )
    assert rest[0].data == {"run_id": run["run_id"], "attempt": 2}
    assert [node for update in of(rest, "updates") for node in update] == ["approval", *NODES[4:]]
    assert of(rest, "values")[-1]["missing"] == []
    with pytest.raises(ConflictError):
        await client.runs.create(thread, "autocode", command=answer)
    whole = await told(
        client.runs.join_stream(thread, run["run_id"], last_event_id="-1", stream_mode="updates")
    )
    assert in_order(whole) == [*NODES[:4], "__interrupt__", "approval", *NODES[4:]]


async def test_a_message_on_a_waiting_thread_is_the_answer(client: Client, repo: GitRepo) -> None:
    thread = await new(client)

    async def say(text: str, **more: Any) -> Any:
        message: Any = {"type": "human", "id": str(uuid4()), "content": text}
        return await client.runs.wait(thread, "autocode", input={"messages": [message], **more})

    asked = await say("Add mul", repo=str(repo.path), options={"approve_plan": True})
    again = await say("No, use a loop")
    assert again["__interrupt__"][0]["id"] != asked["__interrupt__"][0]["id"]
    (run,) = await client.runs.list(thread)
    assert run["status"] == "interrupted" and not repo.git("branch", "--list", "autocode/*")
    done = await say("go ahead!")
    assert done["missing"] == [] and done["branch"] == f"autocode/{thread}"
    said = [(one["type"], one["content"]) for one in done["messages"]]
    assert ("human", "No, use a loop") in said and ("human", "go ahead!") not in said
    assert len(await client.runs.list(thread)) == 1
    more = await say("Add mul again")
    assert more["__interrupt__"], "the thread asks for its next plan as well"
    other: Any = await client.runs.wait(thread, "autocode", input=task(repo, "Another task"))
    assert other["__interrupt__"], "a task starts nothing that nobody approved"
    assert len(await client.runs.list(thread)) == 2


async def test_a_reader_that_comes_back_gets_the_rest_and_nothing_twice(
    client: Client, repo: GitRepo
) -> None:
    thread = await new(client)
    run = (await client.runs.create(thread, "autocode", input=task(repo), stream_mode=MODES))["run_id"]
    got: list[StreamPart] = []
    ended = False
    while not ended:
        last = got[-1].id if got else None
        count = 0
        async for part in client.runs.join_stream(thread, run, stream_mode=MODES, last_event_id=last):
            got.append(part)
            if (count := count + 1) == 17:
                break
        else:
            ended = True
    whole = await told(client.runs.join_stream(thread, run, stream_mode=MODES, last_event_id="-1"))
    assert got == whole and len(whole) > 40
    assert await told(client.runs.join_stream(thread, run, last_event_id=whole[-1].id)) == []


async def test_a_killed_server_costs_the_reader_nothing(
    served: Served, client: Client, repo: GitRepo
) -> None:
    thread, got = await new(client), list[StreamPart]()
    stream = client.runs.stream(thread, "autocode", input=task(repo), stream_mode=["updates", "custom"])
    async for part in stream:
        got.append(part)
        if part.event == "updates" and "planner" in part.data:
            await asyncio.to_thread(served.end, signal.SIGKILL)
            await asyncio.to_thread(served.start, "--port", served.url.rpartition(":")[2])
    (run,) = await client.runs.list(thread)
    assert run["status"] == "success" and run["metadata"]["outcome"] == "verified"  # type: ignore[index]
    whole = await told(
        client.runs.join_stream(thread, run["run_id"], stream_mode=["updates", "custom"], last_event_id="-1")
    )
    assert got == whole and [part.data["attempt"] for part in whole if part.event == "metadata"] == [1, 2]
    assert in_order(whole) == NODES


async def test_a_busy_thread_refuses_queues_or_gives_way(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    first = await client.runs.create(thread, "autocode", input=task(repo, "Add mul slowly"))
    with pytest.raises(ConflictError, match="unfinished run"):
        await client.runs.create(thread, "autocode", input=task(repo), multitask_strategy="reject")
    with pytest.raises(ConflictError, match="cancel it first"):
        await client.runs.delete(thread, first["run_id"])
    assert (await client.threads.get(thread))["status"] == "busy"
    queued = await client.runs.create(thread, "autocode", input=task(repo), multitask_strategy="enqueue")
    assert queued["status"] == "pending" and queued["multitask_strategy"] == "enqueue"
    last = await client.runs.create(thread, "autocode", input=task(repo), multitask_strategy="interrupt")
    values = await client.runs.join(thread, last["run_id"])
    assert values["missing"] == []
    statuses = {run["run_id"]: run["status"] for run in await client.runs.list(thread)}
    assert statuses == {
        last["run_id"]: "success", queued["run_id"]: "interrupted", first["run_id"]: "interrupted"
    }  # fmt: skip


async def test_a_cancelled_run_leaves_its_state_and_its_thread(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    run = (await client.runs.create(thread, "autocode", input=task(repo, "Add mul slowly")))["run_id"]
    async for part in client.runs.join_stream(thread, run, stream_mode="custom"):
        if part.event == "custom" and part.data["type"] == "plan":
            break
    await client.runs.cancel(thread, run, wait=True)
    assert (await client.runs.get(thread, run))["status"] == "interrupted"
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["plan"] and state["values"]["run"] == run
    with pytest.raises(ConflictError, match="ended"):
        await client.runs.cancel(thread, run)
    with pytest.raises(NotFoundError, match="no run"):
        await client.runs.get(thread, str(uuid4()))
    assert (await client.threads.get(thread))["status"] == "idle"
    await client.runs.delete(thread, run)
    assert await client.runs.list(thread) == []


async def test_a_reader_that_leaves_may_take_the_run_with_it(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    stream = client.runs.stream(
        thread, "autocode", input=task(repo, "Add mul slowly"), stream_mode="custom", on_disconnect="cancel"
    )
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    (run,) = await client.runs.list(thread)
    assert await settled(client, thread, run["run_id"], "interrupted", "success", "error") == "interrupted"


async def test_history_copies_and_changes_by_hand(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    values: Any = await client.runs.wait(thread, "autocode", input=task(repo))
    history = await client.threads.get_history(thread, limit=20)
    assert history[0]["values"] == values and len(history) == len(NODES) + 2
    assert history[1]["next"] == ["commit"] and history[0]["parent_checkpoint"] == history[1]["checkpoint"]
    assert await client.threads.get_history(thread, limit=2, before=history[0]["checkpoint"]) == history[1:3]
    at: Any = history[3]["checkpoint"]
    assert await client.threads.get_state(thread, checkpoint=at) == history[3]
    assert await client.threads.get_state(thread, checkpoint_id=at["checkpoint_id"]) == history[3]
    with pytest.raises(NotFoundError, match="no checkpoint"):
        await client.threads.get_state(thread, checkpoint_id=str(uuid4()))
    copied: Any = await client.threads.copy(thread)  # type: ignore[func-returns-value]  # it returns one
    assert copied["thread_id"] != thread and copied["values"] == values | {"run": copied["values"]["run"]}
    said = {"messages": [{"type": "ai", "content": "by hand", "id": "hand"}]}
    await client.threads.update_state(thread, said)
    state: Any = await client.threads.get_state(thread)
    assert state["parent_checkpoint"] == history[0]["checkpoint"]
    assert state["values"]["messages"][-1]["content"] == "by hand"
    forgeries: list[dict[str, Any]] = [{"repo": "/"}, {"proof": {}}, {"check": {"green": True}}]
    for forged in forgeries:
        with pytest.raises(UnprocessableEntityError, match=next(iter(forged))):
            await client.threads.update_state(thread, forged)


async def test_another_run_starts_from_the_last_result(client: Client, repo: GitRepo) -> None:
    thread = await new(client)
    asked: Any = {"messages": [{"role": "user", "content": "Add mul"}], "repo": str(repo.path)}
    first: Any = await client.runs.wait(thread, "autocode", input=asked)
    assert first["task"] == "Add mul" and first["missing"] == []
    again: Any = {"messages": [{"role": "user", "content": "And again"}]}
    second: Any = await client.runs.wait(thread, "autocode", input=again)
    assert second["base"] == first["delivered"] and second["task"] == "And again"
    humans = [one["content"] for one in second["messages"] if one["type"] == "human"]
    assert humans == ["Add mul", "And again"]


async def test_a_run_brings_a_thread_of_its_own(client: Client, repo: GitRepo) -> None:
    values: Any = await client.runs.wait(None, "autocode", input=task(repo))
    assert values["missing"] == []
    found: list[Any] = []
    parts = await told(
        client.runs.stream(None, "autocode", input=task(repo, approve_plan=True), on_run_created=found.append)
    )
    assert parts[-1].data["__interrupt__"] and await client.threads.get(found[0]["thread_id"])


async def test_a_run_that_fails_says_why(client: Client, repo: GitRepo) -> None:
    repo.commit({".autocode.toml": "[test"})
    thread = await new(client)
    with pytest.raises(Exception, match="NoSuite"):
        await client.runs.wait(thread, "autocode", input=task(repo))
    (run,) = await client.runs.list(thread)
    assert run["status"] == "error" and (await client.threads.get(thread))["status"] == "error"
    parts = await told(client.runs.join_stream(thread, run["run_id"]))
    assert parts[-1].event == "error" and parts[-1].data["error"] == "NoSuite" and parts[-1].data["message"]


@pytest.mark.parametrize(
    ("feature", "asked"),
    [
        ("webhook", {"webhook": "http://example.org"}),
        ("after_seconds", {"after_seconds": 5}),
        ("feedback_keys", {"feedback_keys": ["a"]}),
        ("interrupt_before", {"interrupt_before": ["coder"]}),
        ("interrupt_after", {"interrupt_after": "*"}),
        ("rollback", {"multitask_strategy": "rollback"}),
        ("stream_mode debug", {"stream_mode": ["values", "debug"]}),
        ("goto", {"command": {"goto": "commit"}}),
        ("update", {"command": {"update": {"task": "x"}, "resume": 1}}),
        ("context", {"context": {"model": "x"}}),
        ("earlier checkpoint", {"checkpoint_id": "x"}),
        ("on_completion", {"on_completion": "delete"}),
    ],
)
async def test_what_is_not_served_is_refused_by_its_name(
    client: Client, feature: str, asked: dict[str, Any]
) -> None:
    thread = await new(client)
    with pytest.raises(InternalServerError, match=feature) as refused:
        async for _ in client.runs.stream(thread, "autocode", **({"input": {"task": "x"}} | asked)):
            pass
    assert refused.value.status_code == 501
    assert await client.runs.list(thread) == []


async def test_whole_parts_of_the_protocol_are_refused_by_their_names(client: Client) -> None:
    thread = await new(client)
    for feature, call in (
        ("crons", client.crons.create("autocode", schedule="* * * * *")),
        ("crons", client.crons.search()),
        ("store", client.store.put_item(["a"], "b", {})),
        ("store", client.store.search_items(["a"])),
        ("assistants of your own", client.assistants.create("autocode")),
        ("ttl", client.threads.create(ttl=5)),
        ("supersteps", client.threads.create(supersteps=[{"updates": []}])),
        ("values", client.threads.search(values={"task": "x"})),
        ("metadata", client.threads.get_history(thread, metadata={"step": 1})),
        ("as_node", client.threads.update_state(thread, {}, as_node="critic")),
        ("prune", client.threads.prune([thread])),
        ("the stream of a thread", told(await client.threads.join_stream(thread))),
    ):
        with pytest.raises(InternalServerError, match=feature) as refused:
            await call
        assert refused.value.status_code == 501


async def test_bad_requests_say_what_is_wrong(client: Client, served: Served) -> None:
    thread = await new(client)
    with pytest.raises(NotFoundError, match="no thread"):
        await client.runs.create(str(uuid4()), "autocode", input={"task": "x"})
    with pytest.raises(NotFoundError, match="assistant"):
        await client.runs.create(thread, "stranger", input={"task": "x"})
    with pytest.raises(UnprocessableEntityError, match="empty"):
        await client.runs.create(thread, "autocode", input={"task": " "})
    with pytest.raises(UnprocessableEntityError, match="configurable"):
        config: Any = {"configurable": {"model": "x"}}
        await client.runs.create(thread, "autocode", input={"task": "x"}, config=config)
    with pytest.raises(UnprocessableEntityError, match="stream mode"):
        await client.runs.create(thread, "autocode", input={"task": "x"}, stream_mode="wibble")  # type: ignore[arg-type]
    with pytest.raises(UnprocessableEntityError, match="/etc"):
        await client.runs.create(thread, "autocode", input={"task": "x", "repo": "/etc"})
    with pytest.raises(UnprocessableEntityError):
        await client.threads.create(thread_id="../../etc")
    with pytest.raises(UnprocessableEntityError, match="Last-Event-ID"):
        await told(client.runs.join_stream(thread, (await _ended(client, thread)), last_event_id="x"))
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as bare:
        for page in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            assert (await bare.post("/threads", json={}, headers=page)).status_code == 403
        answer = await bare.post("/threads", content=json.dumps({}), headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415 and answer.json()["type"].startswith("urn:autocode:")


async def _ended(client: Client, thread: str) -> str:
    """A run without a repository that is withdrawn at once."""
    run = (await client.runs.create(thread, "autocode", input={"task": "Add mul slowly"}))["run_id"]
    with suppress(ConflictError):
        await client.runs.cancel(thread, run, wait=True)
    return run
