#!/usr/bin/env python3
"""The `autocode` command: check our import names, then run the command line.

It is installed as a script. An entry point would import `server` first, and with it any foreign package
of that name that Python finds.
"""

import atexit
import gc
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("graph", "nodes", "tools", "sandbox", "memory", "server")

_OBJECTS = 50_000  # new ones, before Python collects garbage

ENVIRONMENT = 5
"""Exit code for faults of the environment, as in `server.cli.exit_codes`."""


def foreign_packages() -> dict[str, Path]:
    """Return the packages that Python would import in place of ours, with their paths. Imports none."""
    paths = {name: path for name in PACKAGES if (path := _path(name))}
    ours = next((path.parent for path in paths.values() if _has_all_packages(path.parent)), None)
    return {name: path for name, path in paths.items() if path.parent != ours}


def _path(name: str) -> Path | None:
    spec = find_spec(name)  # imports nothing, because the names have no dots
    if spec is None:
        return None
    # A namespace package has locations but no origin, a single module the reverse.
    return Path(next(iter(spec.submodule_search_locations or [spec.origin or name]))).resolve()


def _has_all_packages(folder: Path) -> bool:
    return all((folder / name / "__init__.py").is_file() for name in PACKAGES)


def main() -> None:
    """Run the command line. Foreign packages end it with exit code 5."""
    if packages := foreign_packages():
        for name, path in packages.items():
            sys.stderr.write(f"autocode: another package `{name}` hides AutoCodeAI's own: {path}\n")
        sys.stderr.write("Remove its folder from PYTHONPATH, or uninstall the package, and try again.\n")
        raise SystemExit(ENVIRONMENT)

    # Else the interpreter's last garbage collection walks all libraries, which delays the prompt by 1.5 s.
    atexit.register(gc.freeze)
    # Imports make many objects and little garbage. Python's own 700 would cost a run 0.2 s before it begins.
    gc.set_threshold(_OBJECTS)
    from server.cli.app import app  # safe only after the check

    app()


if __name__ == "__main__":
    main()
