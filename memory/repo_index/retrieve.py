"""Search a folder in one call, for programs that have no settings."""

import os
from pathlib import Path
from typing import get_args

from memory.embeddings import EmbedderKind, EmbeddingSettings
from memory.repo_index.index import RepoIndex
from memory.repo_index.index_types import IndexSettings

_WAIT_SECONDS = 600.0


def retrieve(repo_dir: str, query: str, k: int) -> list[str]:
    """Return the `k` files of a folder that answer a query best, as relative paths, best first.

    It is a ranking: files that agents would not be shown, because they are not about the query, come last.
    Each call brings the index up to date, with full text and vectors. Nothing is sent anywhere. This function
    reads the environment itself: EMBEDDINGS (auto), EMBEDDINGS_MODEL_DIR, REPO_INDEX_PATH (the folder `index`
    in AUTOCODE_HOME) and AUTOCODE_HOME (~/.autocode).
    """
    names = ("EMBEDDINGS", "EMBEDDINGS_MODEL_DIR", "REPO_INDEX_PATH", "AUTOCODE_HOME")
    kind, model_dir, folder, home = (os.environ.get(name, "") for name in names)
    base = Path(home or "~/.autocode").expanduser().absolute()
    kinds: dict[str, EmbedderKind] = {name: name for name in get_args(EmbedderKind)}
    if kind and kind not in kinds:
        raise ValueError(f"EMBEDDINGS={kind} is none of {', '.join(kinds)}")
    embeddings = EmbeddingSettings(
        kinds.get(kind, "auto"), Path(model_dir).expanduser() if model_dir else None
    )
    index = Path(folder).expanduser().absolute() if folder else base / "index"
    settings = IndexSettings(index, base / "chroma", embeddings)
    with RepoIndex(Path(repo_dir), settings) as repo_index:
        repo_index.refresh(wait=_WAIT_SECONDS)
        repo_index.embed(wait=_WAIT_SECONDS)
        snippets = repo_index.code_search().snippets(query, k, all_files=True)
        return list(dict.fromkeys(snippet.path for snippet in snippets))
