"""Forgetting a thread: everything that it left goes, and nothing that is somebody else's."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from delivered import User, deliver
from gitrepo import GitRepo

from graph.event_log import open_journal
from graph.forgetting import forget
from graph.settings import Settings
from memory.records.episodes import Episode
from memory.records.journal import Journal
from memory.records.owner import this_process
from memory.records.threads import ThreadBusy
from nodes.events import Event
from server.app import create_app


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user of a repository."""
    user = User(tmp_path)
    user.repo.commit({"a.txt": "0\n"})
    return user


@asynccontextmanager
async def records(home: Path) -> AsyncIterator[Journal[Event]]:
    """Open the records of an installation."""
    async with aclosing(await open_journal(Settings.load(autocode_home=home))) as journal:
        yield journal


def refs(repo: GitRepo) -> list[str]:
    names = "refs/autocode", "refs/heads/autocode"
    return repo.git("for-each-ref", "--format=%(refname)", *names).splitlines()


async def remember(home: Path, thread: str) -> int:
    """Store an episode of a thread's run, and return the number of all."""
    async with records(home) as journal:
        (run,) = await journal.runs.of_thread(thread)
        texts = dict.fromkeys(("repo", "root", "task", "plan", "change", "commit", "tree"), "x")
        await journal.episodes.store(Episode(run=run.id, thread=thread, files=[], **texts))
        return len(await journal.episodes.titles())


async def left(home: Path, thread: str) -> tuple[bool, int, int]:
    """Return whether there is a thread, and how many events and episodes there are."""
    async with records(home) as journal:
        events = await journal.events.read(thread)
        return bool(await journal.threads.get(thread)), len(events), len(await journal.episodes.titles())


def test_a_thread_goes_with_all_that_it_left_after_asking(user: User) -> None:
    thread = user.deliver({"a.txt": "1\n", "b.txt": "1\n"}, "t")
    other = user.deliver({"a.txt": "2\n"}, "t-2")
    assert asyncio.run(remember(user.home, thread)) == 1
    delivered = user.repo.git("rev-parse", "autocode/t")
    kept = [ref for ref in refs(user.repo) if other in ref]
    assert user.autocode("forget", thread).exit_code == 2
    shown = user.typed(["forget", thread], "n\n")
    assert "2 changed files" in shown and "autocode/t is deleted" in shown and "Nothing was deleted." in shown
    assert len(refs(user.repo)) > len(kept)

    assert "Thread t is forgotten." in user.typed(["forget", thread], "y\n")
    assert refs(user.repo) == kept
    assert delivered not in user.repo.git("notes", "--ref", "autocode", "list")
    assert asyncio.run(left(user.home, thread)) == (False, 0, 0)
    again = user.autocode("forget", thread, "--yes")  # is now a prefix of the other thread's name
    assert again.exit_code == 2 and "in full: autocode forget t-2 --yes" in again.stderr
    assert asyncio.run(left(user.home, other))[0]


def test_branches_with_other_work_stay(user: User) -> None:
    mine = user.deliver({"a.txt": "1\n"})
    user.repo.git("switch", "-q", f"autocode/{mine}")
    user.repo.commit({"mine.txt": "mine\n"})
    user.repo.git("switch", "-q", "main")
    out = user.deliver({"a.txt": "1\n"})
    user.repo.git("switch", "-q", f"autocode/{out}")
    amended = user.deliver({"a.txt": "1\n"})
    user.repo.git("worktree", "add", "-q", "../tree", f"autocode/{amended}")
    tree = GitRepo.__new__(GitRepo)
    tree.path = user.repo.path.parent / "tree"
    tree.put("mine.txt", "mine\n")
    tree.git("add", "-A")
    tree.git("commit", "-q", "--amend", "--no-edit")
    user.repo.git("worktree", "remove", "../tree")
    merged = user.deliver({"b.txt": "1\n"})
    user.repo.git("branch", "keeps", f"autocode/{merged}")
    others = "commits that are not of"
    for thread, why in ((mine, others), (out, "checked out"), (amended, others)):
        before = user.repo.git("rev-parse", f"autocode/{thread}")
        done = user.autocode("forget", thread, "--yes")
        assert done.exit_code == 0 and f"The branch autocode/{thread} stays: it" in done.stderr
        assert why in done.stderr and user.repo.git("rev-parse", f"autocode/{thread}") == before
    tip = user.repo.git("rev-parse", "keeps")
    done = user.autocode("forget", merged, "--yes")
    assert f"git branch autocode/{merged} {tip[:10]}" in done.stderr
    assert tip in user.repo.git("notes", "--ref", "autocode", "list")  # the proof of a commit that goes on
    assert f"autocode/{merged}" not in "".join(refs(user.repo))


