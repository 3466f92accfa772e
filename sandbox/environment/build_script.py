"""The shell script of a build: it runs the commands and gathers what they left in the workspace."""

import shlex
from collections.abc import Iterable, Mapping

from sandbox.base import WORKSPACE
from sandbox.environment.recipe import ENVIRONMENT, VENV, Recipe

SCRATCH = f"{ENVIRONMENT}/.build"
"""The build's own folder, with home, cache and temporary files. Backends remove it at the end."""

UV = "/opt/uv"
"""The folder where builds find uv."""

COMMAND_MARK = "$ "
"""Stands before each command in the output."""

# Runs cannot write bytecode beside the modules. What tests hardly import is left out, as compiling is slow.
_COMPILE = rf"""
[ ! -x {VENV}/bin/python ] || {VENV}/bin/python -m compileall -q -j 0 \
  -x '/(tests?|pip|setuptools)/|/pygments/lexers/(?!_|diff|python)' {VENV}/lib >/dev/null 2>&1 || :
"""

# node_modules moves into the environment, since it is large and must not be copied for every run. The
# workspace gets a folder of links, which tools may write caches into. A link to another package of the
# repository must lead to the workspace, where its files change.
_GATHER = r"""
cd "$1"
find . -name node_modules -type d -prune > "$2/modules"
while IFS= read -r dir; do
  for link in "$dir"/* "$dir"/@*/*; do
    [ -L "$link" ] || continue
    real=$(readlink -f "$link") || continue
    case "$real" in
      */node_modules/*) ;;
      "$PWD"/*) ln -sfn "$3/${real#"$PWD"/}" "$link" ;;
    esac
  done
done < "$2/modules"
while IFS= read -r dir; do
  mkdir -p "$4/tree/${dir%/*}"
  mv "$dir" "$4/tree/$dir"
  mkdir "$dir"
  for entry in "$4/tree/$dir"/* "$4/tree/$dir"/.[!.]*; do
    name=${entry##*/}
    case "$name" in .cache|.vite|.vite-temp|.vitest) continue ;; esac
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    ln -s "$4/tree/${dir#./}/$name" "$dir/$name"
  done
done < "$2/modules"
find . \( -name .git -o -name __pycache__ -o -name '*.egg-info' -o -name .pytest_cache \
  -o -path './build/temp.*' \
  -o -path './build/lib.*' -o -path './build/bdist.*' \) -prune -o \( -type f -o -type l \) ! -name '*
*' -print | LC_ALL=C sort > "$2/found"
LC_ALL=C comm -13 "$2/tracked" "$2/found" > "$2/new"
tar -cf "$2/generated.tar" -T "$2/new"
"""


def build_script(recipe: Recipe, variables: Mapping[str, str], path: Iterable[str], workspace: str) -> str:
    """Return the script. `workspace` is the workspace's folder in the file system that holds ENVIRONMENT."""
    settings = {
        **dict(recipe.variables),
        **variables,
        "HOME": f"{SCRATCH}/home",
        "TMPDIR": f"{SCRATCH}/tmp",  # noqa: S108  # of the sandbox
        "UV_CACHE_DIR": f"{SCRATCH}/uv",
        "UV_TOOL_DIR": f"{SCRATCH}/uv-tools",
        "UV_PYTHON_INSTALL_DIR": f"{ENVIRONMENT}/python",
        "UV_PROJECT_ENVIRONMENT": VENV,
        "UV_NO_PROGRESS": "1",
        "VIRTUAL_ENV": VENV,
        "POETRY_VIRTUALENVS_CREATE": "false",
        "PDM_CHECK_UPDATE": "false",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "npm_config_cache": f"{SCRATCH}/npm",
        "GIT_TERMINAL_PROMPT": "0",
        **dict(recipe.build_variables),
    }
    settings = {name: value for name, value in settings.items() if value}
    lines = ["set -eu", "umask 022", f"mkdir -p {SCRATCH}/home {SCRATCH}/tmp"]  # noqa: S108  # of the sandbox
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.items())]
    lines.append(f'export PATH={shlex.quote(":".join((f"{VENV}/bin", UV, *path)))}:"$PATH"')
    folder = shlex.quote(f"{WORKSPACE}/{recipe.folder}".rstrip("/"))
    # Snapshots have no times. Wheels cannot hold files from before 1980.
    lines.append(f"find {WORKSPACE} -exec touch -h {{}} +")
    for command in recipe.commands:
        lines.append(f"echo {shlex.quote(COMMAND_MARK + command)}")
        lines.append(f"(cd {folder} && {command}) || exit")
    gather = ("sh", "-euc", _GATHER, "sh", workspace, SCRATCH, WORKSPACE, ENVIRONMENT)
    lines += [shlex.join(gather), _COMPILE]
    return "\n".join([*lines, ""])


def tracked_list(paths: Iterable[str]) -> bytes:
    """Return the snapshot's paths in the form and order in which the script compares them."""
    names = (f"./{path}".encode("utf-8", "surrogateescape") for path in paths)
    return b"".join(sorted(name + b"\n" for name in names if b"\n" not in name))
