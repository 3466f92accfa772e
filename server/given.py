"""What routes are given of the application that they belong to."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from graph.runner import Runner
from graph.settings import Settings


def _runner(connection: HTTPConnection) -> Runner:
    found: Runner = connection.app.state.runner
    return found


def _settings(connection: HTTPConnection) -> Settings:
    found: Settings = connection.app.state.settings
    return found


Supervised = Annotated[Runner, Depends(_runner)]
Configured = Annotated[Settings, Depends(_settings)]
