"""The route that lists models."""

from fastapi import APIRouter
from pydantic import BaseModel

from nodes.llm.providers import OfferedModel
from nodes.state import Agent
from server.api.dependencies import SupervisorDep
from server.api.problems import responses

router = APIRouter(prefix="/api", tags=["Models"])


class ModelsResponse(BaseModel):
    """The models that runs use if they name none, and those that they may name.

    `default` steps in for a model that fails. `problem` says why models are missing from the list.
    """

    default: str
    agents: dict[Agent, str]
    models: list[OfferedModel]
    problem: str = ""


@router.get("/models", responses=responses())
async def list_models(supervisor: SupervisorDep) -> ModelsResponse:
    """List the models of the configured providers. Other names work too if their provider has a key."""
    models = supervisor.resources.agents.models
    offer = await models.offers.current()
    agents = {agent: models.settings.model_of(agent) for agent in models.settings.agents}
    return ModelsResponse(default=models.settings.fallback, agents=agents, **dict(offer))
