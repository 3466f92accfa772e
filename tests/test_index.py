"""The command index, as it is typed."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli.app import app


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of this test's own, and no settings from outside."""
    for name in ("EMBEDDINGS_MODEL_DIR", "REPO_INDEX_PATH", "CHROMA_HOST", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "empty.env").touch()
    monkeypatch.setenv("AUTOCODE_ENV_FILE", str(tmp_path / "empty.env"))
    monkeypatch.setenv("AUTOCODE_HOME", str(tmp_path / "place"))
    monkeypatch.setenv("EMBEDDINGS", "hash")


def autocode(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["index", *map(str, arguments)])


def test_a_folder_is_indexed_and_searched(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "cart.py").write_text("def total_price(items):\n    return sum(items)  # \x1b[31m\n")
    (repo / "login.go").write_text("package x\n\nfunc (u *User) Login() {}\n")
    done = autocode(repo, "--search", "the total price")
    assert done.exit_code == 0, done.stderr
    assert re.search(
        r"^cart\.py:1-2  total_price  [01]\.\d+  words: total, price; similarity", done.stdout, re.M
    )
    assert (
        "2 files" in done.stdout and "(2 changed, 0 gone)" in done.stdout and "EMBEDDINGS=hash" in done.stdout
    )
    assert "files: 2 of 2" in done.stderr and "\x1b" not in done.stdout
    again = autocode(repo)
    assert "(0 changed, 0 gone); 100% with vectors" in again.stdout


def test_a_folder_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    done = autocode(tmp_path / "gone")
    assert done.exit_code == 2 and "there is no folder" in done.stderr and done.stderr.count("\n") == 1


def test_what_is_damaged_is_built_anew_and_said_once(tmp_path: Path) -> None:
    repo, place = tmp_path / "repo", tmp_path / "place"
    repo.mkdir()
    for number in range(80):
        (repo / f"cart{number}.py").write_text(f"def total_price{number}(items):\n    return {number}\n")
    assert autocode(repo).exit_code == 0
    (place / "chroma/chroma.sqlite3").write_bytes(b"damage" * 9_000)
    (index,) = (place / "index").glob("*.db")
    index.write_bytes(index.read_bytes()[:8192] + b"\xee" * 90_000)
    done = autocode(repo, "--search", "the total price")
    assert done.exit_code == 0, done.stderr
    assert "100% with vectors" in done.stdout and "similarity" in done.stdout
    assert done.stderr.count("the index was damaged") == 1
    assert done.stderr.count("the store of vectors was damaged") == 1
