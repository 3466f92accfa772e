#!/usr/bin/env python3
"""The `autocode` command: a fence around our import names, then the command line.

It is installed as a script, not as an entry point: an entry point begins by importing `server`,
which is too late when the `server` that Python finds is somebody else's.
"""

import atexit
import gc
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("graph", "nodes", "tools", "sandbox", "memory", "server")

ENVIRONMENT = 5
"""Exit code for what the user's environment must mend."""


def strangers() -> dict[str, Path]:
    """Packages of ours that Python would import from elsewhere, and from where; imports none of them."""
    found = {name: place for name in PACKAGES if (place := _place(name))}
    ours = next((place.parent for place in found.values() if _holds_all(place.parent)), None)
    return {name: place for name, place in found.items() if place.parent != ours}


def _place(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None:
        return None
    places = spec.submodule_search_locations or [spec.origin or name]
    return Path(next(iter(places))).resolve()


def _holds_all(folder: Path) -> bool:
    return all((folder / name / "__init__.py").is_file() for name in PACKAGES)


def main() -> None:
    """Run the command line; where strangers stand, name them and leave with exit code 5."""
    if found := strangers():
        for name, place in found.items():
            sys.stderr.write(f"autocode: another `{name}` hides AutoCodeAI's own: {place}\n")
        sys.stderr.write("Take its folder off PYTHONPATH, or uninstall what brought it, and start again.\n")
        raise SystemExit(ENVIRONMENT)

    atexit.register(gc.freeze)  # else the interpreter looks for garbage once more, for most of a second
    from server.cli.app import app  # only now is it sure that this `server` is ours

    app()


if __name__ == "__main__":
    main()
