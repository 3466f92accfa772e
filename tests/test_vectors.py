"""Vectors in Chroma: one owner, damage that is set aside, churn, and a server that comes and goes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from memory.vectors import Collection, Shelf, Vectors, VectorsUnavailable, collection_name
from memory.vectors.client import embedded

SIZE = 8
OWN = """
import sys
from pathlib import Path
from memory.vectors import Vectors
vectors = Vectors.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1."""
    found = np.random.default_rng(seed).normal(size=(count, SIZE))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def fill(collection: Collection, count: int, seed: int = 0) -> list[str]:
    """Add so many vectors; enough of them, and Chroma writes its index to files."""
    ids = [f"{seed}-{number}" for number in range(count)]
    collection.upsert(ids, rows(count, seed))
    return ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "chroma"


@pytest.fixture
def filled(folder: Path) -> Path:
    """A closed store with one collection, large enough to have an index in files."""
    with closing(Vectors.open(folder)) as vectors:
        fill(vectors.collection("code", SIZE), 1_100)
    return folder


def test_names_are_valid_and_different_parts_never_share_one() -> None:
    parts = [
        ("code", "minilm-384"),
        ("code", "minilm/384"),
        ("code", "x" * 600),
        ("code", "x" * 601),
        ("..",),
    ]
    names = [collection_name(*each) for each in [*parts, ("a", "b"), ("", "é"), ("", "è")]]
    assert len(set(names)) == len(names)
    assert all(3 <= len(name) <= 512 and name[0].isalnum() and name[-1].isalnum() for name in names)
    assert names[0] == "code_minilm-384"


def test_the_nearest_come_first_and_what_is_deleted_is_gone(folder: Path) -> None:
    with closing(Vectors.open(folder)) as vectors:
        collection = vectors.collection("code", SIZE)
        collection.upsert(
            ["x", "y", "back"], np.vstack([np.eye(2, SIZE), -np.eye(1, SIZE)]).astype(np.float32)
        )
        collection.upsert(["x"], np.eye(1, SIZE, 3, dtype=np.float32))
        asked = np.eye(1, SIZE, dtype=np.float32)[0]
        assert collection.query(asked, 9)[0] == ("x", 1.0)
        collection.delete(["x", "never there"])
        assert collection.ids() == {"y", "back"} and collection.count() == 2
        assert [name for name, _ in collection.query(asked, 1)] != ["x"]
        assert vectors.collection("empty", SIZE).query(asked, 5) == []
        for wrong in (np.ones((1, SIZE + 1)), np.full((1, SIZE), np.nan)):
            with pytest.raises(ValueError, match="finite vectors of 8"):
                collection.upsert(["z"], wrong.astype(np.float32))


def test_what_was_closed_is_opened_again_as_it_was(filled: Path) -> None:
    with closing(Vectors.open(filled)) as vectors:
        assert vectors.note == ""
        collection = vectors.collection("code", SIZE)
        assert len(collection.ids()) == 1_100
        assert collection.query(rows(1_100)[7], 1)[0][0] == "0-7"


def test_threads_share_one_store(folder: Path) -> None:
    with closing(Vectors.open(folder)) as vectors:
        opened = [vectors.collection("code", SIZE) for _ in range(2)]
        assert opened[0] is opened[1]
        threads = [Thread(target=fill, args=(opened[0], 120, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            opened[0].query(rows(1)[0], 3)
        assert opened[0].count() == 480


@pytest.fixture
def owner(filled: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store open."""
    with subprocess.Popen(
        [sys.executable, "-c", OWN, str(filled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_owns_the_store_and_gets_it_after_a_kill(
    filled: Path, owner: subprocess.Popen[str]
) -> None:
    heard: list[str] = []
    with closing(Shelf(filled, say=heard.append, cool_down=0)) as shelf:
        for _ in range(2):
            with pytest.raises(VectorsUnavailable, match=f"process {owner.pid} on {socket.gethostname()}"):
                shelf.collection("code", SIZE)
        assert len(heard) == 1 and "full text is searched without vectors" in heard[0]
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert shelf.collection("code", SIZE).count() == 1_100
        assert heard[1:] == ["vectors can be searched again"]


def test_a_refused_store_is_not_tried_again_at_once(filled: Path, owner: subprocess.Popen[str]) -> None:
    with closing(Shelf(filled, cool_down=3600)) as shelf:
        with pytest.raises(VectorsUnavailable):
            shelf.collection("code", SIZE)
        owner.kill()
        owner.wait()
        with pytest.raises(VectorsUnavailable, match=f"process {owner.pid}"):
            shelf.collection("code", SIZE)


def _garbage(folder: Path) -> None:
    (folder / "chroma.sqlite3").write_bytes(b"garbage" * 1000)


def _no_segment(folder: Path) -> None:
    for file in folder.glob("*/*.bin"):
        file.unlink()


def _cut(folder: Path) -> None:
    database = folder / "chroma.sqlite3"
    os.truncate(database, database.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_garbage, _no_segment, _cut])
def test_a_damaged_store_is_set_aside_and_a_new_one_works(
    filled: Path, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    damage(filled)
    with closing(Vectors.open(filled)) as vectors:
        aside = list(filled.parent.glob("chroma.damaged-*"))
        assert "damaged" in vectors.note and len(aside) == 1 and str(aside[0]) in vectors.note
        collection = vectors.collection("code", SIZE)
        assert collection.ids() == set()
        fill(collection, 10)
        assert collection.count() == 10
    assert capfd.readouterr() == ("", "")


def test_a_store_that_every_process_dies_with_is_not_trusted_for_ever(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.vectors.folder.TRIES", 2)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", OWN, str(filled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout and process.stdout.readline() == "open\n"
            process.kill()
    with closing(Vectors.open(filled)) as vectors:
        assert "2 processes in a row" in vectors.note


def test_a_failure_in_use_costs_the_store_and_the_next_one_mends_it(filled: Path) -> None:
    heard: list[str] = []
    with closing(Shelf(filled, say=heard.append, cool_down=0)) as shelf:
        collection = shelf.collection("code", SIZE)
        _no_segment(filled)
        _garbage(filled)
        with pytest.raises(VectorsUnavailable):
            for seed in range(50):
                fill(collection, 1_000, seed + 1)
        with pytest.raises(VectorsUnavailable):
            collection.count()
        assert shelf.collection("code", SIZE).ids() == set()
    assert any("damaged" in text for text in heard)


def test_a_folder_that_cannot_be_written_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(VectorsUnavailable, match="cannot be written"):
        Vectors.open(tmp_path / "home" / "chroma")


def test_a_collection_is_built_anew_when_deletions_pile_up(folder: Path) -> None:
    with closing(Vectors.open(folder)) as vectors:
        collection = vectors.collection("code", SIZE)
        ids = fill(collection, 1_900)
        collection.delete(ids[:900])
        assert not collection.tidy()
        collection.delete(ids[900:1_100])
        assert not collection.tidy(stop=lambda: True)
        assert collection.count() == 800
        assert collection.tidy() and not collection.tidy()
        assert collection.ids() == set(ids[1_100:])
        assert collection.query(rows(1_900)[1_500], 1)[0][0] == "0-1500"
    before = len(list(folder.iterdir()))
    with closing(Vectors.open(folder)) as vectors:
        assert vectors.note == "" and vectors.collection("code", SIZE).ids() == set(ids[1_100:])
        assert len(list(folder.iterdir())) <= before


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("code", "code.fresh"), "code"),
        (("code.fresh", "code.old"), "code.fresh"),
        (("code", "code.old"), "code"),
    ],
)
def test_a_rebuild_that_was_cut_short_is_ended(folder: Path, names: tuple[str, ...], kept: str) -> None:
    folder.mkdir(parents=True)
    client = embedded(folder)
    for name in names:
        made = client.create_collection(name, embedding_function=None)
        made.add(ids=[name], embeddings=rows(1))
    client.close()
    with closing(Vectors.open(folder)) as vectors:
        assert vectors.collection("code", SIZE).ids() == {kept}
        assert [each.name for each in vectors.client.list_collections()] == ["code"]


def test_a_wrong_env_file_where_we_are_is_named_without_its_values(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CHROMA_SERVER_HTTP_PORT=hunter2\n")
    code = "from pathlib import Path; from memory.vectors import *; Vectors.open(Path('home').absolute())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "VectorsUnavailable: Chroma does not start with CHROMA_SERVER_HTTP_PORT" in done.stderr


class Server:
    """A real Chroma server on a port of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = Path(sys.executable).with_name("chroma")
        command = [
            str(program),
            "run",
            "--path",
            str(self._folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("the server does not answer")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    served = Server(tmp_path / "served")
    yield served
    served.kill()


def test_a_server_may_be_missing_go_away_and_come_back(server: Server, tmp_path: Path) -> None:
    heard: list[str] = []
    with closing(Shelf(tmp_path, "127.0.0.1", server.port, heard.append, cool_down=0)) as shelf:
        with pytest.raises(VectorsUnavailable, match=f"server at 127.0.0.1:{server.port}"):
            shelf.collection("code", SIZE)
        server.start()
        collection = shelf.collection("code", SIZE)
        ids = fill(collection, 120)
        assert collection.query(rows(120)[3], 1)[0][0] == ids[3]
        server.kill()
        with pytest.raises(VectorsUnavailable):
            collection.query(rows(1)[0], 1)
        with pytest.raises(VectorsUnavailable):
            shelf.collection("code", SIZE)
        server.start()
        assert shelf.collection("code", SIZE).ids() == set(ids)
        assert [text.startswith("the Chroma server") for text in heard] == [True, False, True, False]
