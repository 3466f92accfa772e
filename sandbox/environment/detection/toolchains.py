"""Go modules and Rust crates: their dependencies are downloaded, their code is built by the checks."""

import re

from sandbox.environment.detection.sources import Sources, folders_above, join
from sandbox.environment.recipe import ENVIRONMENT, Ingredients, Toolset

_GO_VARIABLES = (
    ("GOCACHE", "/tmp/go-build"),  # noqa: S108  # of the sandbox
    ("GOFLAGS", "-mod=mod"),
    ("GOMODCACHE", f"{ENVIRONMENT}/go"),
    ("GOTOOLCHAIN", "local"),
)
_GO_OFFLINE = (("GOFLAGS", "-mod=readonly"), ("GOPROXY", "off"))
_RUST_VARIABLES = (
    ("CARGO_HOME", f"{ENVIRONMENT}/cargo"),
    ("CARGO_TARGET_DIR", "/tmp/target"),  # noqa: S108  # of the sandbox
)


def go_ingredients(sources: Sources, folder: str, toolset: Toolset) -> Ingredients | None:
    """Return how to download a Go module's dependencies. None when it has none or brings them itself."""
    path = join(folder, "go.mod")
    text = sources.text(path)
    packages = _packages(sources, toolset, path, "go")
    if not re.search(r"(?m)^[ \t]*require\b", text) or join(folder, "vendor/modules.txt") in sources:
        return _only(packages, f"Go ({path})")
    inputs = {path: text}
    if join(folder, "go.sum") in sources:
        inputs[join(folder, "go.sum")] = sources.lock(join(folder, "go.sum"))
    stated = re.search(r"(?m)^go[ \t]+([\d.]+)", text)
    return Ingredients(
        commands=("go mod download",),
        inputs=inputs,
        tools=("go",),
        packages=packages,
        variables=tuple(sorted(dict((*_GO_VARIABLES, *_GO_OFFLINE)).items())),
        build_variables=tuple(sorted((dict(_GO_VARIABLES) | {"GOPROXY": ""}).items())),
        reasons=(f"Go {stated[1] if stated else 'module'} ({path})",),
    )


def rust_ingredients(sources: Sources, folder: str, toolset: Toolset) -> Ingredients | None:
    """Return how to download a Rust crate's dependencies. A workspace keeps its lock in the folder above."""
    path = join(folder, "Cargo.toml")
    packages = _packages(sources, toolset, path, "cargo")
    manifest = sources.toml(path)
    kinds = ("dependencies", "dev-dependencies", "build-dependencies", "workspace")
    if not any(manifest.get(kind) for kind in kinds):
        return _only(packages, f"Rust ({path})")
    inputs = {path: sources.text(path)}
    lock = next((join(a, "Cargo.lock") for a in folders_above(path) if join(a, "Cargo.lock") in sources), "")
    if lock:
        inputs[lock] = sources.lock(lock)
    return Ingredients(
        commands=("cargo fetch --locked" if lock else "cargo fetch",),
        inputs=inputs,
        tools=("cargo",),
        packages=packages,
        variables=(*_RUST_VARIABLES, ("CARGO_NET_OFFLINE", "true")),
        build_variables=_RUST_VARIABLES,
        reasons=(f"Rust ({lock or path})",),
    )


def _packages(sources: Sources, toolset: Toolset, path: str, tool: str) -> tuple[str, ...]:
    """Return the packages that bring a tool. Without any its absence is a fault."""
    for missing in toolset.lacks([tool]):
        sources.fault("tool", f"{path} needs {missing}, which this machine does not have. Install {missing}.")
    return toolset.packages_for([tool])


def _only(packages: tuple[str, ...], reason: str) -> Ingredients | None:
    return Ingredients(packages=packages, reasons=(reason,)) if packages else None
