"""Threads over HTTP: their events from any point on, approvals, notes and stops."""

from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from browser import write_log
from gitrepo import GitRepo
from served import Reader, Served

from memory.records.threads import ThreadRow
from server.api.schemas import ThreadSummary


def test_a_late_reader_gets_everything_after_what_it_saw_and_then_the_live_tail(
    served: Served, repo: GitRepo
) -> None:
    with served.client() as client:
        body = {"task": "Add mul", "repo": str(repo.path), "options": {"approve_plan": True}}
        run = client.post("/api/threads", json=body)
        assert run.status_code == 202
        thread = run.json()["thread_id"]
        early = Reader(served.url, thread)
        seen = early.until("run.finished")
        at = f"/api/threads/{thread}"
        (asked,) = client.get(f"{at}/approvals").json()
        assert asked["request"]["kind"] == "plan" and seen[-1]["data"]["status"] == "waiting"
        late = Reader(served.url, thread, after=3)
        assert (
            client.post(f"{at}/approvals", json={"answers": {"x": {"decision": "approve"}}}).status_code
            == 404
        )
        answers = {"answers": {asked["id"]: {"decision": "approve"}}}
        assert client.post(f"{at}/approvals", json=answers).status_code == 200
        assert client.post(f"{at}/approvals", json=answers).status_code in (404, 409)
        seen += early.until("run.finished")
        missed = late.until("run.finished") + late.until("run.finished")
        whole = client.get(f"{at}/events", headers={"Accept": "application/json"}).json()
        schema = client.get("/api/events/schema").json()
        diff = client.get(f"{at}/diff")
    assert [event["seq"] for event in whole] == list(range(1, len(whole) + 1))
    assert seen == whole and missed == whole[3:]
    told = jsonschema.Draft202012Validator(schema)
    for event in whole:
        told.validate(event)
    assert whole[-1]["data"]["status"] == "verified" and "+def mul" in diff.text


def test_a_note_and_a_stop_reach_a_run_and_it_goes_on_when_it_is_told(served: Served, repo: GitRepo) -> None:
    with served.client() as client:
        body = {"task": "Add mul", "repo": str(repo.path), "options": {"approve_plan": True}}
        thread = client.post("/api/threads", json=body).json()["thread_id"]
        (reader := Reader(served.url, thread)).until("run.finished")
        at = f"/api/threads/{thread}"
        note = client.post(f"/threads/{thread}/messages", json={"text": "mind the types"})
        assert note.status_code == 200 and note.json()["data"]["text"] == "mind the types"
        reader.until("approval.required")  # the note was the answer to the plan, which was made again
        assert client.post(f"{at}/cancel").json() == {"cancelled": True}
        assert client.get(at).json()["status"] == "cancelled"
        assert client.post(f"{at}/cancel").json() == {"cancelled": False}
        assert client.post(f"{at}/messages", json={"text": "too late"}).status_code == 409


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/threads/nobody/events", {}, 404),
        ("/api/threads/nobody", {}, 404),
        ("/api/threads/..%2f/events", {}, 404),
        ("/api/threads/stream-known/events", {"Last-Event-ID": "x"}, 422),
        ("/api/threads/stream-known/events?after=-1", {}, 422),
        (f"/api/threads/stream-known/events?after={10**30}", {}, 422),
        (f"/threads/stream-known/runs?offset={10**30}", {}, 422),
        ("/nowhere", {}, 404),
        ("/static/../app.py", {}, 404),
        ("/static/%2e%2e/app.py", {}, 404),
        ("/api/agent/run", {}, 405),
    ],
)
def test_what_is_not_there_is_a_problem_that_says_what_to_do(
    served: Served, path: str, headers: dict[str, str], status: int
) -> None:
    with served.client() as client:
        client.post("/api/threads", json={"task": "Write half", "thread_id": "stream-known"})
        answer = client.get(path, headers=headers)
    assert answer.status_code == status and answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_an_id_beyond_every_log_is_after_all_that_there_is(served: Served) -> None:
    headers = {"Last-Event-ID": "9" * 30, "Accept": "application/json"}
    with served.client() as client:
        client.post("/api/threads", json={"task": "Write half", "thread_id": "stream-beyond"})
        assert client.get("/api/threads/stream-beyond/events", headers=headers).json() == []
        found = client.post("/threads/search", json={"offset": 10**30})
    assert found.status_code == 422 and "64 bits" in found.json()["detail"]


