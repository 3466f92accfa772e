"""Which embedder is used, and why."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from memory.embeddings import minilm
from memory.embeddings.base import Embedder, EmbeddingError, EmbeddingSettings

_BETTER = "EMBEDDINGS=minilm downloads a small model once (80 MB), or EMBEDDINGS_MODEL_DIR names one"


@dataclass(frozen=True)
class EmbeddingChoice:
    """What will be used: `why` says so in a sentence, `better` how to get a model where there is none.

    `folder` is MiniLM's, unless it has to be downloaded.
    """

    kind: Literal["openai", "minilm", "hash"]
    why: str
    folder: Path | None = None
    better: str = ""


def choose(settings: EmbeddingSettings) -> EmbeddingChoice:
    """Decide by what is set and what is on the disk; nothing is loaded or asked."""
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
    if settings.kind == "minilm" and settings.download:
        return EmbeddingChoice("minilm", "MiniLM, which Chroma downloads on first use")
    return EmbeddingChoice("hash", "hashed words: MiniLM is not on this machine", better=_BETTER)


def open_embedder(settings: EmbeddingSettings) -> Embedder:
    """Open what `choose` says; where that fails, hashed words, and `why` tells."""
    from memory.embeddings.hashed import HashEmbedder

    choice = choose(settings)
    try:
        if choice.kind == "openai":
            from memory.embeddings.hosted import OpenAiEmbedder

            return OpenAiEmbedder(settings.openai_key or "", settings.openai_url, choice.why)
        if choice.kind == "minilm":
            return minilm.opened(choice.folder or minilm.download(), choice.why)
    except EmbeddingError as error:
        choice = replace(choice, why=f"hashed words, because {error}")
    return HashEmbedder(choice.why)
