"""Choose and open an embedder."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memory.embeddings import minilm
from memory.embeddings.base import Embedder, EmbeddingError, EmbeddingSettings

_BETTER = "EMBEDDINGS=minilm downloads a small model once (80 MB), or EMBEDDINGS_MODEL_DIR names one"


@dataclass(frozen=True)
class EmbeddingChoice:
    """The chosen embedder. `why` explains it in a sentence, `better` says how to get a better one.

    `folder` is None for MiniLM if it must be downloaded.
    """

    kind: Literal["openai", "minilm", "hash"]
    why: str
    folder: Path | None = None
    better: str = ""


def choose(settings: EmbeddingSettings) -> EmbeddingChoice:
    """Decide by the settings and the files on the disk, without loading a model."""
    if settings.kind == "hash":
        return EmbeddingChoice("hash", "EMBEDDINGS=hash: hashed words, which need no model")
    if settings.kind == "openai" or (settings.kind == "auto" and settings.hosted):
        if settings.openai_key:
            why = "EMBEDDINGS=openai" if settings.kind == "openai" else "every agent's model is OpenAI's too"
            return EmbeddingChoice("openai", f"OpenAI's text-embedding-3-small: {why}")
        if settings.kind == "openai":
            return EmbeddingChoice("hash", "hashed words: OPENAI_API_KEY is not set", better=_BETTER)
    if folder := minilm.find(settings.model_dir):
        return EmbeddingChoice("minilm", f"MiniLM on this machine, from {folder}", folder)
    if settings.kind == "minilm":
        return EmbeddingChoice("minilm", "MiniLM, which Chroma downloads on first use")
    return EmbeddingChoice("hash", "hashed words: MiniLM is not on this machine", better=_BETTER)


def open_embedder(settings: EmbeddingSettings) -> Embedder:
    """Open the chosen embedder, or the one for hashed words if that fails."""
    from memory.embeddings.hashed import HashEmbedder

    choice = choose(settings)
    with suppress(EmbeddingError):
        if choice.kind == "openai":
            from memory.embeddings.hosted import OpenAiEmbedder

            return OpenAiEmbedder(settings.openai_key or "", settings.openai_url)
        if choice.kind == "minilm":
            return minilm.load(choice.folder or minilm.download())
    return HashEmbedder()
