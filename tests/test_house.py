"""The repository as a whole: packaging, pins, the start of the command, and forbidden text."""

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from glob import glob
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from graph.settings import Settings
from server.main import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return the command as an installation places it: in a folder away from the packages."""
    script = tmp_path / "bin" / "autocode"
    script.parent.mkdir()
    shutil.copy(ROOT / "server" / "autocode", script)
    return script


def start(script: Path, *path: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command with `path` as PYTHONPATH."""
    env = {"PYTHONPATH": ":".join(map(str, path)), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(script), "--help"]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in our own checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stranger_that_hides_a_package_of_ours_is_named_and_never_imported(
    installed: Path, tmp_path: Path, name: str
) -> None:
    stranger = tmp_path / "theirs" / name
    stranger.mkdir(parents=True)
    (stranger / "__init__.py").write_text("raise SystemExit('a stranger ran')")
    done = start(installed, stranger.parent, ROOT)
    assert done.returncode == 5
    assert f"`{name}`" in done.stderr and str(stranger) in done.stderr and "PYTHONPATH" in done.stderr
    assert "stranger ran" not in done.stderr and done.stdout == ""


def test_a_single_module_is_a_stranger_too(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("raise SystemExit('a stranger ran')")
    done = start(installed, tmp_path, ROOT)
    assert done.returncode == 5
    assert str(tmp_path / "tools.py") in done.stderr


def test_a_project_with_most_of_our_names_is_still_the_stranger(installed: Path, tmp_path: Path) -> None:
    for name in PACKAGES[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    done = start(installed, tmp_path, ROOT)
    assert done.returncode == 5
    assert "`graph`" not in done.stderr
    assert all(str(tmp_path / name) in done.stderr for name in PACKAGES[1:])


def test_the_folder_the_command_is_started_in_does_not_matter(installed: Path, tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a stranger ran')")
    done = start(installed, ROOT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_installed_command_is_the_fence_and_only_our_packages_are_installed() -> None:
    try:
        files = distribution("autocode-ai").files or []
    except PackageNotFoundError:
        pytest.skip("the project is not installed here, only on the path")
    scripts = [file for file in files if file.name == "autocode"]
    assert len(scripts) == 1
    fence = (ROOT / "server" / "main.py").read_text().split("\n", 1)[1]
    assert Path(str(scripts[0].locate())).read_text().split("\n", 1)[1] == fence
    names = distribution("autocode-ai").read_text("top_level.txt")
    assert names and set(names.split()) == set(PACKAGES)


def test_no_other_distribution_provides_our_import_names() -> None:
    providers = packages_distributions()
    assert all(set(providers.get(name, [])) <= {"autocode-ai"} for name in PACKAGES)


def test_the_six_folders_are_installed_whole_and_nothing_else_is() -> None:
    setup = PROJECT["tool"]["setuptools"]
    find = setup["packages"]["find"]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("[!.]*/**/__init__.py")]
    names = [".".join(folder.parts) for folder in folders]
    packages = [
        name
        for name in names
        if any(fnmatch(name, one) for one in find["include"])
        and not any(fnmatch(name, one) for one in find["exclude"])
    ]
    assert {name.split(".")[0] for name in packages} == set(PACKAGES)
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(PACKAGES)
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]
    patterns = [(name.replace(".", "/"), "*.py") for name in packages]
    for name, globs in setup["package-data"].items():
        patterns += [(name.replace(".", "/"), pattern) for pattern in globs]
    installed = {
        f"{folder}/{file}"
        for folder, pattern in patterns
        for file in glob(pattern, root_dir=ROOT / folder, recursive=True)
    }
    tracked = git("ls-files", *PACKAGES).stdout.splitlines()
    assert set(tracked) - installed == {"server/autocode"}, "list these under [tool.setuptools]"


def test_tests_is_no_package() -> None:
    assert not list(ROOT.glob("tests/**/__init__.py"))


def test_the_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "bench/startup.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_dependency_is_pinned_and_no_pin_is_an_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([a-z0-9-]+)==([\w.+!]+)( ; [\w\s.'<>=()]+)?", line) for line in lines]
    assert all(pins), [line for line, pin in zip(lines, pins, strict=True) if not pin]
    pinned = {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [
        Requirement(text) for group in [*groups, *PROJECT["dependency-groups"].values()] for text in group
    ]
    for requirement in wanted:
        version = pinned.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"make constraints: {requirement}"


def test_the_example_names_every_setting_with_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    lines = (ROOT / ".env.example").read_text().splitlines()
    settings = [line[1:] for line in lines if re.match(r"#\w+=", line)]
    assert sorted(line.split("=")[0].lower() for line in settings) == sorted(Settings.model_fields)
    file = tmp_path / "env"
    file.write_text("\n".join(settings))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.load(file).model_dump() == Settings().model_dump()
    assert not [line for line in lines if line and not line.startswith("#")]


def test_no_committed_file_names_a_machine_or_a_registry() -> None:
    words = ["/wo" + "rk/", "/opt/" + "wheels", "/opt/" + "pypi", r"\.pyenv/" + "versions"]
    words += ["pypi" + r"\.org", "python" + "hosted", r"deb\." + "debian", "registry" + r"\.npmjs"]
    done = git("grep", "-nIE", "|".join(words))
    assert done.returncode == 1, done.stdout or done.stderr


def test_each_test_that_the_security_page_names_exists() -> None:
    rows = re.findall(r"^\|.*\| `(tests/\w+\.py)::(\w+)` \|$", (ROOT / "docs/security.md").read_text(), re.M)
    assert len(rows) > 20
    for path, name in rows:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M), f"{path}::{name}"
