"""Sites that host repositories: their issues, and requests to merge a branch."""

from tools.hosting.errors import HostingError
from tools.hosting.issue import Issue, IssueAddress, issue_address, read_issue
from tools.hosting.pull_request import PullRequest, PullRequestText, open_pull_request
from tools.hosting.quoting import actions, inert, inert_line, quoted
from tools.hosting.sites import Project, Site, Sites

__all__ = [
    "HostingError",
    "Issue",
    "IssueAddress",
    "Project",
    "PullRequest",
    "PullRequestText",
    "Site",
    "Sites",
    "actions",
    "inert",
    "inert_line",
    "issue_address",
    "open_pull_request",
    "quoted",
    "read_issue",
]
