"""Pull requests on GitHub, and merge requests on GitLab: found if they are open, else opened."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tools.hosting.api import HostingApi
from tools.hosting.errors import HostingError
from tools.hosting.sites import Project


@dataclass(frozen=True)
class PullRequest:
    """An open request to merge a branch. `created` is False if it was there before."""

    url: str
    target: str
    created: bool


@dataclass(frozen=True)
class PullRequestText:
    """Title and text of a request. A `draft` cannot be merged by mistake."""

    title: str
    body: str
    draft: bool = False


async def open_pull_request(project: Project, branch: str, text: PullRequestText) -> PullRequest:
    """Open a request to merge `branch` into the default branch, unless there is one. Raises HostingError."""
    if not project.site.token:
        raise HostingError(f"a pull request on {project.site.name} needs a token: {project.site.advice}")
    async with HostingApi(project.site) as api:
        requests = _GitHub(api, project) if project.site.kind == "github" else _GitLab(api, project)
        target = await requests.target()
        if target == branch:
            raise HostingError(f"{branch} is the default branch of {project.path}; there is nothing to merge")
        if (number := await requests.find(branch)) is not None:
            return PullRequest(requests.page(number), target, created=False)
        try:
            number = await requests.open(branch, target, text)
        except HostingError:
            # The answer may be lost, or somebody else was faster.
            if (number := await requests.find(branch)) is None:
                raise
            return PullRequest(requests.page(number), target, created=False)
        return PullRequest(requests.page(number), target, created=True)


@dataclass(frozen=True)
class _GitHub:
    api: HostingApi
    project: Project

    async def target(self) -> str:
        return _text(await self.api.get(f"repos/{self.project.path}"), "default_branch")

    async def find(self, branch: str) -> int | None:
        owner = self.project.path.partition("/")[0]
        path = f"repos/{self.project.path}/pulls"
        return _first(await self.api.get(path, head=f"{owner}:{branch}", state="open"), "number")

    async def open(self, branch: str, target: str, text: PullRequestText) -> int:
        path = f"repos/{self.project.path}/pulls"
        body = {"title": text.title, "body": text.body, "head": branch, "base": target}
        try:
            answer = await self.api.post(path, body | {"draft": text.draft})
        except HostingError as error:
            # Private repositories of free accounts have no drafts.
            if error.status != 422 or not text.draft or "draft" not in str(error).lower():
                raise
            answer = await self.api.post(path, body)
        return _number(answer, "number")

    def page(self, number: int) -> str:
        # The answer has an address too, which could be any.
        return f"{self.project.web}/pull/{number}"


@dataclass(frozen=True)
class _GitLab:
    api: HostingApi
    project: Project

    @property
    def _path(self) -> str:
        return f"projects/{quote(self.project.path, safe='')}"

    async def target(self) -> str:
        return _text(await self.api.get(self._path), "default_branch")

    async def find(self, branch: str) -> int | None:
        path = f"{self._path}/merge_requests"
        return _first(await self.api.get(path, source_branch=branch, state="opened"), "iid")

    async def open(self, branch: str, target: str, text: PullRequestText) -> int:
        body = {
            "title": f"Draft: {text.title}" if text.draft else text.title,
            "description": text.body,
            "source_branch": branch,
            "target_branch": target,
        }
        return _number(await self.api.post(f"{self._path}/merge_requests", body), "iid")

    def page(self, number: int) -> str:
        return f"{self.project.web}/-/merge_requests/{number}"


def _text(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise HostingError(f"the site's answer has no {name}; is the repository empty?")
    return value


def _number(answer: Any, name: str) -> int:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, int):
        raise HostingError(f"the site's answer has no {name}")
    return value


def _first(answer: Any, name: str) -> int | None:
    return _number(answer[0], name) if isinstance(answer, list) and answer else None
