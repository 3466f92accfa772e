"""The web application: all routes behind the guard, on one supervisor."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from graph.settings import Settings
from graph.supervisor import Supervisor
from server import protocol
from server.api import (
    agent_routes,
    approval_routes,
    delivery_routes,
    model_routes,
    publication_routes,
    repository_routes,
    thread_routes,
    websocket,
)
from server.api.guard import Guard, allowed_origins, is_shared
from server.api.problems import handle_problems, responses

STATIC = Path(__file__).parent / "static"
OWN = ("/", "/health", "/client.js", "/static/", "/api/")
"""Paths that the guard checks inside LangGraph's server. The others are not ours."""


class Health(BaseModel):
    """Status and version of the server."""

    status: str
    version: str


def create_app(
    settings: Settings,
    own: tuple[str, ...] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> FastAPI:
    """Create the application. It opens nothing before its lifespan starts.

    `own` limits the guard to these paths. `say` receives messages about slow set-up and failed runs.
    """
    app = FastAPI(
        title="AutoCodeAI",
        version=version("autocode-ai"),
        description="Turn a task into a tested git branch.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.settings, app.state.say, app.state.mounted = settings, say, own is not None
    app.add_middleware(Guard, settings=settings, own=own)
    # The middleware that is added last runs first: a preflight request has no key for the guard to check.
    if origins := allowed_origins(settings):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Content-Location", "Location"],
        )
    handle_problems(app)
    for module in (
        agent_routes,
        websocket,
        thread_routes,
        delivery_routes,
        publication_routes,
        approval_routes,
        repository_routes,
        model_routes,
    ):
        app.include_router(module.router)
    if own is None:  # LangGraph's server has its own Agent Protocol
        app.include_router(protocol.router)
    _add_pages(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    shared = is_shared(app.state.settings, app.state.mounted)
    async with Supervisor.open(app.state.settings, app.state.say, shared=shared) as supervisor:
        app.state.supervisor = supervisor
        yield


def _add_pages(app: FastAPI) -> None:
    @app.get("/health", responses=responses())
    async def health() -> Health:
        """Report that the server runs."""
        return Health(status="ok", version=app.version)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        # The other files have names that change with their content. This one must not be kept.
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    # Programs import this address, so it stays when the page's files move.
    @app.get("/client.js", include_in_schema=False)
    async def client() -> FileResponse:
        return FileResponse(STATIC / "client.js", media_type="text/javascript")

    # Mounted last, because a mount hides every route below its path.
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
