"""Results over HTTP: their files and hunks, applied in parts, and taken back."""

from pathlib import Path
from typing import Any

import httpx
from delivered import deliver
from desk import Desk
from gitrepo import GitRepo
from served import ForkedServer, Served

LINES = [f"line {number}\n" for number in range(60)]
TEXT = "".join(LINES)
CHANGED = TEXT.replace("line 5\n", "five\n").replace("line 30\n", "thirty\n").replace("line 55\n", "")


def tell(client: httpx.Client, method: str, thread: str, what: str, **body: Any) -> httpx.Response:
    return client.request(method, f"/api/threads/{thread}/{what}", json=body or None)


async def test_hunks_are_named_applied_and_taken_back(served: Served, repo: GitRepo) -> None:
    repo.commit({"a.txt": TEXT, "b.txt": "b\n"})
    thread = await deliver(served.home, repo, {"a.txt": CHANGED, "b.txt": "c\n", "new.txt": "n\n"})
    with served.client() as client:
        seen = tell(client, "GET", thread, "changes").json()
        diff = tell(client, "GET", thread, "diff").text
        assert [(file["path"], file["status"], len(file["hunks"])) for file in seen["files"]] == [
            ("a.txt", "modified", 3),
            ("b.txt", "modified", 1),
            ("new.txt", "added", 0),
        ]
        assert seen["undo"] is False and seen["verified"] is True
        hunks = seen["files"][0]["hunks"]
        headers = [line for line in diff.splitlines() if line.startswith("@@")]
        assert headers[:4] == [hunk["header"] for file in seen["files"][:2] for hunk in file["hunks"]]
        assert (hunks[2]["added"], hunks[2]["removed"]) == (0, 1)

        middle = {"a.txt": [hunks[1]["id"]]}
        applied = tell(client, "POST", thread, "apply", hunks=middle, files=["new.txt"], changes=seen["id"])
        assert applied.json() == {"paths": ["a.txt", "new.txt"]}
        assert (repo.path / "a.txt").read_text() == TEXT.replace("line 30\n", "thirty\n")
        assert (repo.path / "b.txt").read_text() == "b\n"

        again = tell(client, "POST", thread, "apply", hunks=middle)
        assert again.status_code == 409 and "read it again" in again.json()["detail"]
        stale = tell(client, "POST", thread, "apply", files=["b.txt"], changes=seen["id"])
        assert (stale.status_code, stale.json()["title"]) == (409, "Outdated changes")
        rest = tell(client, "GET", thread, "changes").json()
        assert [(file["path"], len(file["hunks"])) for file in rest["files"]] == [("a.txt", 2), ("b.txt", 1)]
        assert "+thirty" not in tell(client, "GET", thread, "diff").text

        assert tell(client, "POST", thread, "apply").json() == {"paths": ["a.txt", "b.txt"]}
        assert (repo.path / "a.txt").read_text() == CHANGED
        assert tell(client, "POST", thread, "apply").json() == {"paths": []}
        assert tell(client, "GET", thread, "diff").text == ""

        assert tell(client, "POST", thread, "undo").json() == {"paths": ["a.txt", "b.txt"], "committed": []}
        assert (repo.path / "a.txt").read_text() == TEXT.replace("line 30\n", "thirty\n")
        assert tell(client, "POST", thread, "undo").json()["paths"] == ["a.txt", "new.txt"]
        assert repo.git("status", "--porcelain") == ""
        assert tell(client, "GET", thread, "changes").json() == seen
        nothing = tell(client, "POST", thread, "undo")
        assert nothing.status_code == 409 and "nothing to take back" in nothing.json()["detail"]


async def test_selections_that_name_nothing_are_refused(served: Served, repo: GitRepo) -> None:
    thread = await deliver(served.home, repo, {"calc.py": "1\n"})
    with served.client() as client:
        for body, status in (
            ({"files": []}, 422),
            ({"hunks": {"calc.py": []}}, 422),
            ({"files": "calc.py"}, 422),
            ({"files": ["../calc.py"]}, 409),
            ({"files": ["\0"]}, 409),
            ({"hunks": {"calc.py": ["nosuch"]}}, 409),
            ({"files": ["x" * 10_000]}, 409),
            ({"hunk": {}}, 422),
        ):
            refused = tell(client, "POST", thread, "apply", **body)
            assert refused.status_code == status, body
            assert len(refused.text) < 1000
        assert repo.git("status", "--porcelain") == ""
        assert tell(client, "POST", "nosuch", "undo").status_code == 404


async def test_nothing_is_applied_below_the_home_of_the_server(desk: Desk, home: Path) -> None:
    repo = GitRepo(home.parent)
    inside = f"{home.name}/tools.toml"
    repo.put("elsewhere.txt", "1\n")
    repo.git("add", "elsewhere.txt")
    repo.git("commit", "-qm", "m")
    thread = await deliver(home, repo, {inside: "[deny]\n", "elsewhere.txt": "2\n"})
    with ForkedServer(home, desk, ENABLE_MEMORY="false") as server, server.client() as client:
        for body in ({}, {"files": [inside]}):
            refused = tell(client, "POST", thread, "apply", **body)
            assert refused.status_code == 422 and "lies in AUTOCODE_HOME" in refused.json()["detail"]
        assert not (home / "tools.toml").exists()
        assert (repo.path / "elsewhere.txt").read_text() == "1\n"
        assert tell(client, "POST", thread, "apply", files=["elsewhere.txt"]).json()["paths"]
