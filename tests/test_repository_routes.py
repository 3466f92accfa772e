"""Routes that complete folders and find files: what they show, and what they keep to themselves."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from gitrepo import GitRepo
from served import Served

from graph.settings import Settings
from memory.records.journal import Journal
from nodes.events import EVENT
from server.app import create_app


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of repositories, with neighbours that it must not show."""
    GitRepo(tmp_path / "repos" / "shop").commit({"src/cart.py": "", "README.md": "", "cart.md": ""})
    GitRepo(tmp_path / "repos" / "Shoes")
    (tmp_path / "repos" / "plain" / "inner").mkdir(parents=True)
    (tmp_path / "repos" / ".hidden").mkdir()
    (tmp_path / "repos" / "bad\nname").mkdir()
    (tmp_path / "repos" / "notes.txt").touch()
    GitRepo(tmp_path / "secret")
    (tmp_path / "repos" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "repos"


async def ask(home: Path, root: Path | None, route: str, **parameters: str) -> Any:
    """Ask a server whose AUTOCODE_REPOS is `root`."""
    settings = Settings.load(autocode_home=home, autocode_repos=str(root) if root else "")
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            answer = await client.get(f"/api/repositories{route}", params=parameters)
            return answer.json() if answer.is_success else answer.status_code


async def test_paths_and_words_are_completed_to_folders_repositories_first(
    root: Path, tmp_path: Path
) -> None:
    async def names(path: str) -> list[tuple[str, bool]]:
        folders = await ask(tmp_path / "home", root, "", path=path)
        return [(Path(folder["path"]).name, folder["repository"]) for folder in folders]

    assert await names("") == [("Shoes", True), ("shop", True), ("plain", False)]
    assert await names("sho") == await names(f"{root}/sho") == [("Shoes", True), ("shop", True)]
    assert await names(f"{root}/plain/") == [("inner", False)]
    assert await names(f"{root}/.h") == [(".hidden", False)]
    assert await names(f"{root}/nowhere/") == await names("~nobody/x") == await names("a\0b") == []


async def test_nothing_outside_the_allowed_folders_is_listed(root: Path, tmp_path: Path) -> None:
    for path in ("/", f"{tmp_path}/", f"{root}/../", f"{root}/../sec", f"{root}/link/", "/etc/"):
        found = await ask(tmp_path / "home", root, "", path=path)
        assert {folder["path"].rpartition("/")[2] for folder in found} <= {
            "repos",
            "shop",
            "Shoes",
            "plain",
        }, path
    assert await ask(tmp_path / "home", root, "/files", repo=str(tmp_path / "secret")) == 403
    assert [folder["path"] for folder in await ask(tmp_path / "home", None, "", path=f"{tmp_path}/sec")]


async def test_files_are_found_by_words_of_their_paths(root: Path, tmp_path: Path) -> None:
    async def files(repo: str, words: str = "") -> Any:
        return await ask(tmp_path / "home", root, "/files", repo=str(root / repo), words=words)

    assert await files("shop") == ["cart.md", "README.md", "src/cart.py"]
    assert await files("shop", "CART py") == ["src/cart.py"]
    assert await files("Shoes") == [] and await files("plain") in (403, 422)


async def test_a_thread_is_renamed_and_its_result_is_applied_once_and_only_if_it_is_meant(
    served: Served, repo: GitRepo
) -> None:
    with served.client() as client:

        def run(task: str) -> str:
            body = {"task": task, "repo": str(repo.path), "options": {"max_review_rounds": 0}}
            done = client.post("/api/agent/run", json=body).json()
            return str(done["thread_id"])

        thread = run("Add mul")
        client.patch(f"/threads/{thread}", json={"metadata": {"title": "Multiplication" * 99}})
        title = client.get(f"/api/threads/{thread}").json()["title"]
        assert title.startswith("Multiplication") and len(title) == 200
        client.patch(f"/threads/{thread}", json={"metadata": {"title": ["no text"]}})
        assert client.get(f"/api/threads/{thread}").json()["title"] == ""
        applied = client.post(f"/api/threads/{thread}/apply").json()["paths"]
        assert applied == ["calc.py", "tests/test_mul.py"]
        assert client.post(f"/api/threads/{thread}/apply").json() == {"paths": []}
        repo.commit()
        repo.git("reset", "-q", "--hard", "HEAD^")
        weak = run("Add mul with a grudge")
        refused = client.post(f"/api/threads/{weak}/apply", json={})
        assert refused.status_code == 409 and "is not verified" in refused.json()["detail"]
        meant = client.post(f"/api/threads/{weak}/apply", json={"unverified": True})
        assert meant.json()["paths"] == applied
        assert client.post("/api/threads/nobody/apply").status_code == 404


async def test_a_result_of_the_command_line_is_not_applied_where_the_server_must_not_write(
    tmp_path: Path,
) -> None:
    GitRepo(tmp_path / "elsewhere").commit()
    settings = Settings.load(autocode_home=tmp_path / "home", autocode_repos=str(tmp_path / "repos"))
    journal = await Journal.open(settings.database, EVENT.validate_python)
    await journal.threads.create("t", {}, str(tmp_path / "elsewhere"))
    await journal.aclose()
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            assert (await client.post("/api/threads/t/apply")).status_code == 403
