"""OpenAI's text-embedding-3-small."""

from collections.abc import Iterator, Sequence

import numpy as np
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from memory.embeddings.base import EmbeddingError, Vectors, unit

MODEL = "text-embedding-3-small"
DIMENSION = 1536
_LONGEST = 6_000
"""Characters of a text that are sent. The model takes 8,191 tokens."""
_BATCH_TEXTS = 256
_BATCH_CHARACTERS = 250_000
_ATTEMPTS = 4
_LONGEST_WAIT = 8.0


class OpenAiEmbedder:
    """Calls OpenAI, or the compatible server at `url`."""

    key = f"openai-{MODEL}-{DIMENSION}"
    dimension = DIMENSION

    def __init__(self, api_key: str, url: str | None = None) -> None:
        import openai

        self._client = openai.OpenAI(api_key=api_key, base_url=url, max_retries=0, timeout=30.0)
        self._transient = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
        self._error = openai.OpenAIError

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Send texts in batches and retry transient failures."""
        rows = [row for batch in _batches(texts) for row in self._call(batch)]
        return unit(np.array(rows, np.float32).reshape(len(texts), DIMENSION))

    def _call(self, batch: list[str]) -> list[list[float]]:
        retrying = Retrying(
            retry=retry_if_exception_type(self._transient),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(0.5, _LONGEST_WAIT),
            reraise=True,
        )
        try:
            answer = retrying(
                self._client.embeddings.create, input=batch, model=MODEL, encoding_format="float"
            )
        except self._error as error:
            status = getattr(error, "status_code", None)
            raise EmbeddingError(
                f"{MODEL} does not answer ({type(error).__name__}{f', HTTP {status}' if status else ''}); "
                "check OPENAI_API_KEY and the network, or set EMBEDDINGS=minilm"
            ) from error
        # The API does not promise the order of the texts.
        rows = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
        if len(rows) != len(batch) or any(len(row) != DIMENSION for row in rows):
            raise EmbeddingError(f"{MODEL} answered with vectors of the wrong number or length")
        return rows


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        text = text[:_LONGEST] or " "
        if batch and (len(batch) == _BATCH_TEXTS or sum(map(len, batch)) + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch
