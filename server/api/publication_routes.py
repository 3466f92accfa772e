"""Routes that push a delivered branch and open a pull request for it, with the login of the server's user."""

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from graph.publication.outgoing import Outgoing
from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.validation import ForeignModel
from server.api.dependencies import SupervisorDep, ThreadPath, client_of, find_thread
from server.api.guard import is_loopback, is_shared
from server.api.problems import Problem, responses
from server.api.task_submission import check_repository
from tools.catalogue.remote_tools import GitPush
from tools.hosting import HostingError
from tools.policy import decide

router = APIRouter(prefix="/api/threads/{thread_id}/push", tags=["Threads"])


class PushedCommit(BaseModel):
    """A commit that the remote lacks, as far as the repository knows."""

    id: str
    subject: str
    author: str


class PushedFile(BaseModel):
    """A file of the thread's change."""

    path: str
    added: int
    removed: int


class PushPreview(BaseModel):
    """The address, the commits and the files of a push. `refused` is this server's reason to refuse it."""

    remote: str
    url: str
    branch: str
    commit: str
    verified: bool
    missing: list[str]
    work_in_progress: bool = Field(description="The user's uncommitted changes go along.")
    actions: list[str] = Field(description="Words of the commits on which a site may mail or close issues.")
    commits: list[PushedCommit]
    files: list[PushedFile]
    refused: str


class PushRequest(ForeignModel):
    """The confirmation of a preview: its address and its commit. Anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    url: str
    commit: str
    pull_request: bool = False


class PushResponse(BaseModel):
    """A pushed branch. `problem` says why there is no pull request, if one was wanted."""

    status: str
    url: str
    branch: str
    messages: str
    pull_request: str | None = None
    problem: str | None = None


@router.get("", responses=responses(404, 409))
async def preview(thread_id: ThreadPath, request: Request, supervisor: SupervisorDep) -> PushPreview:
    """Show what a push would send where. Nothing is sent."""
    outgoing = await _outgoing(supervisor, thread_id)
    delivery = outgoing.delivery
    return PushPreview(
        remote=outgoing.remote,
        url=str(outgoing.url),
        branch=delivery.branch,
        commit=delivery.commit,
        verified=delivery.verified,
        missing=[] if delivery.verified else list(outgoing.account.missing),
        work_in_progress=outgoing.has_work_in_progress,
        actions=outgoing.actions,
        commits=[
            PushedCommit(id=each.id, subject=each.subject, author=each.author) for each in outgoing.commits
        ],
        files=[
            PushedFile(path=each.path, added=each.added, removed=each.removed) for each in outgoing.changes
        ],
        refused=_refusal(supervisor.settings, outgoing, request),
    )


@router.post("", responses=responses(403, 404, 409, 502))
async def push(
    thread_id: ThreadPath, body: PushRequest, request: Request, supervisor: SupervisorDep
) -> PushResponse:
    """Push the branch that a preview has shown, and open a pull request for it if that is wanted.

    Nothing is forced. A branch or remote that has changed since the preview is not pushed.
    """
    outgoing = await _outgoing(supervisor, thread_id)
    settings = supervisor.settings
    if refused := _refusal(settings, outgoing, request):
        raise Problem(403, "Push not allowed", refused)
    if (body.url, body.commit) != (str(outgoing.url), outgoing.delivery.commit):
        detail = "the branch or the remote has changed since it was shown; nothing was pushed. Look again"
        raise Problem(409, "Not what was shown", detail)
    pushed = await outgoing.push(settings.git_program(), settings.sites())
    response = PushResponse(
        status=pushed.status, url=pushed.url, branch=pushed.branch, messages=pushed.messages
    )
    if body.pull_request:
        try:
            response.pull_request = (await outgoing.open_pull_request(settings.sites())).url
        except HostingError as error:  # the push has happened, and must be told
            response.problem = str(error)
    return response


async def _outgoing(supervisor: Supervisor, thread_id: str) -> Outgoing:
    thread = await find_thread(supervisor, thread_id)
    await asyncio.to_thread(check_repository, supervisor.settings, thread.repo)
    return await Outgoing.of_thread(supervisor.journal, thread_id)


def _refusal(settings: Settings, outgoing: Outgoing, request: Request) -> str:
    """Say why this server does not push. Empty if it does.

    A push uses the logins of the user who runs the server. Other people may only use them if that user's
    policy names it.
    """
    call = GitPush(remote=outgoing.remote, branch=outgoing.delivery.branch)
    ruling = decide(call, settings.policy())
    if ruling.permission == "deny":
        return f"the policy denies this push ({ruling.reason})"
    # The setting is not what listens if another program serves the application.
    is_far = not is_loopback(client_of(request))
    if not (is_far or is_shared(settings, request.app.state.mounted)) or ruling.permission == "allow":
        return ""
    return (
        "other people may use this server, and a push would use the logins of the user who runs it. "
        'Push from a terminal, or let that user allow it with git_push = "allow" in the policy'
    )
