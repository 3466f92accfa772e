"""Tools that reach other repositories. The arguments are for people: no git program of the user's runs."""

from collections.abc import Sequence

from tools.catalogue.parameters import BranchName, EntryPath, RemoteName, RepositoryUrl
from tools.catalogue.tool import PlanTool


class GitClone(PlanTool):
    """Copy the files of another repository into a new folder."""

    name, effect = "git_clone", "outside"
    url: RepositoryUrl
    folder: EntryPath
    branch: BranchName | None = None

    def arguments(self) -> Sequence[str]:
        branch = [f"--branch={self.branch}"] if self.branch else []
        return ["git", "clone", *branch, "--", self.url, self.folder]

    def subjects(self) -> Sequence[str]:
        return [self.url]


class GitPull(PlanTool):
    """Merge a branch of a remote of this repository into the run's files."""

    name, effect = "git_pull", "outside"
    remote: RemoteName = "origin"
    branch: BranchName

    def arguments(self) -> Sequence[str]:
        return ["git", "pull", "--no-rebase", "--", self.remote, self.branch]

    def subjects(self) -> Sequence[str]:
        return [f"{self.remote} {self.branch}"]


class GitPush(PlanTool):
    """Push the run's files to a branch of a remote, the run's own branch by default. Never forced."""

    name, effect = "git_push", "outside"
    remote: RemoteName = "origin"
    branch: BranchName | None = None

    def arguments(self) -> Sequence[str]:
        return ["git", "push", "--", self.remote, *([self.branch] if self.branch else [])]

    def subjects(self) -> Sequence[str]:
        # The default is one of `autocode/*`, and a rule about these must see it.
        return [f"{self.remote} {self.branch or 'autocode/*'}"]
