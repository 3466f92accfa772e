"""Episodes: rows that verified tasks leave, once each, without secrets, until they are forgotten."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from story import episode

from memory.records.episodes import Mend
from memory.records.journal import Journal

KNOWN = "a-secret-of-the-settings"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = await Journal.open(f"sqlite:///{tmp_path / 'autocode.db'}", secrets=[KNOWN])
    yield opened
    await opened.aclose()


async def test_a_run_leaves_one_episode_however_often_it_is_stored(journal: Journal) -> None:
    assert await journal.episodes.store(episode())
    assert not await journal.episodes.store(episode(task="the same run, resumed"))
    assert await journal.episodes.store(episode("r2"))
    read = await journal.episodes.read()
    assert [one.run for one in read] == ["r2", "r1"]
    assert read[1] == episode(created=read[1].created)
    titles = await journal.episodes.titles()
    assert [(title.id, title.task) for title in titles] == [(one.id, one.task) for one in read]


async def test_no_secret_goes_in_wherever_it_stands(journal: Journal) -> None:
    await journal.episodes.store(
        episode(
            task=f"Use {KNOWN} as the key",
            plan='Set API_KEY = "correct horse battery"',
            change="config.py\n+password: hunter2hunter2",
            mends=[Mend(found=["E  ghp_zyxwvutsrqponmlkjihgfe"], how="Bearer abcdefghijklm", files=[])],
        )
    )
    (read,) = await journal.episodes.read()
    kept = read.model_dump_json() + (await journal.episodes.titles())[0].task
    for secret in (KNOWN, "correct horse", "hunter2", "ghp_zyx", "abcdefghijklm"):
        assert secret not in kept
    assert (read.commit, read.root, read.repo) == ("b" * 40, "a" * 40, "/home/me/calc")


async def test_episodes_outlive_their_thread_until_they_are_forgotten_all_or_none(journal: Journal) -> None:
    for run in ("r1", "r2"):
        await journal.episodes.store(episode(run))
    await journal.forget("t1")
    one, two = [title.id for title in await journal.episodes.titles()]
    assert await journal.episodes.forget([one, "unknown"]) == {"unknown"}
    assert len(await journal.episodes.titles()) == 2
    assert await journal.episodes.forget([one]) == set()
    assert [title.id for title in await journal.episodes.titles()] == [two]