def test_a_thread_whose_repository_is_gone_is_forgotten(user: User) -> None:
    thread = user.deliver({"a.txt": "1\n"})
    shutil.rmtree(user.repo.path / ".git")
    done = user.autocode("forget", thread, "--yes")
    assert done.exit_code == 0 and "Branches stay, as the repository cannot be read" in done.stderr
    assert asyncio.run(left(user.home, thread)) == (False, 0, 0)


async def test_a_thread_is_forgotten_over_http_unless_it_runs(user: User) -> None:
    home, repo = user.home, user.repo
    thread = await deliver(home, repo, {"a.txt": "1\n"})
    outside = await deliver(home, GitRepo(home / "outside"), {"a.txt": "1\n"})
    app = create_app(Settings.load(autocode_home=home, autocode_repos=str(repo.path)))
    async with app.router.lifespan_context(app), records(home) as journal:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            owner = str(this_process())
            await journal.threads.acquire(thread, str(repo.path), owner)
            busy = await client.delete(f"/api/threads/{thread}")
            assert busy.status_code == 409 and refs(repo)
            await journal.threads.release(thread, owner)
            await journal.runs.submit("queued", thread, {"task": "x"}, {}, True)
            assert (await client.delete(f"/api/threads/{thread}")).status_code == 409 and refs(repo)
            assert (await client.post(f"/api/threads/{thread}/cancel")).json() == {"cancelled": True}
            done = await client.delete(f"/api/threads/{thread}")
            assert done.json() == {"branches": [f"autocode/{thread}"], "kept": {}, "unapplied": 1}
            assert refs(repo) == []
            assert (await client.delete(f"/api/threads/{thread}")).status_code == 404
            assert (await client.delete(f"/api/threads/{outside}")).status_code == 403
            assert await journal.threads.get(outside)


async def test_a_run_that_begins_meanwhile_is_refused_or_finds_its_branches(user: User) -> None:
    app, outcomes = create_app(Settings.load(autocode_home=user.home)), set[str]()
    async with app.router.lifespan_context(app), records(user.home) as journal:
        for milliseconds in range(0, 40, 2):
            thread = await deliver(user.home, user.repo, {"a.txt": "1\n"})
            forgetting = asyncio.ensure_future(forget(app.state.supervisor.history, thread))
            await asyncio.sleep(milliseconds / 1000)
            with suppress(ThreadBusy):
                await journal.threads.acquire(thread, str(user.repo.path), "a run")
            try:
                await forgetting
                outcomes.add("forgotten")
                assert f"autocode/{thread}" not in "".join(refs(user.repo))
            except ThreadBusy:
                outcomes.add("busy")
                assert f"refs/heads/autocode/{thread}" in refs(user.repo)
    assert outcomes == {"busy", "forgotten"}


def test_pruning_deletes_the_same_but_for_branches_and_memories(user: User) -> None:
    thread = user.deliver({"a.txt": "1\n"})
    asyncio.run(remember(user.home, thread))
    assert "1 thread deleted. The branches stay." in user.autocode("threads", "--prune", "0").stderr
    assert refs(user.repo) == [f"refs/heads/autocode/{thread}"]
    assert asyncio.run(left(user.home, thread)) == (False, 0, 1)
