"""A delivered branch on its way to a remote: what goes where, the push, and the pull request."""

import asyncio
from dataclasses import dataclass

from graph.delivery import Delivery
from graph.publication.pull_request_text import Account, pull_request_text
from memory.records.journal import Journal
from nodes.events import Event, PlanMade, RunFinished, RunStarted
from nodes.state import options_of, steps_of
from tools.hosting import (
    HostingError,
    IssueAddress,
    PullRequest,
    Sites,
    actions,
    issue_address,
    open_pull_request,
)
from tools.remote import (
    GitProgram,
    Login,
    OutgoingCommit,
    Pushed,
    RemoteError,
    RemoteUrl,
    default_remote,
    push,
    remote_url,
    unpushed,
)
from tools.workspace import Change, Workspace
from tools.workspace.workspace import WORK_MESSAGE


@dataclass(frozen=True)
class Outgoing:
    """A delivery, the remote that it goes to, and the commits that the remote lacks."""

    delivery: Delivery
    account: Account
    remote: str
    url: RemoteUrl
    commits: tuple[OutgoingCommit, ...]
    changes: tuple[Change, ...]
    issue: str = ""

    @classmethod
    async def of_thread(cls, journal: Journal[Event], thread_id: str, remote: str = "") -> "Outgoing":
        """Read what a thread has delivered, and where it would go. Nothing is sent.

        Raises UnknownThread, RunnerError, RemoteError, WorkspaceError.
        """
        delivery = await Delivery.of_thread(journal, thread_id, whole=True)
        account = _account(await journal.events.read(thread_id), delivery)
        run = await journal.runs.get(account.run)
        issue = options_of(run.input).issue if run else None
        return await asyncio.to_thread(cls._open, delivery, account, remote, issue or "")

    @classmethod
    def _open(cls, delivery: Delivery, account: Account, remote: str, issue: str) -> "Outgoing":
        workspace = Workspace.open(delivery.repo)
        name = remote or default_remote(workspace)
        url = remote_url(workspace, name, push=True)
        commits = unpushed(workspace, delivery.commit, name)
        changes = workspace.changes(delivery.base, delivery.commit)
        return cls(delivery, account, name, url, commits, changes, issue)

    @property
    def has_work_in_progress(self) -> bool:
        """True if the user's uncommitted files would be published."""
        return any(commit.subject == WORK_MESSAGE for commit in self.commits)

    @property
    def actions(self) -> list[str]:
        """Parts of the commits' messages on which a site acts: it mails people, or closes issues."""
        parts = (part for commit in self.commits for part in actions(commit.message))
        return list(dict.fromkeys(parts))

    async def push(self, git: GitProgram, sites: Sites) -> Pushed:
        """Push the branch with the user's own login, or the token that the settings name for the host.

        Raises RemoteError, also if the remote's address is no longer the one that was shown.
        """
        workspace = await asyncio.to_thread(Workspace.open, self.delivery.repo)
        if await asyncio.to_thread(remote_url, workspace, self.remote, push=True) != self.url:
            raise RemoteError(f"the address of {self.remote} has changed meanwhile; nothing was pushed")
        login = Login(own=True, token=sites.named_token(self.url.authority))
        branch, commit = self.delivery.branch, self.delivery.commit
        return await push(git, workspace, commit, branch, self.remote, login=login)

    async def open_pull_request(self, sites: Sites) -> PullRequest:
        """Open a pull request for the pushed branch, or find the one there is. Raises HostingError."""
        project = await sites.project(self.url)
        issue = await self._issue(sites)
        same = issue is not None and issue.project.web.lower() == project.web.lower()
        # A number means another issue in another project.
        closes = f"#{issue.number}" if issue and same else ""
        text = pull_request_text(self.account, self.delivery, closes, issue.url if issue else "")
        return await open_pull_request(project, self.delivery.branch, text)

    async def _issue(self, sites: Sites) -> IssueAddress | None:
        try:
            return await issue_address(self.issue, sites) if self.issue else None
        except HostingError:  # clients may store anything
            return None


def _account(events: list[Event], delivery: Delivery) -> Account:
    """Return what the run that made the branch says about itself."""
    end = next(
        event
        for event in reversed(events)
        if isinstance(event.data, RunFinished) and event.data.branch == delivery.branch
    )
    finished = end.data
    assert isinstance(finished, RunFinished)  # noqa: S101  # as selected
    own = [event.data for event in events if event.run_id == end.run_id]
    task = next((data.task for data in own if isinstance(data, RunStarted)), "")
    plan = next((data.plan for data in reversed(own) if isinstance(data, PlanMade)), None)
    steps = tuple(step["description"] for step in steps_of(plan))
    return Account(end.run_id, task, steps, finished.summary, tuple(finished.missing))
