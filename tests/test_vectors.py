"""Vectors in Chroma: one owner, damage that is rebuilt, churn, and a server that comes and goes."""

import json
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
from forking import Forked
from numpy.typing import NDArray

from memory.vectors import Collection, VectorStore, VectorsUnavailable, collection_name

SIZE = 8
OWN = """
import sys
from pathlib import Path
from memory.vectors import VectorStore
vectors = VectorStore(Path(sys.argv[1]))
vectors.open()
print("open", flush=True)
sys.stdin.read()
"""
WRITE = "vectors.collection('code', 8).upsert(['x'], __import__('numpy').ones((1, 8), 'float32'))\n"


def opened(folder: Path) -> VectorStore:
    """A store that is open."""
    store = VectorStore(folder)
    store.open()
    return store


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
    with closing(opened(folder)) as vectors:
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
    with closing(opened(folder)) as vectors:
        collection = vectors.collection("code", SIZE)
        collection.upsert(
            ["x", "y", "back"], np.vstack([np.eye(2, SIZE), -np.eye(1, SIZE)]).astype(np.float32)
        )
        collection.upsert(["x"], np.eye(1, SIZE, 3, dtype=np.float32))
        asked = np.eye(1, SIZE, dtype=np.float32)[0]
        assert collection.query(asked, 9)[0] == ("x", 1.0)
        collection.delete(["x", "never there"])
        assert collection.ids() == {"y", "back"}
        assert [name for name, _ in collection.query(asked, 1)] != ["x"]
        assert vectors.collection("empty", SIZE).query(asked, 5) == []
        for wrong in (np.ones((1, SIZE + 1)), np.full((1, SIZE), np.nan)):
            with pytest.raises(ValueError, match="finite vectors of 8"):
                collection.upsert(["z"], wrong.astype(np.float32))


def test_what_was_closed_is_opened_again_as_it_was(filled: Path) -> None:
    with closing(opened(filled)) as vectors:
        assert vectors.note == ""
        collection = vectors.collection("code", SIZE)
        assert len(collection.ids()) == 1_100
        assert collection.query(rows(1_100)[7], 1)[0][0] == "0-7"


