"""The git program, with limits, without prompts, and with an environment that we compose."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from memory.secrets import mask
from memory.validation import valid_text
from tools.remote.errors import GitMissing, RemoteError
from tools.remote.git_dir import Setting

OUTPUT_BYTES = 64 * 1024
"""Size of each kept output. A server can send messages without end."""

SHOWN = 2000
"""Characters of git's messages that people see."""

_ALWAYS = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")
# Credential helpers and ssh find a user's logins by these.
_LOGIN = (
    "HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "GH_CONFIG_DIR", "GLAB_CONFIG_DIR",
)  # fmt: skip
# A master of shared connections would go on in the background and keep our pipes open.
_OLDEST = (2, 32)
_SSH = (
    " -oBatchMode=yes -oConnectTimeout=15 -oClearAllForwardings=yes -oPermitLocalCommand=no"
    " -oControlMaster=no -oControlPersist=no"
)
_USERS_OWN = re.compile(
    r"^(?:credential\..*|http\.(?:.+\.)?(?:sslcainfo|sslcapath|sslcert|sslkey|sslverify|extraheader|emptyauth)"
    r"|core\.sshcommand)",
    re.IGNORECASE | re.DOTALL,
)

LIMITED = """\
import os, resource, sys
for name, value in zip(("RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_AS"), map(int, sys.argv[1:4])):
    try:
        if value:
            resource.setrlimit(getattr(resource, name), (value, value))
    except (ValueError, OSError):
        pass
try:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the login
except (ValueError, OSError):
    pass
os.execv(sys.argv[4], sys.argv[4:])
"""
"""A program that sets its own limits, in bytes and seconds, and becomes another one."""


@dataclass(frozen=True)
class GitLimits:
    """Limits of one use of a remote. 0 sets none."""

    seconds: float = 30.0
    received_bytes: int = 250 << 20
    file_bytes: int = 300 << 20
    memory_bytes: int = 2 << 30
    allocation: str = "512m"


@dataclass(frozen=True)
class GitOutput:
    """The end of a git command. `errors` is fit to be shown: without passwords and control characters."""

    exit_code: int
    text: str
    errors: str
    timed_out: bool = False


@dataclass(frozen=True)
class GitProgram:
    """Runs git. `environment` is the process's own, of which git gets a few variables.

    `place` holds the git folders of our own while they are used.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: GitLimits = field(default_factory=GitLimits)
    place: Path | None = None

    async def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        protocols: Sequence[str] = (),
        *,
        login: bool = False,
        ssh: str = "ssh",
        configured: bool = False,
    ) -> GitOutput:
        """Run a git command on our own git folder. Raises GitMissing.

        With `login`, the user's credential helpers and ssh agent are within reach. With `configured`, git
        also reads the user's configuration.
        """
        limits = self.limits
        # Helpers of users may reserve more addresses than git may use.
        memory = 0 if login else limits.memory_bytes
        numbers = map(str, (limits.file_bytes, int(limits.seconds) + 1, memory))
        program = await asyncio.to_thread(self._git)
        command = [sys.executable, "-I", "-S", "-c", LIMITED, *numbers, program, *arguments]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=self._variables(folder, protocols, login, ssh)
            | (self._configuration() if configured else {"GIT_CONFIG_GLOBAL": os.devnull}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # without a terminal, nothing can ask for a password
        )
        assert process.stdout  # noqa: S101  # both are pipes
        assert process.stderr  # noqa: S101
        try:
            async with asyncio.timeout(limits.seconds):
                output, errors = await asyncio.gather(_head(process.stdout), _tail(process.stderr))
                code = await process.wait()
            return GitOutput(code, output.decode("utf-8", "replace"), readable(errors))
        except TimeoutError:
            return GitOutput(-1, "", f"git did not end within {limits.seconds:g} s", timed_out=True)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())

    async def own_settings(self, folder: Path) -> list[Setting]:
        """Return what the user's and the system's configuration says about logins and certificates."""
        version = (await self.run(folder, ["version"])).text
        numbers = re.search(r"(\d{1,4})\.(\d{1,4})", version)
        # An older git cannot be told to leave out the user's other settings.
        if not numbers or tuple(map(int, numbers.groups())) < _OLDEST:
            raise GitMissing(f"a login needs git 2.32 or newer, and this is {version.strip() or 'unknown'}")
        listed = await self.run(folder, ["config", "--null", "--list"], login=True, configured=True)
        if listed.exit_code:
            raise RemoteError(f"git cannot read your configuration: {listed.errors}")
        pairs = (entry.partition("\n") for entry in listed.text.split("\0") if entry)
        return [(key, value) for key, _, value in pairs if _USERS_OWN.fullmatch(key)]

    def variable(self, name: str) -> str:
        """Return a variable of the process that is written in upper or lower case."""
        return self.environment.get(name) or self.environment.get(name.lower(), "")

    def _configuration(self) -> dict[str, str]:
        """Return the variables that say where the user's configuration is."""
        names = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
        own = {"GIT_CONFIG_NOSYSTEM": self.environment.get("GIT_CONFIG_NOSYSTEM", "0")}
        return own | {name: self.environment[name] for name in names if name in self.environment}

    def _git(self) -> str:
        if program := shutil.which("git", path=self.environment.get("PATH")):
            return program
        raise GitMissing("there is no git program on this machine; install git")

    def _variables(self, folder: Path, protocols: Sequence[str], login: bool, ssh: str) -> dict[str, str]:
        names = (*_ALWAYS, *_LOGIN) if login else _ALWAYS
        variables = {name: self.environment[name] for name in names if name in self.environment}
        if not login:
            variables["HOME"] = str(folder)
        return variables | {
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",  # we read git's messages
            "GIT_DIR": str(folder),
            "GIT_ALLOW_PROTOCOL": ":".join(protocols) or "none",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS_REQUIRE": "never",
            "GCM_INTERACTIVE": "never",
            "GIT_SSH_COMMAND": quiet_ssh(ssh),
            "GIT_NO_LAZY_FETCH": "1",  # a missing object would else be fetched from where the config says
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOC_LIMIT": self.limits.allocation,
        }


def quiet_ssh(command: str) -> str:
    """Return an ssh command that never waits for an answer."""
    with suppress(ValueError, IndexError):
        if Path(shlex.split(command)[0]).name == "ssh":
            return command + _SSH
    return command


def readable(data: bytes) -> str:
    """Return the end of git's messages as plain text, without passwords and control characters."""
    text = valid_text(data.decode("utf-8", "replace"))
    lines = ("".join(filter(str.isprintable, line)) for line in re.split(r"[\r\n]+", text))
    return mask("\n".join(line for line in lines if line.strip()))[-SHOWN:].strip()


async def _head(stream: asyncio.StreamReader) -> bytes:
    """Read everything and keep the beginning."""
    kept = b""
    while data := await stream.read(65536):
        kept = kept if len(kept) >= OUTPUT_BYTES else kept + data
    return kept[:OUTPUT_BYTES]


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Read everything and keep the end."""
    kept = b""
    while data := await stream.read(65536):
        kept = (kept + data)[-OUTPUT_BYTES:]
    return kept
