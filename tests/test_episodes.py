"""Episodes: rows that verified tasks leave, once each, without secrets, until they are forgotten."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from story import episode

from memory.records.database import Database
from memory.records.episodes import EpisodeRepair, Episodes
from memory.records.threads import Threads

KNOWN = "a-secret-of-the-settings"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path / 'autocode.db'}")
    yield opened
    await opened.aclose()


@pytest.fixture
def episodes(database: Database) -> Episodes:
    return Episodes(database, [KNOWN])


async def test_a_run_leaves_one_episode_however_often_it_is_stored(episodes: Episodes) -> None:
    assert await episodes.store(episode())
    assert not await episodes.store(episode(task="the same run, resumed"))
    assert await episodes.store(episode("r2"))
    read = await episodes.read()
    assert [one.run for one in read] == ["r2", "r1"]
    assert read[1] == episode(created=read[1].created)
    titles = await episodes.titles()
    assert [(title.id, title.task) for title in titles] == [(one.id, one.task) for one in read]


async def test_no_secret_goes_in_wherever_it_stands(episodes: Episodes) -> None:
    await episodes.store(
        episode(
            task=f"Use {KNOWN} as the key",
            plan='Set API_KEY = "correct horse battery"',
            change="config.py\n+password: hunter2hunter2",
            mends=[
                EpisodeRepair(found=["E  ghp_zyxwvutsrqponmlkjihgfe"], how="Bearer abcdefghijklm", files=[])
            ],
        )
    )
    (read,) = await episodes.read()
    kept = read.model_dump_json() + (await episodes.titles())[0].task
    for secret in (KNOWN, "correct horse", "hunter2", "ghp_zyx", "abcdefghijklm"):
        assert secret not in kept
    assert (read.commit, read.root, read.repo) == ("b" * 40, "a" * 40, "/home/me/calc")


async def test_episodes_outlive_their_thread_until_they_are_forgotten_all_or_none(
    database: Database, episodes: Episodes
) -> None:
    for run in ("r1", "r2"):
        await episodes.store(episode(run))
    await Threads(database).delete("t1")
    one, two = [title.id for title in await episodes.titles()]
    assert await episodes.forget([one, "unknown"]) == {"unknown"}
    assert len(await episodes.titles()) == 2
    assert await episodes.forget([one]) == set()
    assert [title.id for title in await episodes.titles()] == [two]
