"""`autocode environments` and the doctor: what is stored, and what a pruning removes on each backend."""

import io
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from test_cli import autocode, place

from sandbox.base import Sandbox

assert place  # pytest takes it as a fixture of this module

DAY = 86_400
KEYS = ["3f2a9c10" * 3, "9b9b0000" * 3, "c0ffee00" * 3]


def store(home: Path, key: str, days: float, **values: Any) -> Path:
    """Store an environment that was last used so many days ago."""
    folder = home / "environments" / key
    (folder / "root").mkdir(parents=True)
    record = {
        "key": key,
        "backend": "bubblewrap",
        "folder": "",
        "commands": ["uv pip install -e ."],
        "sources": ["pyproject.toml"],
        "python": "3.12.1",
        "built": "2026-11-20T08:00:00+00:00",
        "seconds": 12.3,
        "size_mb": 812,
    }
    file = folder / "record.json"
    file.write_text(json.dumps(record | values))
    used = time.time() - days * DAY - 60
    os.utime(file, (used, used))
    return folder


def test_nothing_stored_is_said(place: Path) -> None:
    assert json.loads(autocode("environments", "--json").stdout) == []
    assert "There is no environment" in autocode("environments").stderr
    pruned = autocode("environments", "--prune", "0")
    assert pruned.exit_code == 0 and "0 environments removed." in pruned.stderr


def test_environments_are_listed_with_what_they_are_and_when_they_were_used(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    store(place, KEYS[0], 12, size_mb=2048)
    store(place, KEYS[1], 2, folder="packages/api", sources=["a\x1b[2J.txt", "uv.lock"], seconds=130)
    table = autocode("environments").stdout.splitlines()
    rows = [" ".join(row.split()) for row in table[1:]]
    assert rows == [
        "9b9b00009b9b bubblewrap packages/api a␛[2J.txt, uv.lock 3.12.1 812 MB 2 days 2:10",
        "3f2a9c103f2a bubblewrap . pyproject.toml 3.12.1 2.0 GB 12 days 12.3s",
    ]
    told = json.loads(autocode("environments", "--json").stdout)
    assert [one["key"] for one in told] == [KEYS[1], KEYS[0]]
    assert told[1]["commands"] == ["uv pip install -e ."] and told[1]["seconds"] == 12.3


def test_pruning_removes_the_unused_and_says_which(place: Path) -> None:
    old, new = store(place, KEYS[0], 12), store(place, KEYS[1], 2)
    done = autocode("environments", "--prune", "10")
    assert done.exit_code == 0, done.output
    assert "1 environment removed, 812 MB." in done.stderr
    assert "3f2a9c103f2a  pyproject.toml, unused for 12 days" in done.stderr
    assert not old.exists() and new.exists()
    assert "9b9b00009b9b" in done.stdout and "3f2a9c103f2a" not in done.stdout
    assert autocode("environments", "--prune", "-1").exit_code == 2


def test_environments_of_docker_stay_while_no_engine_answers(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    image, own = store(place, KEYS[0], 12, backend="docker", image="sha256:0"), store(place, KEYS[1], 12)
    done = autocode("environments", "--prune", "10")
    assert "1 environment removed" in done.stderr and "Those of Docker stay" in done.stderr
    assert image.exists() and not own.exists()


@pytest.mark.docker
def test_the_images_of_pruned_environments_go_too(place: Path, docker: Sandbox) -> None:
    from docker.errors import ImageNotFound

    from sandbox.docker.docker_sandbox import connect

    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    client = connect()
    try:
        name = f"autocode-environment:{KEYS[2]}"
        client.api.import_image_from_data(archive.getvalue(), "autocode-environment", KEYS[2])
        folder = store(place, KEYS[2], 12, backend="docker", image=client.images.get(name).id)
        done = autocode("environments", "--prune", "10")
        assert "1 environment removed" in done.stderr, done.output
        assert not folder.exists()
        with pytest.raises(ImageNotFound):
            client.images.get(name)
    finally:
        client.close()


def test_the_doctor_lists_environments_with_size_and_age(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_MODE", "local")
    monkeypatch.setenv("LOCAL_LLM_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("ENABLE_MEMORY", "false")
    assert "none is built yet" in autocode("doctor").stdout
    for number in range(11):
        store(place, f"{number:024}", number)
    shown = " ".join(autocode("doctor").stdout.split())  # a long path folds lines
    assert "11 built, 8.7 GB in" in shown
    assert "000000000000 812 MB, used 1 minute ago, from pyproject.toml" in shown
    assert "used 9 days ago" in shown and "used 10 days" not in shown
    assert "and 1 more: autocode environments" in shown
