"""Routes of the approvals that count for later runs."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel

from memory.records.consents import Consent
from server.api.dependencies import SupervisorDep
from server.api.problems import Problem, responses

router = APIRouter(prefix="/api/approvals", tags=["Approvals"])


class StandingApproval(BaseModel):
    """An approval that counts for later runs. `about` says what it covers."""

    key: str
    given: str
    about: dict[str, Any]


@router.get("", response_model=list[StandingApproval], responses=responses())
async def list_standing(supervisor: SupervisorDep) -> list[Consent]:
    """List the approvals that count for later runs: of tools, and of environments."""
    return await supervisor.journal.consents.all()


@router.delete("/{key}", status_code=204, responses=responses(404))
async def revoke(
    key: Annotated[str, Path(description="The whole key of an approval.")], supervisor: SupervisorDep
) -> None:
    """Revoke an approval, so that it is asked for again."""
    if not await supervisor.journal.consents.revoke(key):
        detail = "there is no approval with this key; GET /api/approvals lists them"
        raise Problem(404, "Unknown approval", detail)
