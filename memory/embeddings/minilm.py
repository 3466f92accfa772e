"""all-MiniLM-L6-v2 on this machine, through onnxruntime."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Thread

import numpy as np

from memory.embeddings.base import EmbeddingError, Vectors, unit

DIMENSION = 384
_TOKENS = 256
_BATCH = 32
_DOWNLOAD_SECONDS = 90.0
CHROMA_CACHE = Path(".cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx")
"""Chroma's folder for the model that it downloads, below the user's home."""


def find(model_dir: Path | None) -> Path | None:
    """Find the model in the folder of the settings, or else in Chroma's cache."""
    folders = [model_dir] if model_dir else []
    folders.append(Path.home() / CHROMA_CACHE)
    return next((folder for folder in folders if is_model(folder)), None)


def is_model(folder: Path) -> bool:
    """Return True if a folder holds the model and its tokenizer."""
    return all((folder / name).is_file() for name in ("model.onnx", "tokenizer.json"))


def download() -> Path:
    """Download the model with Chroma's downloader. Raises EmbeddingError if that fails or takes too long."""
    failures: list[Exception] = []
    # Chroma's downloader has no time limit, and a daemon thread does not hold up the process's end.
    thread = Thread(target=_download, args=(failures,), name="minilm-download", daemon=True)
    thread.start()
    thread.join(_DOWNLOAD_SECONDS)
    if failures:
        raise EmbeddingError(f"MiniLM could not be downloaded: {failures[0]}")
    if (folder := find(None)) is None:
        raise EmbeddingError(f"MiniLM was not downloaded within {_DOWNLOAD_SECONDS:.0f} s")
    return folder


def _download(failures: list[Exception]) -> None:
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    try:
        ONNXMiniLM_L6_V2()._download_model_if_not_exists()
    except Exception as error:  # this is the edge of a thread, and the downloader may raise anything
        failures.append(error)


@cache
def load(folder: Path) -> "MiniLmEmbedder":
    """Load the model of a folder once for the process, as it takes up to 250 MB. Raises EmbeddingError."""
    return MiniLmEmbedder(folder)


class MiniLmEmbedder:
    """The model of one folder. Its key holds a hash of the file, as an int8 model gives other vectors."""

    dimension = DIMENSION

    def __init__(self, folder: Path) -> None:
        """Load the model. Raises EmbeddingError."""
        import onnxruntime  # type: ignore[import-untyped]  # it has no type hints
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = False  # it plans for every shape of a batch: 0.4 GB, and no faster
        # Spinning threads would take the processor from the tests of a run.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            with (folder / "model.onnx").open("rb") as file:
                digest = sha256(file.read(1 << 16))
            digest.update(str((folder / "model.onnx").stat().st_size).encode())
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise EmbeddingError(f"the model in {folder} cannot be loaded: {error}") from error
        self._tokenizer.enable_truncation(_TOKENS)
        self._tokenizer.no_padding()
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self.key = f"minilm-{DIMENSION}-{digest.hexdigest()[:8]}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the mean of each text's token vectors."""
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        rows = np.zeros((len(texts), DIMENSION), np.float32)
        # Texts of similar length share a batch, so that little is padded.
        order = sorted(range(len(texts)), key=lambda number: len(encoded[number]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            rows[batch] = self._means([encoded[number] for number in batch])
        return unit(rows)

    def _means(self, batch: list[list[int]]) -> Vectors:
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = tokens
        mask = np.array(
            [[1] * len(tokens) + [0] * (ids.shape[1] - len(tokens)) for tokens in batch], np.int64
        )
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            hidden = self._session.run(None, {name: inputs[name] for name in self._inputs})[0]
        except Exception as error:  # onnxruntime raises bare exceptions of its own
            raise EmbeddingError(f"MiniLM failed: {error}") from error
        weights = mask[:, :, None].astype(np.float32)
        means: Vectors = (np.asarray(hidden, np.float32) * weights).sum(axis=1) / weights.sum(axis=1)
        return means
