"""Which earlier tasks count as alike: by words, by vectors in Chroma, and when Chroma is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from story import episode

from memory.embeddings.hashed import HashEmbedder
from memory.live import LiveIndexes
from memory.records.database import Database
from memory.records.episodes import Episodes, Title
from memory.repo_index import IndexSettings
from memory.search.recollection import Recollection
from memory.search.task_similarity import TaskSimilarity
from memory.vectors import Collection, VectorStore, VectorsUnavailable

TASKS = {
    "a": "Let --timeout take durations such as 1m30s",
    "b": "Add a Dutch translation",
    "c": "Accept durations in --interval",
}


def titles(*ids: str) -> list[Title]:
    return [Title(id, "/home/me/shop", "", TASKS[id]) for id in ids]


def gone(name: str, dimension: int) -> Collection:
    raise VectorsUnavailable("there is no Chroma")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    opened = VectorStore(tmp_path / "chroma")
    opened.open()
    yield opened
    opened.close()


def test_without_chroma_words_are_compared_and_deeds_are_not() -> None:
    similarity = TaskSimilarity(HashEmbedder, gone)
    similarity.warm().join()
    similar = similarity.similar("Use durations for --timeout", titles("a", "b", "c"), {"a", "b", "c"})
    assert [title.id for title, _ in similar] == ["a", "c"]
    assert similarity.similar("Add a Dockerfile", titles("a", "b", "c"), {"a", "b", "c"}) == []
    assert similarity.similar("anything", [], set()) == []


def test_elsewhere_a_task_must_be_more_alike() -> None:
    similarity = TaskSimilarity(HashEmbedder, gone)
    assert not similarity.align(titles("c"))
    query, known = "Accept durations in minutes", titles("c")
    ((_, nearness),) = similarity.ranked(query, known)
    least = 0.35
    assert bool(similarity.similar(query, known, {"c"})) == (nearness >= least)
    assert bool(similarity.similar(query, known, set())) == (nearness >= least + 0.1)


def test_many_tasks_elsewhere_do_not_hide_this_repositorys_own(store: VectorStore) -> None:
    query = "Accept durations in minutes"
    known = [*(Title(f"e{number}", "/there", "", query) for number in range(60)), *titles("c")]
    for collection in (gone, store.collection):
        similarity = TaskSimilarity(HashEmbedder, collection)
        similarity.warm().join()
        assert "c" in {title.id for title, _ in similarity.similar(query, known, {"c"})}


def test_chroma_holds_a_vector_for_each_episode_and_no_other(store: VectorStore) -> None:
    similarity = TaskSimilarity(HashEmbedder, store.collection)
    similarity.warm().join()
    words = TaskSimilarity(HashEmbedder, gone)
    for known in (titles("a", "b"), titles("b", "c")):
        ranked = similarity.ranked("durations in --timeout", known)
        assert [(title.id, round(near, 4)) for title, near in ranked] == [
            (title.id, round(near, 4)) for title, near in words.ranked("durations in --timeout", known)
        ]
        assert store.client
        (collection,) = store.client.list_collections()
        assert set(collection.get()["ids"]) == {title.id for title in known}
    assert similarity.align(titles("c")) and collection.count() == 1
    store.close()
    best, _ = similarity.ranked("translation", titles("b", "c"))
    assert best[0].id == "b"


async def test_a_task_done_twice_is_told_once_and_this_repository_comes_first(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'autocode.db'}")
    indexes = LiveIndexes(IndexSettings(tmp_path / "index", tmp_path / "chroma"), lambda line: None)
    memory = Recollection(Episodes(database, ()), indexes, TaskSimilarity(HashEmbedder, gone), "all")
    for run, repo in (("r1", "/here"), ("r2", "/here"), ("r3", "/there")):
        task = "Add mul to the calculator" if repo == "/here" else "Add mul and div to the calculator"
        await memory.episodes.store(episode(run, repo=repo, root=repo, task=task))
    told = await memory.lessons("Add mul and div to the calculator", "/moved", lambda: "/here")
    assert [(one.episode.run, one.here) for one in told] == [("r2", True), ("r3", False)]
    indexes.close()
    await database.aclose()


async def test_the_next_search_makes_the_vectors_of_earlier_runs(tmp_path: Path, store: VectorStore) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'autocode.db'}")
    indexes = LiveIndexes(IndexSettings(tmp_path / "index", tmp_path / "chroma"), lambda line: None)
    similarity = TaskSimilarity(HashEmbedder, store.collection)
    similarity.warm().join()
    memory = Recollection(Episodes(database, ()), indexes, similarity, "repository")
    for run, repo in (("r1", "/here"), ("r2", "/here"), ("r3", "/there")):
        await memory.episodes.store(
            episode(run, repo=repo, root=repo, task=f"Add mul to the calculator, {run}")
        )
    assert store.client
    (collection,) = store.client.list_collections()
    assert collection.count() == 0, "nobody waits for vectors"
    recalled = await memory.lessons("Add mul to the calculator", "/here", lambda: "/here")
    assert {one.episode.run for one in recalled} == {"r1", "r2"}
    assert collection.count() == 3, "other repositories' vectors stay"
    indexes.close()
    await database.aclose()
