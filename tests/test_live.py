"""Indexes that follow their folders: what is noticed, what is passed over, and how they start and end."""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Lock

import pytest
from gitrepo import GitRepo

from memory.embeddings import EmbeddingSettings
from memory.live import LiveIndex, LiveIndexes
from memory.repo_index import Changes, IndexSettings, IndexStatus, RepoIndex
from memory.vectors import VectorStore

FILES: dict[str, str | bytes] = {
    "src/geometry/area.py": "def circle_area(radius):\n    return 3.14159 * radius ** 2\n",
    "src/money/invoice.py": "def total_invoice(lines):\n    return sum(line.price for line in lines)\n",
    ".gitignore": "made/\n",
}


def eventually(found: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 30
    while not found():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "repo")
    made.commit(dict(FILES))
    return made


@pytest.fixture
def settings(tmp_path: Path) -> IndexSettings:
    home = tmp_path / "home"
    return IndexSettings(home / "index", home / "chroma", EmbeddingSettings("hash"))


@pytest.fixture
def live(repo: GitRepo, settings: IndexSettings) -> Iterator[LiveIndex]:
    """A real index that follows the repository."""
    with closing(LiveIndexes(settings, print)) as indexes:
        followed = indexes.of(repo.path)
        followed.watch()
        assert followed.wait(30, vectors=True)
        yield followed


Progress = Callable[[int, int], None]


def ignore(done: int, total: int) -> None:
    """Nobody looks at the progress."""


class Recorder(RepoIndex):
    """An index that only notes what it is asked to look at."""

    lacks_vectors = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[frozenset[str] | None] = []
        self.embedding = Event()
        self.lacks_text = False
        self._lock = Lock()

    def refresh(
        self, paths: Collection[str] | None = None, progress: Progress = ignore, wait: float = 0.0
    ) -> Changes:
        with self._lock:
            self.asked.append(None if paths is None else frozenset(paths))
        return Changes()

    def embed(
        self, progress: Progress = ignore, stop: Callable[[], bool] = lambda: False, wait: float = 0.0
    ) -> None:
        self.embedding.set()

    def status(self) -> IndexStatus:
        return IndexStatus(0, 0, 1.0, "text and vectors", "")

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def recorder(repo: GitRepo) -> Iterator[Recorder]:
    """A recorder that follows the repository, its first looks forgotten."""
    recorder = Recorder(repo.path)
    with closing(LiveIndex(recorder, print)) as live:
        live.start().watch()
        eventually(lambda: len(recorder.asked) >= 2, "a look when it is watched")
        recorder.asked.clear()
        yield recorder


def asked_after(recorder: Recorder, repo: GitRepo) -> list[frozenset[str] | None]:
    """What was looked at before a last edit was."""
    last = frozenset({"last.py"})
    repo.put("last.py", "x = 1\n")
    eventually(lambda: bool(recorder.asked) and "last.py" in (recorder.asked[-1] or last), "the last edit")
    recorder.asked[-1] = (recorder.asked[-1] or last) - last
    return [asked for asked in recorder.asked if asked != frozenset()]


def paths(live: LiveIndex, query: str) -> list[str]:
    return [snippet.path for snippet in live.index.search(query, 3)]


def test_edits_renames_and_deletions_are_found_as_they_happen(repo: GitRepo, live: LiveIndex) -> None:
    repo.put("src/geometry/area.py", "def zebra_crossing():\n    return 1\n")
    eventually(lambda: paths(live, "zebra crossing")[:1] == ["src/geometry/area.py"], "an edit")
    fresh = repo.put("src/geometry/.area.py.tmp", "def quokka_smile():\n    return 2\n")
    os.replace(fresh, repo.path / "src/geometry/area.py")
    eventually(lambda: paths(live, "quokka smile")[:1] == ["src/geometry/area.py"], "an atomic save")
    (repo.path / "src/money/invoice.py").rename(repo.path / "src/money/bill.py")
    eventually(lambda: paths(live, "total invoice")[:1] == ["src/money/bill.py"], "a rename")
    (repo.path / "src/money").rename(repo.path / "src/cash")
    eventually(lambda: paths(live, "total invoice")[:1] == ["src/cash/bill.py"], "a folder's move")
    repo.put("new/deep/er/axolotl.py", "def axolotl_gills():\n    return 3\n")
    eventually(lambda: paths(live, "axolotl gills")[:1] == ["new/deep/er/axolotl.py"], "a new folder")
    repo.put("new/deep/er/axolotl.py", "def walrus_tusk():\n    return 3\n")
    eventually(lambda: paths(live, "walrus tusk")[:1] == ["new/deep/er/axolotl.py"], "an edit within it")
    shutil.rmtree(repo.path / "src")
    eventually(lambda: not {"src/cash/bill.py"} & set(paths(live, "total invoice")), "a deletion")
    assert live.wait(30, vectors=True)
    assert live.status().engine == "text and vectors" and live.status().embedded == 1


def test_what_only_reads_or_is_not_indexed_triggers_nothing(recorder: Recorder, repo: GitRepo) -> None:
    for file in repo.path.rglob("*"):
        if file.is_file():
            file.read_bytes()
    repo.git("commit", "-q", "--allow-empty", "-m", "nothing")
    repo.put("node_modules/left/pad.js", "x")
    repo.put("src/__pycache__/area.pyc", "x")
    repo.put("src/geometry/.area.py.swp", "x")
    repo.put("src/geometry/picture.png", "x")
    assert asked_after(recorder, repo) == []


def test_one_edit_is_one_look_at_its_path(recorder: Recorder, repo: GitRepo) -> None:
    for word in ("a", "ab", "abc"):
        repo.put("src/geometry/area.py", f"{word} = 1\n")
    assert {path for asked in asked_after(recorder, repo) for path in asked or ("all",)} == {
        "src/geometry/area.py"
    }


