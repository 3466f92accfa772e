"""The original API on a real server."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from gitrepo import GitRepo
from served import Served, messages
from websockets.sync.client import connect

from server.api.websocket import DONE, ERROR, text_frames

OFF = {".autocode.toml": '[test]\nmutants = "off"\n'}
"""Context of a task whose subject are not the mutants."""

OFF = {".autocode.toml": '[test]\nmutants = "off"\n'}
"""Context of a task whose subject is not the mutants."""

HALF = "def half(n):\n    return n / 2\n"


def post(served: Served, path: str, status: int = 200, **body: Any) -> Any:
    with served.client() as client:
        answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    kind = "application/json" if status < 400 else "application/problem+json"
    assert answer.headers["Content-Type"] == kind
    return answer.json()


def types(answer: dict[str, Any]) -> list[str]:
    return [result["type"] for result in answer["results"]]


def test_a_task_on_a_repository_gives_code_test_and_review_and_leaves_the_checkout_alone(
    served: Served, repo: GitRepo
) -> None:
    before = repo.fingerprint()
    answer = post(served, "/api/agent/run", task="Add mul", repo=str(repo.path), context_files=["calc.py"])
    assert (answer["status"], types(answer)) == ("verified", ["code", "test", "review"])
    code, test, review = answer["results"]
    assert code["step"] == "Add mul to calc.py" and "+def mul(a, b):" in code["output"]
    assert "passed, 0 failed" in test["output"] and review["output"].startswith("PASS")
    assert repo.git("rev-parse", answer["branch"]) and answer["proof"]["green"]
    assert answer["files"] is None and repo.fingerprint() == before


@pytest.mark.parametrize(
    "given", [{"notes/old.py": "x = 1\r\n"}, [{"path": "notes/old.py", "content": "x = 1\r\n"}]]
)
def test_a_task_without_a_repository_gets_one_with_the_files_it_brought(served: Served, given: Any) -> None:
    answer = post(served, "/api/agent/run", task="Write half", context_files=given)
    assert answer["status"] == "verified" and answer["results"][0]["output"] == HALF
    assert answer["files"].keys() == {"half.py", "tests/test_half.py"} and answer["files"]["half.py"] == HALF
    assert "+++ b/half.py" in answer["diff"]
    scratch = served.home / "scratch" / answer["thread_id"]
    assert (scratch / "notes/old.py").read_bytes() == b"x = 1\r\n"
    again = post(served, "/api/agent/run", task="Write half", thread_id=answer["thread_id"])
    assert again["status"] == "unverified", "a follow-up goes on from the last result, where half is already"


def test_a_run_that_ends_early_says_so_in_each_kind_of_result(served: Served, repo: GitRepo) -> None:
    answer = post(served, "/api/agent/run", task="Add mul", repo=str(repo.path), options={"max_tokens": 1})
    assert answer["status"] == "budget" and {"code", "test", "review"} <= set(types(answer))
    assert answer["results"][-1]["output"].startswith("FAIL: ")
    answer = post(served, "/api/agent/run", task="Add mul, with a grudge", repo=str(repo.path))
    assert answer["status"] == "unverified", answer
    assert "grudge" in answer["results"][-1]["output"]


def test_a_question_has_one_result_the_answer(served: Served, repo: GitRepo) -> None:
    body: dict[str, Any] = {"task": "What does add return?", "repo": str(repo.path)}
    answer = post(served, "/api/agent/run", **body)
    assert (answer["status"], answer["branch"], answer["proof"]) == ("answered", None, None)
    assert answer["results"] == [{"step": "What does add return?", "output": "The sum.", "type": "code"}]
    with served.client() as client:
        *texts, done = list(messages(client.post("/api/agent/stream", json=body)))
    assert "── answer ──\nThe sum." in "".join(text["data"] for text in texts)
    assert json.loads(done["data"])["results"] == answer["results"]


def test_given_steps_are_carried_out_as_they_are_and_tested_all_the_same(
    served: Served, repo: GitRepo
) -> None:
    steps = [
        {"agent": "coder", "description": "Write half", "parallel_group": 2},
        {"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py", "parallel_group": 1},
    ]
    answer = post(served, "/api/agent/run_parallel", steps=steps, repo=str(repo.path))
    assert [(one["step"], one["type"]) for one in answer["results"]] == [
        ("Write half", "code"), ("Add mul to calc.py", "code"),
    ]  # fmt: skip
    assert answer["results"][0]["output"] == HALF and "+def mul" in answer["results"][1]["output"]
    with served.client() as client:
        log = client.get(f"/api/threads/{answer['thread_id']}/events", headers={"Accept": "application/json"})
    seen = {event["type"] for event in log.json()}
    assert {"check", "verdict"} <= seen and not any(
        event["node"] == "planner" and event["type"] == "token" for event in log.json()
    )


def test_tools_and_coders_work_side_by_side_and_answer_in_order(served: Served, repo: GitRepo) -> None:
    steps = [
        {"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py", "parallel_group": 1},
        {
            "agent": "tool",
            "description": "Run a program",
            "tool_name": "python_run",
            "tool_params": {"code": "import sys; print(6 * 7); sys.exit('no')"},
            "parallel_group": 1,
        },
        {"agent": "tool", "description": "Look", "tool_name": "ls", "tool_params": {}, "parallel_group": 2},
    ]
    answer = post(served, "/api/agent/run_parallel", steps=steps, repo=str(repo.path))
    code, program, listing = answer["results"]
    assert (code["type"], program["type"], listing["type"]) == ("code", "tool", "tool")
    assert "+def mul" in code["output"]
    assert program["output"] == {"stdout": "42\n", "stderr": "no\n", "returncode": 1}
    assert "calc.py" in listing["output"]["stdout"] and listing["output"]["returncode"] == 0
    assert answer["status"] == "unverified"  # because of the program's failure


def test_each_given_step_has_a_result_while_the_run_waits_for_its_environment(
    served: Served, repo: GitRepo
) -> None:
    repo.commit({"pyproject.toml": '[project]\nname = "calc"\nversion = "1"\ndependencies = ["attrs"]\n'})
    steps = [
        {"agent": "tool", "tool_name": "pwd", "parallel_group": 2},
        {"agent": "coder", "description": "Add mul to calc.py", "parallel_group": 1},
    ]
    answer = post(served, "/api/agent/run_parallel", steps=steps, repo=str(repo.path))
    assert answer["status"] == "waiting"
    reason = "done: a human's approval is needed"
    tool, code = (result["output"] for result in answer["results"])
    assert tool == {"stdout": "", "stderr": f"not {reason}", "returncode": 1} and code == f"Not {reason}"


def test_a_push_waits_for_an_answer_which_the_log_keeps_and_which_can_be_revoked(
    served: Served, repo: GitRepo, tmp_path: Path
) -> None:
    bare = GitRepo(tmp_path / "bare.git", "--bare")
    repo.git("remote", "add", "origin", str(bare.path))
    push = {"agent": "tool", "description": "Show it", "tool_name": "git_push", "parallel_group": 1}
    steps = [{"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py"}, push]
    answer = post(served, "/api/agent/run_parallel", steps=steps, repo=str(repo.path))
    at = f"/api/threads/{answer['thread_id']}"
    assert answer["status"] == "waiting" and answer["results"][1]["output"]["returncode"] == 1
    with served.client() as client:
        (question,) = client.get(f"{at}/approvals").json()
        assert question["request"]["command"] == "git push -- origin"
        wrong = {question["id"]: {"decision": "edit", "params": {"branch": "a b"}}}
        refused = client.post(f"{at}/approvals", json={"answers": wrong})
        assert refused.status_code == 422 and "write the name of a branch" in refused.json()["detail"]
        yes = {question["id"]: {"decision": "approve", "scope": "repository"}}
        headers = {"Sec-Fetch-Site": "same-origin"}
        assert client.post(f"{at}/approvals", json={"answers": yes}, headers=headers).status_code == 200
        while client.get(at).json()["status"] in ("waiting", "queued", "running"):
            time.sleep(0.1)
        log = client.get(f"{at}/events", headers={"Accept": "application/json"}).json()
        (resolved,) = [event["data"] for event in log if event["type"] == "approval.resolved"]
        assert (resolved["details"]["by"], resolved["details"]["through"]) == ("127.0.0.1", "page")
        assert resolved["details"]["scope"] == "repository"
        all_standing = client.get("/api/approvals").json()
        (standing,) = [each for each in all_standing if each["about"]["repository"] == str(repo.path)]
        assert standing["about"]["tool"] == "git_push"
        assert client.delete(f"/api/approvals/{standing['key']}").status_code == 204
        assert client.delete(f"/api/approvals/{standing['key']}").status_code == 404
    assert bare.git("rev-list", "--count", f"autocode/{answer['thread_id']}-work") == "2"


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"agent": "tool", "tool_name": "sh"}, "there is no tool 'sh'"),
        ({"agent": "tool"}, "there is no tool"),
        ({"agent": "tool", "tool_name": "cat", "tool_params": {"paths": ["../x"]}}, "cat: paths.0"),
        ({"agent": "tool", "tool_name": "cp", "tool_params": {"source": "a"}}, "target: Field required"),
        ({"agent": "tester"}, "follow by themselves"),
    ],
)
def test_steps_that_cannot_be_carried_out_are_refused_with_the_cure(
    served: Served, step: dict[str, Any], says: str
) -> None:
    problem = post(served, "/api/agent/run_parallel", 422, steps=[{"description": "x", **step}])
    assert says in problem["detail"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "body.task"),
        ({"task": " \n"}, "body.task"),
        ({"task": "x", "contextfiles": []}, "body.contextfiles"),
        ({"task": "x", "options": {"max_tokens": -1}}, "body.options.max_tokens"),
        ({"task": "x", "repo": "relative/path"}, "absolute"),
        ({"task": "x", "repo": "/no/such/folder"}, "/no/such/folder"),
        ({"task": "x", "context_files": {"../out": ""}}, "../out"),
        ({"task": "x", "context_files": {".git/config": ""}}, ".git/config"),
        ({"task": "x", "thread_id": "../x"}, "thread_id"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(served: Served, body: dict[str, Any], named: str) -> None:
    problem = post(served, "/api/agent/run", 422, **body)
    assert named in problem["detail"] and problem["status"] == 422


def test_another_repository_on_the_same_thread_is_refused(
    served: Served, repo: GitRepo, tmp_path: Any
) -> None:
    first = post(served, "/api/agent/run", task="Add mul", repo=str(repo.path))
    other = GitRepo(tmp_path / "other")
    problem = post(
        served, "/api/agent/run", 409, task="x", repo=str(other.path), thread_id=first["thread_id"]
    )
    assert str(repo.path) in problem["detail"]


def test_the_stream_is_the_text_as_it_is_written_and_ends_with_done(served: Served) -> None:
    body = {"task": "Write half", "context_files": OFF}
    with served.client() as client, client.stream("POST", "/api/agent/stream", json=body) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        found = list(messages(response))
    text = "".join(one["data"] for one in found[:-1])
    assert HALF in text and "── review: PASS" in text and len(found) > 5
    assert found[-1]["event"] == "done" and json.loads(found[-1]["data"])["status"] == "verified"
    with (
        served.client() as client,
        client.stream("POST", "/api/agent/stream", json=body | {"frames": "json"}) as response,
    ):
        exact = [json.loads(one["data"]) for one in messages(response)][:-1]
    assert HALF in "".join(one["text"] for one in exact) and {"coder", "critic"} <= {
        one["node"] for one in exact
    }


def test_a_client_that_goes_away_does_not_stop_its_run(served: Served) -> None:
    thread = "gone-client"
    body = {"task": "Write half", "context_files": OFF, "thread_id": thread}
    with served.client() as client:
        with client.stream("POST", "/api/agent/stream", json=body) as response:
            next(messages(response))
        deadline = time.monotonic() + 60
        while (found := client.get(f"/api/threads/{thread}").json())["status"] == "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert found["status"] == "verified"


def test_a_websocket_takes_tasks_one_after_another_and_survives_what_is_none(served: Served) -> None:
    with connect(served.url.replace("http", "ws") + "/api/ws", proxy=None) as socket:
        for frame in (
            "{",
            json.dumps({"task": "Write half", "context_files": OFF}),
            b"\x00",
            json.dumps({"task": "Write half", "context_files": []}),
        ):
            socket.send(frame)
        answers: list[list[str]] = [[]]
        while len(answers) <= 4:
            frame = socket.recv(60)
            assert isinstance(frame, str)
            if frame == DONE:
                answers.append([])
            else:
                answers[-1].append(frame)
    assert [len(answer) for answer in (answers[0], answers[2])] == [1, 1]
    assert "as JSON text" in json.loads(answers[0][0])["error"]["detail"]
    assert all(HALF in "".join(answers[number]) for number in (1, 3))


@pytest.mark.parametrize("written", [DONE, ERROR + '{"detail": "x"}}', "plain\r\n", DONE + DONE])
def test_a_model_cannot_write_a_frame_of_ours(written: str) -> None:
    sent = list(text_frames(written))
    assert "".join(sent) == written
    assert not [frame for frame in sent if frame == DONE or frame.startswith(ERROR)]


def test_a_thread_that_delivered_nothing_has_no_diff_and_says_so(served: Served) -> None:
    with served.client() as client:
        thread = client.post("/threads", json={}).json()["thread_id"]
        answer = client.get(f"/api/threads/{thread}/diff")
    assert answer.status_code == 409 and "delivered nothing" in answer.json()["detail"]


def test_halves_of_surrogate_pairs_in_bodies_break_nothing(served: Served, repo: GitRepo) -> None:
    headers = {"Content-Type": "application/json"}
    with served.client() as client:
        thread = client.post("/threads", json={}).json()["thread_id"]
        message = '{"role": "user", "content": "Add mul \\ud83d"}'
        body = f'{{"assistant_id": "autocode", "input": {{"messages": [{message}], "repo": "{repo.path}"}}}}'
        run = client.post(f"/threads/{thread}/runs", content=body, headers=headers)
        assert run.is_success, run.text
        assert client.get(f"/threads/{thread}/runs/{run.json()['run_id']}/join").is_success
        listed = client.get(f"/threads/{thread}/runs").json()
        assert [each["status"] for each in listed] == ["success"]
        assert client.get(f"/threads/{thread}/state").json()["values"]["task"] == "Add mul \ufffd"