def test_threads_share_one_store(folder: Path) -> None:
    with closing(opened(folder)) as vectors:
        collection = vectors.collection("code", SIZE)
        assert vectors.collection("code", SIZE) is collection
        threads = [Thread(target=fill, args=(collection, 120, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            collection.query(rows(1)[0], 3)
        assert len(collection.ids()) == 480


@pytest.fixture
def owner(filled: Path) -> Iterator[Forked]:
    """Another process that has the store open."""
    with Forked(
        ["-c", OWN, filled], env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_owns_the_store_and_gets_it_after_a_kill(
    filled: Path, owner: Forked
) -> None:
    heard: list[str] = []
    with closing(VectorStore(filled, notify=heard.append, cool_down=0)) as pool:
        for _ in range(2):
            with pytest.raises(VectorsUnavailable, match=f"process {owner.pid} on {socket.gethostname()}"):
                pool.collection("code", SIZE)
        assert len(heard) == 1 and "full text is searched without vectors" in heard[0]
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert len(pool.collection("code", SIZE).ids()) == 1_100
        assert heard[1:] == ["vectors can be searched again"]


def test_a_refused_store_is_not_tried_again_at_once(filled: Path, owner: Forked) -> None:
    with closing(VectorStore(filled, cool_down=3600)) as pool:
        with pytest.raises(VectorsUnavailable):
            pool.collection("code", SIZE)
        owner.kill()
        owner.wait()
        with pytest.raises(VectorsUnavailable, match=f"process {owner.pid}"):
            pool.collection("code", SIZE)


def _garbage(folder: Path) -> None:
    (folder / "chroma.sqlite3").write_bytes(b"garbage" * 1000)


def _no_segment(folder: Path) -> None:
    for file in folder.glob("*/*.bin"):
        file.unlink()


def _cut(folder: Path) -> None:
    database = folder / "chroma.sqlite3"
    os.truncate(database, database.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_garbage, _no_segment, _cut])
def test_a_damaged_store_is_deleted_and_a_new_one_works(
    filled: Path, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    damage(filled)
    with closing(opened(filled)) as vectors:
        assert "damaged" in vectors.note and str(filled) in vectors.note
        collection = vectors.collection("code", SIZE)
        assert collection.ids() == set()
        fill(collection, 10)
        assert len(collection.ids()) == 10
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("writes", [False, True])
def test_a_store_is_rebuilt_only_if_a_process_was_killed_after_it_wrote(filled: Path, writes: bool) -> None:
    code = OWN.replace("print", WRITE + "print") if writes else OWN
    with Forked(
        ["-c", code, filled], env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdout.readline() == "open\n"
        process.kill()
    with closing(opened(filled)) as vectors:
        assert ("not closed properly" in vectors.note) == writes
        assert len(vectors.collection("code", SIZE).ids()) == (0 if writes else 1_100)


def test_files_of_another_version_of_chroma_are_rebuilt(filled: Path) -> None:
    sealed = json.loads((filled / "autocode.json").read_text())
    (filled / "autocode.json").write_text(json.dumps(sealed | {"chromadb": "0.1"}))
    with closing(opened(filled)) as vectors:
        assert vectors.note != "" and vectors.collection("code", SIZE).ids() == set()


def test_a_failure_in_use_costs_the_store_and_the_next_one_mends_it(filled: Path) -> None:
    heard: list[str] = []
    with closing(VectorStore(filled, notify=heard.append, cool_down=0)) as pool:
        collection = pool.collection("code", SIZE)
        _no_segment(filled)
        _garbage(filled)
        with pytest.raises(VectorsUnavailable):
            for seed in range(50):
                fill(collection, 1_000, seed + 1)
        with pytest.raises(VectorsUnavailable):
            collection.ids()
        assert pool.collection("code", SIZE).ids() == set()
    assert any("damaged" in text for text in heard)


def test_a_folder_that_cannot_be_written_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(VectorsUnavailable, match="cannot be written"):
        opened(tmp_path / "home" / "chroma")


def test_a_collection_is_emptied_when_deletions_pile_up(folder: Path) -> None:
    with closing(opened(folder)) as vectors:
        collection = vectors.collection("code", SIZE)
        ids = fill(collection, 1_900)
        collection.delete(ids[:900])
        assert not collection.reset_if_worn()
        collection.delete(ids[900:1_100])
        assert len(collection.ids()) == 800
        assert collection.reset_if_worn() and not collection.reset_if_worn()
        assert collection.ids() == set() and collection.query(rows(1)[0], 1) == []
        fill(collection, 1_200, seed=1)
        assert collection.query(rows(1_200, 1)[500], 1)[0][0] == "1-500"
    before = len(list(folder.iterdir()))
    with closing(opened(folder)) as vectors:
        assert vectors.note == "" and len(vectors.collection("code", SIZE).ids()) == 1_200
        assert len(list(folder.iterdir())) < before, "Chroma leaves the files of deleted collections"


@pytest.mark.parametrize(("names", "kept"), [(("code", "code.old"), {"code"}), (("code.old",), set[str]())])
def test_a_reset_that_was_cut_short_is_finished(folder: Path, names: tuple[str, ...], kept: set[str]) -> None:
    with closing(opened(folder)) as vectors:
        for name in names:
            assert vectors.client
            made = vectors.client.create_collection(name, embedding_function=None)
            made.add(ids=[name], embeddings=rows(1))
        assert vectors.collection("code", SIZE).ids() == kept
        assert vectors.client
        assert [each.name for each in vectors.client.list_collections()] == ["code"]


def test_a_wrong_env_file_where_we_are_is_named_without_its_values(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CHROMA_SERVER_HTTP_PORT=hunter2\n")
    code = (
        "from pathlib import Path; from memory.vectors import *; VectorStore(Path('home').absolute()).open()"
    )
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
    with closing(VectorStore(tmp_path, "127.0.0.1", server.port, heard.append, cool_down=0)) as pool:
        with pytest.raises(VectorsUnavailable, match=f"server at 127.0.0.1:{server.port}"):
            pool.collection("code", SIZE)
        server.start()
        collection = pool.collection("code", SIZE)
        ids = fill(collection, 120)
        assert collection.query(rows(120)[3], 1)[0][0] == ids[3]
        server.kill()
        with pytest.raises(VectorsUnavailable):
            collection.query(rows(1)[0], 1)
        with pytest.raises(VectorsUnavailable):
            pool.collection("code", SIZE)
        server.start()
        assert pool.collection("code", SIZE).ids() == set(ids)
        assert [text.startswith("the Chroma server") for text in heard] == [True, False, True, False]
