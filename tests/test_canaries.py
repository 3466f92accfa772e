"""Secrets are put wherever text comes from, and searched in every byte that is written or sent."""

import json
from collections.abc import Iterator
from pathlib import Path

import pygit2
from gitrepo import GitRepo
from runs import BROKEN_MUL, MEND, Bench, script
from served import Reader, Served

OURS = "3fa91c-own-key-of-the-models/ü"
"""A key of ours, without a shape that anybody would recognise."""

TYPED = "sk-proj-Zt4mQx81LrV0bNc7Ks2e"
ADDRESS = "kx81-password"
TOLD = "ghp_9sKq27ZxWv31Lm0PtRb5YcHd"
CONSTANT = "glpat-Wx7Kq29Zt4mR1bNc7Ks2"
"""Tokens that are typed, that stand in an address, that a model tells, and that a repository holds."""

TASK = f"Add mul. The service's key is {TYPED}, and it is at https://me:{ADDRESS}@git.internal/x."
FAILING = """### tests/test_mul.py
```python
from calc import mul
from service import TOKEN


def test_mul():
    print(TOKEN)
    assert mul(2, 3) == 6, f"refused {TOKEN}"
```"""


def test_no_secret_is_stored_sent_or_shown(bench: Bench) -> None:
    bench.repo.commit({"service.py": f'TOKEN = "{CONSTANT}"\n'})
    desk = bench.desk
    desk.on("system: You are the planner", times=1, status=503, error={"message": f"bad key {OURS}"})
    # The model that wrote a key is told that no file may hold it.
    desk.on("system: You are a coder", f'### key.py\n```python\nKEY = "{OURS}"\n```', times=1)
    script(
        desk,
        coder=f"The key is {TOLD}.\n{BROKEN_MUL}",
        tester=FAILING,
        debugger=f"The key {OURS} is wrong. {MEND}",
        critic=json.dumps({"verdict": "PASS", "reasons": [f"{TOLD} and {OURS} are keys"]}),
    )
    context = [{"path": "notes.txt", "content": f"use {TYPED} and {OURS}"}]
    with Served(bench.home, desk, SERVICE_API_KEY=OURS) as server, server.client() as client:
        body = {"task": TASK + OURS, "repo": str(bench.repo.path), "context_files": context}
        thread = client.post("/api/threads", json=body).json()["thread_id"]
        client.post(f"/api/threads/{thread}/messages", json={"text": f"not {OURS}, but {TYPED}"})
        events = Reader(server.url, thread).until("run.finished")
        assert events[-1]["data"]["status"] == "verified", events[-1]
        answers = [
            client.get(path).text
            for path in (
                "/api/threads",
                f"/api/threads/{thread}",
                f"/api/threads/{thread}/diff",
                f"/threads/{thread}",
                f"/threads/{thread}/state",
                f"/threads/{thread}/history",
                f"/threads/{thread}/runs",
            )
        ]
        client.post("/api/threads", json={"task": "x", "repo": f"https://me:{ADDRESS}@[{OURS}"})
    told = bench.autocode("show", thread).output + bench.autocode("threads").output
    sent = "\n".join(request.prompt for request in desk.requests)

    shown = "\n".join([json.dumps(events, ensure_ascii=False), *answers, told])
    for secret in (OURS, TYPED, ADDRESS, TOLD, CONSTANT):
        assert secret not in shown, shown[max(0, shown.find(secret) - 300) :][:400]
        assert not list(_files_with(secret, bench.home, secret in (TOLD, CONSTANT))), secret
        assert secret == CONSTANT or not list(_objects_with(secret, bench.repo)), secret
    assert OURS not in sent and TYPED not in sent and ADDRESS not in sent
    assert CONSTANT in bench.repo.show(f"autocode/{thread}", "service.py"), "files are never altered"


def _files_with(secret: str, home: Path, is_shape: bool) -> Iterator[str]:
    """Name the files of a home that hold a secret in plain, as JSON writes it, or compressed."""
    forms = {secret.encode(), json.dumps(secret)[1:-1].encode()}
    for path in home.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        # Working data of agents holds what a repository or a model says, and a resume needs it whole.
        if is_shape and path.name.startswith("autocode.db"):
            continue
        if any(form in data for form in forms):
            yield str(path.relative_to(home))


def _objects_with(secret: str, repo: GitRepo) -> Iterator[str]:
    """Name the git objects that hold a secret."""
    opened = pygit2.Repository(str(repo.path))
    for id in opened.odb:
        if secret.encode() in opened.odb.read(id)[1]:
            yield str(id)


def test_the_search_would_find_a_secret(tmp_path: Path) -> None:
    (tmp_path / "autocode.db-wal").write_bytes(b"\0" + OURS.encode())
    (tmp_path / "log").write_text(json.dumps({"key": OURS}))
    assert sorted(_files_with(OURS, tmp_path, False)) == ["autocode.db-wal", "log"]
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"a.txt": OURS})
    assert list(_objects_with(OURS, repo))
