"""The one reader of our environment: flags, environment, an env file, config.toml, then these defaults."""

import os
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from nodes.state import Agent

LlmMode = Literal["litellm", "openai", "deepseek", "local", "replay"]
AGENTS: tuple[Agent, ...] = ("planner", "coder", "tester", "debugger", "critic")


class Settings(BaseSettings):
    """Everything that can be configured, under the names users set. Read once, passed down as values."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

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

    sandbox_backend: Literal["auto", "docker", "bubblewrap"] = "auto"
    sandbox_image: str | None = None
    sandbox_timeout: float = Field(default=30.0, gt=0)

    enable_parallel_execution: bool = True
    max_parallel_workers: int = Field(default=3, ge=1, le=64)
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
    autocode_repos: str = ""
    max_request_bytes: int = Field(default=4_000_000, ge=1024)
    max_connections: int = Field(default=1000, ge=1)
    reader_timeout: float = Field(default=20.0, gt=0)
    max_concurrent_runs: int = Field(default=10, ge=1, le=1000)
    resume_on_start: bool = True

    @property
    def home(self) -> Path:
        """AUTOCODE_HOME, expanded and absolute."""
        return self.autocode_home.expanduser().absolute()

    @property
    def database(self) -> str:
        """The database's URL: DATABASE_URL, else SQLite under AUTOCODE_HOME."""
        return self.database_url or f"sqlite:///{self.home / 'autocode.db'}"

    @classmethod
    def load(cls, env_file: Path | None = None, **flags: Any) -> "Settings":
        """Read all sources; `flags` that are None count as not given. Raises ValidationError.

        What the env file sets beside our own variables, such as a provider's key, goes into the process's
        environment, where the libraries that want it look; what is set there already stands.
        """
        named = env_file or (Path(value) if (value := os.environ.get("AUTOCODE_ENV_FILE")) else None)
        file = named or Path(__file__).parent.parent / ".env"
        if named and not named.is_file():
            raise FileNotFoundError(f"no env file at {named}; mend --env-file or AUTOCODE_ENV_FILE")
        for name, value in dotenv_values(file).items():
            if name.lower() not in cls.model_fields and value:
                os.environ.setdefault(name, value)
        given = {name: value for name, value in flags.items() if value is not None}

        class Sourced(cls):  # type: ignore[valid-type, misc]  # the sources depend on where the env file lies
            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                env = EnvSettingsSource(settings_cls, env_ignore_empty=True)
                dotenv = DotEnvSettingsSource(settings_cls, env_file=file, env_ignore_empty=True)
                home = (
                    given.get("autocode_home") or env().get("autocode_home") or dotenv().get("autocode_home")
                )
                config = Path(home or "~/.autocode").expanduser() / "config.toml"
                return (init_settings, env, dotenv, TomlConfigSettingsSource(settings_cls, toml_file=config))

        return Sourced(**given)

    def secrets(self) -> list[str]:
        """Values that must never be seen: every variable of the process whose name marks it as a key."""
        marks = ("API_KEY", "TOKEN", "SECRET", "PASSWORD")
        values = {value for name, value in os.environ.items() if any(mark in name.upper() for mark in marks)}
        own = (self.openai_api_key, self.deepseek_api_key, self.autocode_api_key)
        values |= {key.get_secret_value() for key in own if key}
        return sorted((value for value in values if len(value) >= 8), key=len, reverse=True)
