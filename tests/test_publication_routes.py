"""Pushes over HTTP: what goes where, what was not shown, and who may use the logins of the server's user."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fakesite import FakeSite
from githost import GitHost
from runs import Bench, script
from test_push_command import delivered, host, served, site

from server.app import create_app

__all__ = ["host", "site"]
OTHERS = "other people may use this server"
REFUSALS: tuple[tuple[dict[str, Any], tuple[str, ...] | None, str], ...] = (
    ({"tool_policy": {"git_push:origin autocode/*": "deny"}}, None, "the policy denies this push"),
    ({"autocode_api_key": "k"}, None, OTHERS),
    ({"autocode_allowed_hosts": "desk.example"}, None, OTHERS),
    ({"autocode_host": "192.0.2.1"}, None, OTHERS),
    ({"address": "192.0.2.7"}, None, OTHERS),
    ({}, ("/api/",), OTHERS),  # inside LangGraph's server, which listens where it wants
    ({"autocode_api_key": "k", "tool_policy": {"git_push": "allow"}}, None, ""),
)


@asynccontextmanager
async def opened(
    bench: Bench, own: tuple[str, ...] | None = None, address: str = "127.0.0.1", **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(bench.settings(**settings), own)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=(address, 1234))
        base = "http://127.0.0.1:8000"
        async with httpx.AsyncClient(
            transport=transport, base_url=base, headers={"X-Api-Key": "k"}
        ) as client:
            yield client


def test_a_push_sends_what_was_shown_and_nothing_else(bench: Bench, host: GitHost, site: FakeSite) -> None:
    script(bench.desk)
    thread = delivered(bench, host, "Add mul")
    at = f"/api/threads/{thread}/push"
    refs = host.folder / "o" / "r.git" / "refs" / "heads" / "autocode"

    async def check() -> None:
        async with opened(bench) as client:
            shown = (await client.get(at)).json()
            assert (shown["remote"], shown["url"]) == ("origin", host.url("o/r.git"))
            assert (shown["branch"], shown["verified"], shown["refused"]) == (f"autocode/{thread}", True, "")
            assert [commit["subject"] for commit in shown["commits"]] == ["Add mul"]
            assert {file["path"] for file in shown["files"]} == {"calc.py", "tests/test_mul.py"}
            confirmed = {"url": shown["url"], "commit": shown["commit"]}
            other = confirmed | {"commit": "0" * 40}, confirmed | {"url": "http://127.0.0.1/o/other.git"}
            statuses = [(await client.post(at, json=body)).status_code for body in ({}, *other)]
            assert statuses == [422, 409, 409] and not refs.exists() and site.calls == []
            pushed = (await client.post(at, json=confirmed | {"pull_request": True})).json()
            assert (pushed["status"], pushed["pull_request"]) == ("new", f"{site.url}/o/r/pull/1")
            assert served(host, f"refs/heads/autocode/{thread}") == shown["commit"]
            site.broken = [(500, {"message": "out of order"})] * 9
            again = (await client.post(at, json=confirmed | {"pull_request": True})).json()
            assert again["status"] == "up to date" and again["pull_request"] is None and again["problem"]
            bench.repo.git("config", "--remove-section", "remote.origin")
            lost = await client.get(at)
            assert lost.status_code == 409 and "git remote add origin" in lost.json()["detail"]

    asyncio.run(check())


def test_a_server_for_others_pushes_only_if_the_policy_allows_it(bench: Bench, host: GitHost) -> None:
    script(bench.desk)
    thread = delivered(bench, host, "Add mul")
    at = f"/api/threads/{thread}/push"
    refs = host.folder / "o" / "r.git" / "refs" / "heads" / "autocode"

    async def check(settings: dict[str, Any], own: tuple[str, ...] | None, refusal: str) -> None:
        async with opened(bench, own, **settings) as client:
            shown = (await client.get(at)).json()
            assert refusal in shown["refused"] and bool(refusal) == bool(shown["refused"]), settings
            pushed = await client.post(at, json={"url": shown["url"], "commit": shown["commit"]})
            assert pushed.status_code == (403 if refusal else 200), settings
            assert refs.exists() == (not refusal), settings

    for case in REFUSALS:
        asyncio.run(check(*case))
