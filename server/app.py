"""The web application: routes behind the guard, over one supervisor that lives as long as it does."""

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
from server.api import agent_routes as agent_api
from server.api import thread_routes as page_api
from server.api import websocket
from server.api.guard import Guard, Policy
from server.api.problems import handle_problems, responses

STATIC = Path(__file__).parent / "static"
OWN = ("/", "/health", "/client.js", "/static/", "/api/")
"""Our paths where LangGraph's server mounts the application: what else it serves is its own to guard."""


class Health(BaseModel):
    """That the server is up, and which."""

    status: str
    version: str


def create_app(
    settings: Settings,
    own: tuple[str, ...] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> FastAPI:
    """Make the application, which opens nothing before it starts.

    `own` limits the guard to these paths; `say` hears of slow set-up and of runs that fell.
    """
    app = FastAPI(
        title="AutoCodeAI",
        version=version("autocode-ai"),
        description="A task and a git repository in; a branch that a sandbox has proved out.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.settings, app.state.say = settings, say
    policy = Policy.of(settings)
    app.add_middleware(Guard, policy=policy, own=own)
    if policy.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(policy.origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Content-Location", "Location"],
        )
    handle_problems(app)
    for router in (agent_api.router, websocket.router, page_api.router):
        app.include_router(router)
    if own is None:  # LangGraph's server speaks the Agent Protocol itself
        app.include_router(protocol.router)
    _add_pages(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Supervisor.open(app.state.settings, app.state.say) as supervisor:
        app.state.supervisor = supervisor
        yield


def _add_pages(app: FastAPI) -> None:
    @app.get("/health", responses=responses())
    async def health() -> Health:
        """Say that the server is up."""
        return Health(status="ok", version=app.version)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/client.js", include_in_schema=False)
    async def client() -> FileResponse:
        return FileResponse(STATIC / "client.js", media_type="text/javascript")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
