"""Settings: where each value comes from, and what happens when one is wrong."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from graph.settings import Settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "anthropic_api_key", "autocode_env_file"]:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AUTOCODE_HOME", str(tmp_path / "home"))


def test_flags_beat_the_environment_which_beats_the_env_file_which_beats_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        "max_tokens = 1\nmax_debug_rounds = 1\nmax_review_rounds = 1\nsandbox_timeout = 1\n"
    )
    env_file = tmp_path / "env"
    env_file.write_text("MAX_DEBUG_ROUNDS=2\nMAX_REVIEW_ROUNDS=2\nSANDBOX_TIMEOUT=2\n")
    monkeypatch.setenv("MAX_REVIEW_ROUNDS", "3")
    monkeypatch.setenv("SANDBOX_TIMEOUT", "3")
    settings = Settings.load(env_file, sandbox_timeout=4.0)
    found = (
        settings.max_tokens,
        settings.max_debug_rounds,
        settings.max_review_rounds,
        settings.sandbox_timeout,
    )
    assert found == (1, 2, 3, 4.0)


def test_the_env_file_hands_provider_keys_to_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("ANTHROPIC_API_KEY=from-the-file\nMAX_TOKENS=7\n")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert Settings.load(env_file).max_tokens == 7
    assert os.environ["ANTHROPIC_API_KEY"] == "from-the-file"
    assert "MAX_TOKENS" not in os.environ


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL", "")
    monkeypatch.setenv("MAX_COST_USD", "")
    settings = Settings.load()
    assert settings.llm_model is None and settings.max_cost_usd is None


def test_a_wrong_value_is_refused_by_name_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_PARALLEL_WORKERS", "many-secrets")
    with pytest.raises(ValidationError) as caught:
        Settings.load()
    assert "max_parallel_workers" in str(caught.value) and "many-secrets" not in str(caught.value)


def test_a_named_env_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--env-file"):
        Settings.load(tmp_path / "gone")


def test_keys_are_secrets_and_stay_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-value")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-another-secret")
    settings = Settings.load()
    assert {"sk-very-secret-value", "gsk-another-secret"} <= set(settings.secrets())
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("flags", "explicit", "coder"),
    [
        ({}, set(), "deepseek/deepseek-chat"),
        ({"coder_model": "openai/x"}, {"coder"}, "openai/x"),
        ({"default_model": "openai/x"}, {"default"}, "deepseek/deepseek-chat"),
        ({"llm_model": "openai/x"}, set(), "openai/x"),
    ],
)
def test_models_know_which_names_the_user_chose(
    flags: dict[str, Any], explicit: set[str], coder: str
) -> None:
    models = Settings.load(**flags).model_settings()
    assert (set(models.explicit), models.model_of("coder")) == (explicit, coder)


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        ({}, "home/index"),
        ({"repo_index_path": "elsewhere"}, "elsewhere"),
        ({"autocode_home": "other"}, "other/index"),
    ],
)
def test_indexes_lie_in_the_home_unless_told_otherwise(
    flags: dict[str, Any], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load(**flags).index_settings().folder == tmp_path / folder


@pytest.mark.parametrize("source", ["flag", "environment", "env file"])
def test_the_config_lies_in_the_home_whoever_names_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "named"
    home.mkdir()
    (home / "config.toml").write_text("max_tokens = 7\n")
    env_file = tmp_path / "env"
    env_file.write_text(f"AUTOCODE_HOME={home}\n" if source == "env file" else "")
    monkeypatch.delenv("AUTOCODE_HOME")
    if source == "environment":
        monkeypatch.setenv("AUTOCODE_HOME", str(home))
    settings = Settings.load(env_file, autocode_home=home if source == "flag" else None)
    assert (settings.home, settings.max_tokens) == (home, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SANDBOX_TIMEOUT", "inf"),
        ("LLM_TIMEOUT", "nan"),
        ("LLM_TIMEOUT", "1e300"),
        ("MAX_TOKENS", "9" * 20),
        ("MAX_RUN_SECONDS", "inf"),
        ("LLM_MODEL", "a\udc80b"),
    ],
)
def test_what_no_clock_and_no_program_takes_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings.load()
