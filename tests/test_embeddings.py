"""Texts as vectors: what each embedder promises, and which one is chosen."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory.embeddings import EmbeddingError, EmbeddingSettings, choose, open_embedder
from memory.embeddings.minilm import CHROMA_CACHE, is_model, load

TEXTS = ["def read_file(path): return open(path)", "readFile", "close the socket", "", "größe 漢字"]
MODEL = Path(os.environ.get("TEST_MODEL_DIR") or Path.home() / CHROMA_CACHE)


class OpenAi:
    """A server that speaks OpenAI's wire for embeddings: `failures` are the status codes it begins with."""

    def __init__(self) -> None:
        self.failures: list[int] = []
        self.asked: list[dict[str, Any]] = []
        self.length = 1536
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                desk.asked.append(body | {"key": self.headers["Authorization"]})
                status = desk.failures.pop(0) if desk.failures else 200
                rows = [
                    {
                        "object": "embedding",
                        "index": number,
                        "embedding": [float(len(text) + 1), 1.0] + [0.0] * (desk.length - 2),
                    }
                    for number, text in enumerate(body["input"])
                ]
                answer: dict[str, Any] = {"object": "list", "model": body["model"], "data": rows[::-1]}
                answer["usage"] = {"prompt_tokens": 1, "total_tokens": 1}
                data = json.dumps(answer if status == 200 else {"error": {"message": "sk-secret-key is bad"}})
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def openai() -> Iterator[OpenAi]:
    served = OpenAi()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model in anybody's cache."""
    monkeypatch.setenv("HOME", str(tmp_path))


def hosted(openai: OpenAi) -> EmbeddingSettings:
    return EmbeddingSettings("openai", openai_key="sk-secret-key", openai_url=openai.url)


def test_hashed_words_need_nothing_and_are_the_same_in_every_process() -> None:
    embedder = open_embedder(EmbeddingSettings("hash"))
    rows = embedder.embed(TEXTS)
    assert rows.shape == (5, 4096) and rows.dtype == np.float32 and embedder.key == "hash-4096"
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0, 1])
    assert rows[0] @ rows[1] > 0.5 > rows[0] @ rows[2]
    program = (
        "from memory.embeddings import *; import sys; "
        "print(open_embedder(EmbeddingSettings('hash')).embed([sys.argv[1]])[0].nonzero()[0].tolist())"
    )
    root = Path(__file__).parent.parent
    env = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program, TEXTS[0]], env=env, capture_output=True, check=True)
    assert json.loads(done.stdout) == rows[0].nonzero()[0].tolist()


def test_minilm_gives_a_text_the_same_vector_in_any_company() -> None:
    if not is_model(MODEL):
        # Some 24 MB of another's work that a clone does not bring; .ci/run names a folder that has them.
        pytest.skip("MiniLM is not on this machine; TEST_MODEL_DIR names it")
    embedder = open_embedder(EmbeddingSettings("auto", MODEL))
    rows = embedder.embed([*TEXTS, "word " * 1_000])
    assert rows.shape == (6, 384) and embedder.key.startswith("minilm-384")
    assert str(MODEL) in choose(EmbeddingSettings("auto", MODEL)).why
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(rows[2], embedder.embed([TEXTS[2]])[0], atol=0.05)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]


def test_openai_is_asked_in_batches_and_again_after_a_failure_that_passes(openai: OpenAi) -> None:
    openai.failures = [429, 500]
    embedder = open_embedder(hosted(openai))
    texts = ["x" * number for number in range(300)]
    rows = embedder.embed(texts)
    assert rows.shape == (300, 1536) and np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert rows[299, 0] > rows[3, 0] > rows[1, 0]
    assert [len(one["input"]) for one in openai.asked] == [256, 256, 256, 44]
    assert all(text for one in openai.asked for text in one["input"])
    assert {one["key"] for one in openai.asked} == {"Bearer sk-secret-key"}
    embedder.embed(["y" * 100_000])
    assert len(openai.asked[-1]["input"][0]) < 10_000


def test_what_openai_refuses_is_told_without_the_key(openai: OpenAi) -> None:
    openai.failures = [401]
    with pytest.raises(EmbeddingError, match=r"HTTP 401.*OPENAI_API_KEY") as caught:
        open_embedder(hosted(openai)).embed(["x"])
    assert "secret" not in str(caught.value) and len(openai.asked) == 1
    openai.length = 12
    with pytest.raises(EmbeddingError, match="wrong number or length"):
        open_embedder(hosted(openai)).embed(["x"])
    assert "secret" not in repr(hosted(openai))


def test_code_goes_to_openai_only_when_its_models_see_it_anyway_or_it_was_asked_for(tmp_path: Path) -> None:
    key = "sk-secret-key"
    assert choose(EmbeddingSettings("auto", openai_key=key)).kind == "hash"
    assert choose(EmbeddingSettings("auto", openai_key=key, hosted=True)).kind == "openai"
    assert choose(EmbeddingSettings("auto", hosted=True)).kind == "hash"
    assert choose(EmbeddingSettings("openai", openai_key=key)).kind == "openai"
    assert "OPENAI_API_KEY" in choose(EmbeddingSettings("openai")).why


def test_a_model_on_the_disk_is_taken_and_the_reason_told(tmp_path: Path) -> None:
    assert "EMBEDDINGS=minilm" in choose(EmbeddingSettings("auto")).better
    for folder in (tmp_path / CHROMA_CACHE, tmp_path / "own"):
        folder.mkdir(parents=True)
        for name in ("model.onnx", "tokenizer.json"):
            (folder / name).write_text("{}")
    assert choose(EmbeddingSettings("auto")).folder == tmp_path / CHROMA_CACHE
    assert choose(EmbeddingSettings("auto", tmp_path / "own")).folder == tmp_path / "own"
    broken = open_embedder(EmbeddingSettings("minilm", tmp_path / "own"))
    assert broken.key == "hash-4096"
    with pytest.raises(EmbeddingError, match="cannot be loaded"):
        load(tmp_path / "own")
    assert choose(EmbeddingSettings("hash", tmp_path / "own")).kind == "hash"
