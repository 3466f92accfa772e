"""One call for programs that measure retrieval."""

import os
from pathlib import Path
from typing import get_args

from memory.embeddings import EmbeddingSettings, Kind
from memory.repo_index.base import IndexSettings
from memory.repo_index.index import RepoIndex

_PATIENCE = 600.0


def retrieve(repo_dir: str, query: str, k: int) -> list[str]:
    """Give the `k` files of a folder that answer a query best: paths relative to it, best first.

    The index is made on first use, full text and vectors, and brought up to date on each; nothing is sent
    anywhere. For programs without settings, this one function reads the environment itself: EMBEDDINGS
    (auto), EMBEDDINGS_MODEL_DIR, REPO_INDEX_PATH (index in AUTOCODE_HOME) and AUTOCODE_HOME (~/.autocode).
    """
    with RepoIndex.open(Path(repo_dir), _settings()) as index:
        index.refresh(wait=_PATIENCE)
        index.embed(wait=_PATIENCE)
        return [snippet.path for snippet in index.search(query, k)]


def _settings() -> IndexSettings:
    names = ("EMBEDDINGS", "EMBEDDINGS_MODEL_DIR", "REPO_INDEX_PATH", "AUTOCODE_HOME")
    kind, model_dir, folder, home = (os.environ.get(name, "") for name in names)
    place = Path(home or "~/.autocode").expanduser().absolute()
    kinds: dict[str, Kind] = {name: name for name in get_args(Kind)}
    if kind and kind not in kinds:
        raise ValueError(f"EMBEDDINGS={kind} is none of {', '.join(kinds)}")
    embeddings = EmbeddingSettings(
        kinds.get(kind, "auto"), Path(model_dir).expanduser() if model_dir else None
    )
    within = Path(folder).expanduser().absolute() if folder else place / "index"
    return IndexSettings(within, place / "chroma", embeddings)
