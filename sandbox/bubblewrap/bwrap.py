"""The program `bwrap` of this machine."""

import re
import shutil
import subprocess

from sandbox.base import SandboxError
from sandbox.bubblewrap.jail import namespaces

_OLDEST = (0, 7)  # the first version that can limit the size of a tmpfs
_INSTALL = "install bubblewrap 0.7 or newer (apt, dnf, zypper: install bubblewrap; pacman -S bubblewrap)"
_ALLOW = (
    "let users make user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), user.max_user_namespaces=10000; "
    "inside a container, run it with --security-opt seccomp=unconfined, or use Docker as backend"
)
_TRY_SECONDS = 10


def working_bwrap() -> tuple[str, str]:
    """Return path and version of bubblewrap after it has run `true`. Raises SandboxError with the cure."""
    path = shutil.which("bwrap")
    if not path:
        raise SandboxError(f"bubblewrap is not installed; {_INSTALL}")
    for tool in ("setpriv", "prlimit"):
        if not shutil.which(tool):
            raise SandboxError(f"bubblewrap's programs need {tool}; install util-linux")
    version = _call([path, "--version"]).stdout.strip().rpartition(" ")[2]
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST:
        raise SandboxError(f"bubblewrap {version or 'of an unknown version'} is too old; {_INSTALL}")
    tried = _call([path, *namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"])
    if tried.returncode:
        raise SandboxError(
            f"bubblewrap is installed but does not work here: {tried.stderr.strip()}; {_ALLOW}"
        )
    return path, version


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # a list of ours, no shell
        command, capture_output=True, text=True, check=False, timeout=_TRY_SECONDS
    )