@pytest.mark.parametrize("what", ["many", "moved", "ignore"])
def test_some_changes_are_worth_a_look_at_everything(recorder: Recorder, repo: GitRepo, what: str) -> None:
    if what == "many":
        for number in range(300):
            repo.put(f"src/geometry/m{number}.py", "x = 1\n")
    elif what == "moved":
        (repo.path / "src/money").rename(repo.path / "src/cash")
    else:
        repo.put(".gitignore", "src/\n")
    eventually(lambda: None in recorder.asked, "a look at everything")


def test_a_folder_made_later_is_watched_and_a_vanished_root_comes_back(repo: GitRepo) -> None:
    said: list[str] = []
    recorder = Recorder(repo.path)
    with closing(LiveIndex(recorder, said.append)) as live:
        live.start().watch()
        eventually(lambda: len(recorder.asked) >= 2, "a look when it is watched")
        aside = repo.path.rename(repo.path.with_name("aside"))
        eventually(lambda: any("is gone" in text for text in said), "the note that it is gone")
        assert "is gone" in live.status().note
        recorder.asked.clear()
        shutil.copytree(aside, repo.path)
        eventually(lambda: recorder.asked[:1] == [None], "a look when it is back")
        eventually(lambda: live.status().note == "", "a clean status")
        repo.put("src/geometry/area.py", "back = 1\n")
        eventually(lambda: frozenset({"src/geometry/area.py"}) in recorder.asked, "an edit after that")
    assert len(said) == 1


def test_closing_ends_an_embedding_that_is_under_way(repo: GitRepo) -> None:
    class Slow(Recorder):
        def embed(
            self, progress: Progress = ignore, stop: Callable[[], bool] = lambda: False, wait: float = 0.0
        ) -> None:
            self.embedding.set()
            eventually(stop, "the stop")

    slow = Slow(repo.path)
    live = LiveIndex(slow, print).start()
    assert slow.embedding.wait(30) and not live.wait(0, vectors=True)
    live.close()


def test_a_failure_is_said_once_and_tried_again(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.live.live_index.POLL_SECONDS", 0.1)
    monkeypatch.setattr("memory.live.live_index.CHECK_SECONDS", 0.1)
    said: list[str] = []

    class Failing(Recorder):
        def refresh(
            self, paths: Collection[str] | None = None, progress: Progress = ignore, wait: float = 0.0
        ) -> Changes:
            super().refresh(paths, progress)
            if len(self.asked) < 4:
                raise OSError("no space left on device")
            return Changes()

    failing = Failing(repo.path)
    with closing(LiveIndex(failing, said.append)) as live:
        assert live.start().wait(30)
        assert said == [f"the index of {repo.path} is not up to date: no space left on device"]


def test_text_goes_on_while_another_owns_the_vectors_and_they_follow(
    repo: GitRepo, settings: IndexSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.live.live_index.RETRY_SECONDS", (0.1, 0.1))
    monkeypatch.setattr("memory.live.live_index.CHECK_SECONDS", 0.1)
    said: list[str] = []
    other = VectorStore(settings.chroma)
    other.open()
    with closing(VectorStore(settings.chroma, notify=said.append, cool_down=0)) as pool:
        index = RepoIndex(repo.path, settings, pool.collection)
        with closing(LiveIndex(index, said.append)) as live:
            assert live.start().wait(30)
            eventually(lambda: "in use by" in live.status().note, "the note")
            assert live.status().engine == "text" and not live.wait(0, vectors=True)
            assert paths(live, "circle area")[:1] == ["src/geometry/area.py"]
            other.close()
            assert live.wait(30, vectors=True)
            assert live.status().engine == "text and vectors" and live.status().note == ""
            assert "similarity" in index.search("circle area", 1)[0].why
    assert len(said) == 2


def test_damaged_vectors_are_made_anew_from_the_index(repo: GitRepo, settings: IndexSettings) -> None:
    said: list[str] = []
    for _ in range(2):
        with closing(LiveIndexes(settings, said.append)) as indexes:
            live = indexes.of(repo.path)
            assert live.wait(30, vectors=True)
            assert "similarity" in live.index.search("circle area", 1)[0].why
        (settings.chroma / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    assert len(said) == 1 and "damaged" in said[0]


def test_one_folder_has_one_live_index(repo: GitRepo, settings: IndexSettings) -> None:
    with closing(LiveIndexes(settings, print)) as indexes:
        assert indexes.of(repo.path) is indexes.of(repo.path / "src" / "..")


def test_an_index_found_damaged_is_read_again_while_it_follows(
    live: LiveIndex, repo: GitRepo, settings: IndexSettings
) -> None:
    (file,) = settings.folder.glob("*.db")
    live.index.replace(live.index.store, "it was damaged")
    assert file.exists() and live.index.lacks_text
    eventually(lambda: live.status().files == 2 and live.index.search("circle area", 1) != [], "read again")
    assert "it was damaged" in live.status().note


def test_a_slowed_index_reads_all_and_closes_at_once(
    repo: GitRepo, settings: IndexSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.live.pace.QUICK_SECONDS", 0.0)
    repo.commit({f"src/many/m{number}.py": f"def value_{number}():\n    pass\n" for number in range(150)})
    with closing(LiveIndexes(settings, print, share=0.5)) as indexes:
        live = indexes.of(repo.path)
        assert live.wait(60) and live.status().files == 152
    shutil.rmtree(settings.folder)
    with closing(LiveIndexes(settings, print, share=0.0001)) as indexes:
        live = indexes.of(repo.path)
        assert not live.wait(1), "the folder was read at full speed"
        began = time.monotonic()
    assert time.monotonic() - began < 3
