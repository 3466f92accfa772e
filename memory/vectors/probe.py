"""A program that uses all of an embedded store, so that a damaged one breaks this process alone."""

import sys
from pathlib import Path

from memory.vectors.client import embedded

STEP = 2_000


def probe(folder: Path) -> None:
    """Read every vector and search every collection; raises whatever Chroma raises."""
    client = embedded(folder)
    for collection in client.list_collections():
        ids = collection.get(include=[])["ids"]
        sample = None
        for start in range(0, len(ids), STEP):
            found = collection.get(include=["embeddings"], limit=STEP, offset=start)
            sample = found["embeddings"]
        if sample is not None:
            collection.query(query_embeddings=sample[:1], n_results=min(10, len(ids)), include=["distances"])
    client.close()


if __name__ == "__main__":
    try:
        probe(Path(sys.argv[1]))
    except BaseException as error:  # Chroma's panics derive from it, and this is the outermost edge
        sys.stdout.write(str(error).partition("\n")[0][:300] or type(error).__name__)
        sys.exit(1)