def test_an_edited_plan_is_what_runs_and_a_bad_one_loses_nothing(served: Served, repo: GitRepo) -> None:
    with served.client() as client:
        body = {"task": "Add mul", "repo": str(repo.path), "options": {"approve_plan": True}}
        run = client.post("/api/threads", json=body).json()
        at = f"/api/threads/{run['thread_id']}"
        (reader := Reader(served.url, run["thread_id"])).until("run.finished")
        (asked,) = client.get(f"{at}/approvals").json()

        def edit(steps: object) -> httpx.Response:
            answer = {"decision": "edit", "plan": {"explanation": "Mine.", "steps": steps}}
            return client.post(f"{at}/approvals", json={"answers": {asked["id"]: answer}})

        for steps, says in (([], "steps"), ([{"agent": "coder"}], "description"), ("none", "steps")):
            refused = edit(steps)
            assert refused.status_code == 422 and says in refused.json()["detail"]
        assert client.get(f"{at}/approvals").json() == [asked]
        assert edit([{"agent": "coder", "description": "Add mul as I say"}]).status_code == 200
        events = reader.until("run.finished")
        plans = [event["data"]["plan"] for event in events if event["type"] == "plan"]
        assert plans[-1]["steps"][0]["description"] == "Add mul as I say"
        assert events[-1]["data"]["status"] == "verified"
        coded = {event["step_id"] for event in events if event["node"] == "coder"}
        assert coded == {"s1"}
        one = client.get(f"{at}/diff", params={"run_id": run["run_id"]})
        assert "+def mul" in one.text and one.text == client.get(f"{at}/diff").text
        assert client.get(f"{at}/diff", params={"run_id": "nosuch"}).status_code == 404


def test_a_spent_budget_is_raised_over_http(served: Served, repo: GitRepo) -> None:
    with served.client() as client:
        body = {"task": "Add mul", "repo": str(repo.path), "options": {"max_tokens": 2500}}
        thread = client.post("/api/threads", json=body).json()["thread_id"]
        reader, at = Reader(served.url, thread), f"/api/threads/{thread}/resume"
        assert reader.until("run.finished")[-1]["data"]["status"] == "budget"
        refused = client.post(at)
        assert (refused.status_code, refused.json()["title"]) == (409, "Budget spent")
        assert client.post(at, json={"options": {"max_tokens": -1}}).status_code == 422
        assert client.post(at, json={"options": {"max_tokens": 1}}).status_code == 422
        assert client.post(at, json={"options": {"max_tokens": 10**6}}).status_code == 200
        assert reader.until("run.finished")[-1]["data"]["status"] == "verified"


async def test_a_search_finds_threads_by_all_their_words_and_by_state_and_repository(served: Served) -> None:
    for thread, task, repo in (
        ("found-a", "Ännder the CSV import", "/src/shop"),
        ("found-b", "Speed up the csv export", "/src/shop"),
        ("found-c", "Ännder nothing", "/src/other"),
    ):
        await write_log(served.home, thread, [("run.started", {"task": task, "repo": repo})], repo, task)
    with served.client() as client:
        client.patch("/threads/found-c", json={"metadata": {"title": "CSV of the year"}})

        def found(**query: Any) -> list[str]:
            threads = client.get("/api/threads", params=query).json()
            return [thread["id"] for thread in threads if thread["id"].startswith("found-")]

        assert found(q="csv") == ["found-c", "found-b", "found-a"]
        assert found(q="CSV änNder") == ["found-c", "found-a"]
        assert found(q="csv", repo="/src/shop") == ["found-b", "found-a"]
        assert found(q="found-b shop") == ["found-b"] and found(q="100%") == []
        assert found(q="csv", status=["verified", "waiting"], limit=1) == ["found-c"]
        assert found(q="csv", status="verified") == []
        assert client.get("/api/threads", params={"q": "x" * 201}).status_code == 422


def test_a_changed_file_is_read_as_it_is_with_the_change(served: Served, repo: GitRepo) -> None:
    with served.client() as client:
        run = client.post("/api/threads", json={"task": "Add mul", "repo": str(repo.path)}).json()
        Reader(served.url, run["thread_id"]).until("run.finished")

        def read(path: str, run_id: str = run["run_id"]) -> httpx.Response:
            query = {"run_id": run_id, "path": path}
            return client.get(f"/api/threads/{run['thread_id']}/file", params=query)

        assert read("calc.py").text.startswith("def add(a, b):") and "def mul" in read("calc.py").text
        for path in (".autocode.toml", "../calc.py", "/etc/passwd", "no.py"):  # not part of the change
            assert read(path).status_code == 404
        assert read("calc.py", "nobody").status_code == 404


def test_a_list_of_threads_is_short_however_long_their_tasks_are() -> None:
    row = ThreadRow("t", "x" * 100_000, "new", "/r", None, "now", None)
    assert ThreadSummary.model_validate(row, from_attributes=True).task == 1000 * "x"
