"""The MCP servers that the user lists in mcp.json, in the format that MCP clients share."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tools.catalogue.mcp_call import SERVER_NAME
from tools.catalogue.tool import faults_in_words

FILE = "mcp.json"
MOST_BYTES = 1_000_000
NAME_LENGTH = 40

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}$]*))?\}")
_SECRET = re.compile(r"key|token|secret|pass|pwd|credential|auth|cookie", re.IGNORECASE)
_HARMLESS_HEADERS = ("accept", "content-type", "user-agent")
_SHORTEST_SECRET = 8  # shorter values would mask ordinary words

Transport = Literal["stdio", "http", "sse"]


class McpConfigError(ValueError):
    """mcp.json cannot be used. The message says where, and what to write."""


@dataclass(frozen=True)
class McpServer:
    """A server, with the variables of the environment filled in.

    `reads` is true if the user has declared that its tools only read. `tools` are those that may be used,
    None for all. `problem` says why it cannot be used. `secrets` are the values that no event may show.
    """

    name: str
    transport: Transport
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path()
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    reads: bool = False
    tools: frozenset[str] | None = None
    problem: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)


class _ServerEntry(BaseModel):
    """An entry of `mcpServers`. Fields of other clients are ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    command: str | None = Field(default=None, min_length=1)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = Field(default=None, min_length=1)
    headers: dict[str, str] = Field(default_factory=dict)
    transport: Annotated[
        Literal["stdio", "http", "streamable_http", "streamable-http", "sse", None],
        Field(default=None, validation_alias=AliasChoices("transport", "type")),
    ]
    effect: Literal["read", "outside"] = "outside"
    tools: list[str] | None = None
    disabled: bool = False

    @model_validator(mode="after")
    def _check_kind(self) -> "_ServerEntry":
        if (self.command is None) == (self.url is None):
            raise ValueError("write either `command` or `url`")
        if self.url is None and self.transport not in (None, "stdio"):
            raise ValueError(f"the transport {self.transport} needs a `url`")
        if self.command is None and self.transport == "stdio":
            raise ValueError("the transport stdio needs a `command`")
        return self


def read_servers(folder: Path, environment: Mapping[str, str]) -> dict[str, McpServer]:
    """Read mcp.json of a folder, none without the file. Raises McpConfigError.

    A variable that is not set is a problem of its server alone.
    """
    file = folder / FILE
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise McpConfigError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise McpConfigError(f"{file} is longer than {MOST_BYTES:,} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise McpConfigError(f"{file} is not usable JSON: {str(error)[:200]}") from error
    entries = value.get("mcpServers") if isinstance(value, dict) else None
    if not isinstance(entries, dict):
        raise McpConfigError(f'{file} has no object "mcpServers"; write {{"mcpServers": {{"name": {{…}}}}}}')
    servers = (_server(name, entry, file, environment) for name, entry in sorted(entries.items()))
    return {server.name: server for server in servers if server}


def _server(name: str, value: Any, file: Path, environment: Mapping[str, str]) -> McpServer | None:
    """Return a server, None if it is disabled. Raises McpConfigError."""
    if len(name) > NAME_LENGTH or not SERVER_NAME.fullmatch(name):
        raise McpConfigError(
            f"{file}: the server {name[:NAME_LENGTH]!r} needs another name: at most {NAME_LENGTH} letters, "
            "digits, - and single _"
        )
    try:
        entry = _ServerEntry.model_validate(value)
    except ValidationError as error:
        raise McpConfigError(f"{file}: {name}: {faults_in_words(error)}") from error
    if entry.disabled:
        return None
    expansion = _Expansion(environment)
    url = expansion.of(entry.url or "")
    env = {key: expansion.of(text) for key, text in entry.env.items()}
    headers = {key: expansion.of(text) for key, text in entry.headers.items()}
    server = McpServer(
        name,
        transport="stdio" if entry.command else "sse" if entry.transport == "sse" else "http",
        command=tuple(expansion.of(text) for text in [entry.command or "", *entry.args]),
        env=env,
        folder=Path(expansion.of(entry.cwd)).expanduser() if entry.cwd else file.parent,
        url=url,
        headers=headers,
        reads=entry.effect == "read",
        tools=None if entry.tools is None else frozenset(entry.tools),
        problem=expansion.problem or _url_problem(url),
        secrets=_secrets(env, headers, url),
    )
    if any("\0" in text for text in (*server.command, *env, *env.values(), str(server.folder))):
        raise McpConfigError(f"{file}: {name}: a text contains NUL")
    return server


class _Expansion:
    """Fills variables into texts, and keeps the names of those that are not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._missing: list[str] = []

    def of(self, text: str) -> str:
        """Return a text with the values of `${NAME}` and `${NAME:-default}`."""
        return _VARIABLE.sub(self._value, text)

    @property
    def problem(self) -> str:
        """The variables that are not set, in words."""
        if not self._missing:
            return ""
        names = ", ".join(dict.fromkeys(self._missing))
        return f"{names} of the environment is not set; set it, or write ${{NAME:-default}}"

    def _value(self, match: re.Match[str]) -> str:
        value = self._environment.get(match[1]) or match[2]
        if value is None:
            self._missing.append(match[1])
        return value or ""


def _url_problem(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return "" if usable and url.isprintable() else "its url is no address; write https://host/path"


def _secrets(env: Mapping[str, str], headers: Mapping[str, str], url: str) -> tuple[str, ...]:
    """Return the values that must not be shown: of variables with such names, and of most headers."""
    values = [value for name, value in env.items() if _SECRET.search(name)]
    for name, value in headers.items():
        if name.lower() not in _HARMLESS_HEADERS:
            values += [value, value.partition(" ")[2]]  # without `Bearer`
    if not _url_problem(url):
        parts = urlsplit(url)
        values += [parts.password or ""]
        values += [value for name, value in parse_qsl(parts.query) if _SECRET.search(name)]
    return tuple(dict.fromkeys(value for value in values if len(value) >= _SHORTEST_SECRET))
