"""The application: its page, what every answer carries, and origins that are let in."""

import re
from pathlib import Path

import httpx
import pytest
from served import Served

from graph.run_request import THREAD_ID
from graph.settings import Settings
from server.app import STATIC, create_app


def client(**settings: str) -> httpx.AsyncClient:
    app = create_app(Settings.load(**settings))  # type: ignore[arg-type]  # settings as text
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000")


async def test_health_says_ok_and_the_version_and_the_page_brings_all_it_needs() -> None:
    async with client() as ours:
        health = await ours.get("/health")
        assert health.json().keys() == {"status", "version"} and health.json()["status"] == "ok"
        page = await ours.get("/")
        assert page.headers["Content-Type"].startswith("text/html")
        linked = re.findall(r'(?:href|src)="([^"]+)"', page.text)
        assert linked and all(path.startswith("/") for path in linked)
        for path in {*linked, "/client.js", "/static/client.js"}:
            answer = await ours.get(path)
            assert answer.status_code == 200, path
            if path.endswith(".js"):
                assert answer.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("file", sorted(STATIC.rglob("*.*")), ids=lambda file: str(file.name))
def test_no_file_of_the_page_can_turn_data_into_markup_or_reach_beyond_this_server(file: Path) -> None:
    text = file.read_text()
    if "worker" not in file.name:  # a worker has no document
        assert not re.search(
            r"\.innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|DOMParser", text
        )
    # Names of XML, and the addresses in error messages of libraries.
    known = r"www\.w3\.org/|svelte\.dev/e/|github\.com/(markedjs|highlightjs)/"
    assert not re.search(rf"https?://(?!{known})\w", text)
    if file.suffix == ".html":
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", text)


async def test_a_configured_origin_may_ask_and_read_and_another_may_not() -> None:
    origin = {"Origin": "https://desk.example"}
    asks = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    async with client(autocode_cors_origins="https://desk.example", autocode_api_key="k") as ours:
        allowed = await ours.options("/api/agent/run", headers=asks)
        assert allowed.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        refused = await ours.get("/api/threads", headers=origin)
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (
            401,
            origin["Origin"],
        )
    async with client() as ours:
        refused = await ours.options("/api/agent/run", headers=asks)
        assert refused.status_code == 403 and "Access-Control-Allow-Origin" not in refused.headers


def test_the_original_examples_of_the_api_are_in_the_document(served: Served) -> None:
    with served.client() as ours:
        paths = ours.get("/openapi.json").json()["paths"]
    assert {"/api/agent/run", "/api/agent/run_parallel", "/api/agent/stream", "/health"} <= paths.keys()


def test_every_route_refuses_a_thread_id_that_could_lead_out_of_a_folder() -> None:
    paths = create_app(Settings.load()).openapi()["paths"]
    ids = {
        (path, method): parameter["schema"].get("pattern")
        for path, operations in paths.items()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "thread_id"
    }
    assert len(ids) > 30 and set(ids.values()) == {f"^{THREAD_ID}$"}, ids
