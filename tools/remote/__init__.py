"""Remotes: files from a clone, a pull into a snapshot, a push of a branch."""

from tools.remote.clone import Cloned, CloneLimits, check_branch, clone
from tools.remote.configured import default_remote, remote_names, remote_url
from tools.remote.connection import ANONYMOUS, Login
from tools.remote.errors import GitMissing, RemoteError, RemoteRefused
from tools.remote.git_dir import OWN_DIRS, remove_leftovers
from tools.remote.git_program import GitLimits, GitProgram
from tools.remote.pull import Pulled, pull
from tools.remote.push import Pushed, check_target, push
from tools.remote.remote_url import RemoteUrl, clone_url, configured_url
from tools.remote.unpushed import OutgoingCommit, unpushed

__all__ = [
    "ANONYMOUS",
    "OWN_DIRS",
    "CloneLimits",
    "Cloned",
    "GitLimits",
    "GitMissing",
    "GitProgram",
    "Login",
    "OutgoingCommit",
    "Pulled",
    "Pushed",
    "RemoteError",
    "RemoteRefused",
    "RemoteUrl",
    "check_branch",
    "check_target",
    "clone",
    "clone_url",
    "configured_url",
    "default_remote",
    "pull",
    "push",
    "remote_names",
    "remote_url",
    "remove_leftovers",
    "unpushed",
]
