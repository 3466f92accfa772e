"""Settings from flags, environment, an env file, config.toml and these defaults, in this order.

No other module reads our environment.
"""

import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from memory.secrets import names_key
from memory.validation import check_setting
from nodes.llm.model_settings import ModelSettings, providers_with_keys
from nodes.llm.prices import read_prices
from nodes.state import Agent
from sandbox.base import Limits
from tools.mcp import McpServer, read_servers
from tools.policy import Permission, Policy
from tools.workspace.packing.room import MAX_WORKSPACE_MB

if TYPE_CHECKING:
    from memory.repo_index import IndexSettings
    from tools.hosting import Sites
    from tools.remote import GitProgram

PUSH_SECONDS = 300.0
"""Time limit of a push that the user waits for."""

LlmMode = Literal["litellm", "openai", "deepseek", "local", "replay"]
POLICY_SOURCE = "TOOL_POLICY or config.toml"
AGENTS: tuple[Agent, ...] = ("planner", "coder", "tester", "debugger", "critic")


class Settings(BaseSettings):
    """All settings, under the names that users set. They are read once and passed down as values."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True, allow_inf_nan=False
    )

    autocode_home: Path = Path("~/.autocode")
    autocode_debug: bool = False
    database_url: str | None = None

    llm_mode: LlmMode = "litellm"
    llm_model: str | None = None
    planner_model: str = "gpt-4o"
    coder_model: str = "deepseek/deepseek-chat"
    tester_model: str = "groq/llama-3.3-70b-versatile"
    debugger_model: str = "anthropic/claude-sonnet-4-5"
    critic_model: str = "anthropic/claude-sonnet-4-5"
    default_model: str = "gpt-4o"
    openai_api_key: SecretStr | None = None
    deepseek_api_key: SecretStr | None = None
    local_llm_url: str = "http://localhost:11434/v1"
    local_model: str = "deepseek-coder"
    llm_record: Path | None = None
    llm_cassette: Path | None = None
    llm_replay_pace: float = Field(default=0.0, ge=0)
    llm_timeout: float = Field(default=120.0, gt=0)
    llm_max_retries: int = Field(default=4, ge=0)
    llm_max_output_tokens: int = Field(default=8192, gt=0)
    llm_max_wait: float = Field(default=300.0, ge=0)
    model_prices: str | None = None
    context_tokens: int | None = Field(default=None, ge=1024, le=100_000_000)

    github_url: str = "https://github.com"
    github_token: SecretStr | None = None
    gitlab_url: str = "https://gitlab.com"
    gitlab_token: SecretStr | None = None

    enable_memory: bool = True
    memory_scope: Literal["all", "repository"] = "repository"
    embeddings: Literal["auto", "openai", "minilm", "hash"] = "auto"
    embeddings_model_dir: Path | None = None
    repo_index_path: Path | None = None
    chroma_host: str | None = None
    chroma_port: int = Field(default=8001, ge=1, le=65535)

    sandbox_backend: Literal["auto", "docker", "bubblewrap"] = "auto"
    sandbox_image: str | None = None
    sandbox_timeout: float = Field(default=30.0, gt=0)
    sandbox_memory_mb: int = Field(default=512, ge=16)
    sandbox_cpus: float = Field(default=0.5, gt=0)
    sandbox_max_memory_mb: int = Field(default=4096, ge=16)
    sandbox_max_cpus: float = Field(default=2.0, gt=0)
    max_workspace_mb: int = Field(default=MAX_WORKSPACE_MB, ge=1, le=1_000_000)
    environment_approval: Literal["ask", "auto"] = "ask"
    environment_timeout: float = Field(default=600.0, gt=0)

    enable_tool_use: bool = True
    tool_executor_timeout: float = Field(default=30.0, gt=0)
    tool_policy: dict[str, Permission] = Field(default_factory=dict)

    enable_parallel_execution: bool = True
    max_parallel_workers: int = Field(default=3, ge=1, le=64)
    max_agent_steps: int = Field(default=25, ge=0, le=500)
    max_debug_rounds: int = Field(default=3, ge=0)
    max_review_rounds: int = Field(default=2, ge=0)
    max_cost_usd: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    max_run_seconds: float | None = Field(default=None, gt=0)

    autocode_host: str = "127.0.0.1"
    autocode_port: int = Field(default=8000, ge=0, le=65535)
    autocode_api_key: SecretStr | None = None
    autocode_allowed_hosts: str = ""
    autocode_cors_origins: str = ""
    autocode_trusted_proxies: str = ""
    autocode_repos: str = ""
    max_request_bytes: int = Field(default=4_000_000, ge=1024)
    max_connections: int = Field(default=1000, ge=1)
    max_connections_per_client: int = Field(default=500, ge=1)
    reader_timeout: float = Field(default=20.0, gt=0)
    max_concurrent_runs: int = Field(default=10, ge=1, le=1000)
    resume_on_start: bool = True

    @model_validator(mode="before")
    @classmethod
    def _take_policy(cls, values: Any) -> Any:
        """Take the table `[policy]` of config.toml as TOOL_POLICY, which wins."""
        # POLICY would be too common a name for a variable of the environment.
        if isinstance(values, dict) and "policy" in values:
            values.setdefault("tool_policy", values.pop("policy"))
        return values

    _check_plain = field_validator("*")(check_setting)

    @field_validator("tool_policy")
    @classmethod
    def _check_policy(cls, rules: dict[str, Permission]) -> dict[str, Permission]:
        """Refuse rules for tools that do not exist before any work begins."""
        Policy.read(rules, POLICY_SOURCE)
        return rules

    @field_validator("github_url", "gitlab_url")
    @classmethod
    def _check_site(cls, value: str) -> str:
        """Refuse what is no address, before a token goes there."""
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[\w./-]*)?", value):
            raise ValueError("write the address of the site, such as https://git.example.org")
        return value

    @field_validator("model_prices", mode="before")
    @classmethod
    def _check_prices(cls, value: Any) -> Any:
        """Refuse prices that cannot be read before any work begins. config.toml may hold a table."""
        if isinstance(value, dict):
            value = json.dumps(value)
        if isinstance(value, str):
            read_prices(value)
        return value

    @property
    def home(self) -> Path:
        """Return AUTOCODE_HOME, expanded and absolute."""
        return self.autocode_home.expanduser().absolute()

    @cached_property
    def mcp_servers(self) -> dict[str, McpServer]:
        """The MCP servers of AUTOCODE_HOME/mcp.json."""
        return read_servers(self.home, os.environ)

    @property
    def database(self) -> str:
        """Return DATABASE_URL, else the URL of a SQLite file under AUTOCODE_HOME."""
        return self.database_url or f"sqlite:///{self.home / 'autocode.db'}"

    @classmethod
    def load(cls, env_file: Path | None = None, **flags: Any) -> "Settings":
        """Read all sources. `flags` that are None are ignored.

        Raises FileNotFoundError, ValidationError, and McpConfigError for a wrong mcp.json.

        Other variables of the env file, such as a provider's key, are exported to the environment of the
        process for the libraries that read them. Variables that are set there already stay.
        """
        named = env_file or (Path(value) if (value := os.environ.get("AUTOCODE_ENV_FILE")) else None)
        file = named or Path(__file__).parent.parent / ".env"
        if named and not named.is_file():
            raise FileNotFoundError(f"no env file at {named}; correct --env-file or AUTOCODE_ENV_FILE")
        for name, value in dotenv_values(file).items():
            if name.lower() not in cls.model_fields and value:
                os.environ.setdefault(name, value)  # litellm looks for keys nowhere else
        settings = cls(_env_file=file, **{name: flag for name, flag in flags.items() if flag is not None})
        _ = settings.mcp_servers  # what is wrong there is said before any work begins
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the home's config.toml as the last source."""
        sources = (init_settings, env_settings, dotenv_settings)
        # The other sources say where the home is, so they are read before its file can be found.
        home = next((home for source in sources if (home := source().get("autocode_home"))), "~/.autocode")
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(home).expanduser() / "config.toml"))

    def sandbox_limits(self) -> Limits:
        """Return the limits of one program in the sandbox."""
        return Limits(seconds=self.sandbox_timeout, memory_mb=self.sandbox_memory_mb, cpus=self.sandbox_cpus)

    def policy(self) -> Policy:
        """Return the user's policy on tools."""
        return Policy.read(self.tool_policy, POLICY_SOURCE)

    @property
    def suite_seconds(self) -> float | None:
        """The time limit of a whole suite, where the user has set one for the sandbox."""
        return self.sandbox_timeout if "sandbox_timeout" in self.model_fields_set else None

    def secrets(self) -> list[str]:
        """Return the values to mask: our keys, and variables of the process whose names mark them as keys."""
        values = {value for name, value in os.environ.items() if names_key(name)}
        values |= {secret for server in self.mcp_servers.values() for secret in server.secrets}
        own = (self.openai_api_key, self.deepseek_api_key, self.autocode_api_key)
        values |= {key.get_secret_value() for key in (*own, self.github_token, self.gitlab_token) if key}
        values |= {urlsplit(self.database_url or "").password or ""}
        # Short values would mask ordinary words. The longest go first, as one may contain another.
        return sorted((value for value in values if len(value) >= 8), key=len, reverse=True)

    def model_settings(self) -> ModelSettings:
        """Return the models' part of the settings."""
        keys = {"OPENAI_API_KEY": self.openai_api_key, "DEEPSEEK_API_KEY": self.deepseek_api_key}
        named = (name for name in (*AGENTS, "default") if f"{name}_model" in self.model_fields_set)
        variables = [*filter(os.environ.get, os.environ), *filter(keys.get, keys)]
        return ModelSettings(
            mode=self.llm_mode,
            model=self.llm_model,
            agents={agent: getattr(self, f"{agent}_model") for agent in AGENTS},
            default_model=self.default_model,
            explicit=frozenset(named),
            keys={name: key.get_secret_value() for name, key in keys.items() if key},
            secrets=tuple(self.secrets()),
            local_url=self.local_llm_url,
            local_model=self.local_model,
            record=self.llm_record,
            cassette=self.llm_cassette,
            replay_pieces_per_second=self.llm_replay_pace,
            timeout=self.llm_timeout,
            max_retries=self.llm_max_retries,
            max_output_tokens=self.llm_max_output_tokens,
            max_wait=self.llm_max_wait,
            prices=read_prices(self.model_prices) if self.model_prices else {},
            context_tokens=self.context_tokens,
            providers=frozenset(providers_with_keys(variables)),
        )

    def git_program(self) -> "GitProgram":
        """Return the git program, which gets what it needs of the environment of the process."""
        from tools.remote import OWN_DIRS, GitLimits, GitProgram

        return GitProgram(os.environ, GitLimits(seconds=PUSH_SECONDS), self.home / OWN_DIRS)

    def sites(self) -> "Sites":
        """Return the GitHub and the GitLab of the user."""
        from tools.hosting import Site, Sites

        tokens = [key.get_secret_value() if key else "" for key in (self.github_token, self.gitlab_token)]
        github = Site("github", self.github_url.rstrip("/"), tokens[0])
        return Sites(github, Site("gitlab", self.gitlab_url.rstrip("/"), tokens[1]), os.environ)

    def index_settings(self) -> "IndexSettings":
        """Return the repository indexes' part of the settings."""
        # numpy comes with these, and most commands need neither.
        from memory.embeddings import EmbeddingSettings
        from memory.repo_index import IndexSettings

        key, folder = self.openai_api_key, self.repo_index_path
        return IndexSettings(
            folder=folder.expanduser().absolute() if folder else self.home / "index",
            chroma=self.home / "chroma",
            embeddings=EmbeddingSettings(
                kind=self.embeddings,
                model_dir=self.embeddings_model_dir and self.embeddings_model_dir.expanduser(),
                openai_key=key.get_secret_value() if key else None,
                hosted=self.model_settings().only_openai,
            ),
            chroma_host=self.chroma_host,
            chroma_port=self.chroma_port,
        )
