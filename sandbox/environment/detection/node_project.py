"""Node projects: from package.json and its lock file to npm's, pnpm's or yarn's command."""

import json
import re
import shlex
from typing import Any

from sandbox.environment.detection.sources import Sources, folders_above, join, strings, table
from sandbox.environment.recipe import Ingredients, Toolset

FILES = ("package.json",)
"""Files that make a folder a Node project."""

_LOCKS = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "bun.lock": "bun",
}
# Only these keys of package.json say what is installed.
_KEYS = [
    "bundleDependencies",
    "dependencies",
    "devDependencies",
    "engines",
    "optionalDependencies",
    "overrides",
    "packageManager",
    "peerDependencies",
    "pnpm",
    "resolutions",
    "workspaces",
]
_HOOKS = ("preinstall", "install", "postinstall", "prepare")
_NO_TESTS = "no test specified"
_MANAGER = re.compile(r"(npm|pnpm|yarn)@(\d+(?:\.\d+){0,2}[\w.-]*)(?:\+.*)?")
_NPM = ("NPM_CONFIG_AUDIT", "NPM_CONFIG_FUND", "NPM_CONFIG_UPDATE_NOTIFIER")


def node_ingredients(
    sources: Sources, folder: str, toolset: Toolset, required: bool = True
) -> Ingredients | None:
    """Return how to install a Node project. None when it has no dependencies.

    With `required` false a project counts only if it has a test script, because many repositories of other
    languages have a package.json for their documentation or formatters.
    """
    path = join(folder, "package.json")
    package = sources.json(path)
    script = table(package, "scripts").get("test")
    has_tests = isinstance(script, str) and _NO_TESTS not in script
    if not required and not has_tests:
        return None
    if not any(package.get(key) for key in _KEYS if "ependencies" in key or key == "workspaces"):
        brought = toolset.packages_for(("node", "npm")) if has_tests else ()
        return Ingredients(packages=brought, reasons=(f"Node ({path})",)) if brought else None
    root, lock = _lock(sources, folder)
    manager, version = _manager(sources.json(join(root, "package.json")), lock)
    command, tools = _install(manager, version, lock, toolset, modern=join(root, ".yarnrc.yml") in sources)
    if root != folder:
        up = "/".join(".." for _ in folder.removeprefix(join(root, "")).split("/"))
        command = f"cd {shlex.quote(up)} && {command}"
    for tool in toolset.lacks(tools):
        sources.fault("tool", f"{path} needs {tool}, which this machine does not have. Install {tool}.")
    return Ingredients(
        commands=(command,),
        inputs=_inputs(sources, root, folder, lock),
        tools=tools,
        packages=toolset.packages_for(tools),
        build_variables=(("CI", "1"), *((name, "false") for name in _NPM)),
        reasons=(f"Node with {manager} ({join(root, lock) if lock else path + ', no lock file'})",),
    )


def _lock(sources: Sources, folder: str) -> tuple[str, str]:
    """Return the folder where the manager runs and the name of its lock file, if there is one.

    A workspace keeps its lock file in a folder above its packages.
    """
    for above in folders_above(join(folder, "x")):
        is_workspace = above == folder or (
            "workspaces" in sources.json(join(above, "package.json"))
            or join(above, "pnpm-workspace.yaml") in sources
        )
        for name in _LOCKS:
            if is_workspace and join(above, name) in sources:
                return above, name
    return folder, ""


def _manager(package: dict[str, Any], lock: str) -> tuple[str, str]:
    stated = package.get("packageManager")
    match = _MANAGER.fullmatch(stated) if isinstance(stated, str) else None
    if match and (not lock or _LOCKS[lock] == match[1]):
        return match[1], match[2]
    return _LOCKS.get(lock, "npm"), ""


def _install(
    manager: str, version: str, lock: str, toolset: Toolset, modern: bool
) -> tuple[str, tuple[str, ...]]:
    if manager == "npm":
        return ("npm ci" if lock else "npm install --no-package-lock"), ("node", "npm")
    if manager == "bun":
        return "bun install --frozen-lockfile", ("bun",)
    modern = modern or (bool(version) and not version.startswith("1"))
    frozen = "--immutable" if manager == "yarn" and modern else "--frozen-lockfile"
    options = f" {frozen}" if lock else ""
    if manager in toolset.tools and not version:
        return f"{manager} install{options}", ("node", manager)
    # npm brings the manager in the stated version. Yarn 2 and newer has another package name there.
    package = "@yarnpkg/cli-dist" if manager == "yarn" and modern else manager
    wanted = f"{package}@{version}" if version else package
    return f"npm exec --yes --package {wanted} -- {manager} install{options}", ("node", "npm")


def _inputs(sources: Sources, root: str, folder: str, lock: str) -> dict[str, str]:
    found = {}
    for place in dict.fromkeys((root, folder)):
        path = join(place, "package.json")
        package = sources.json(path)
        scripts = table(package, "scripts")
        kept = {key: package.get(key) for key in _KEYS} | {hook: scripts.get(hook) for hook in _HOOKS}
        found[path] = json.dumps(kept, sort_keys=True, default=str)
    if lock:
        found[join(root, lock)] = sources.lock(join(root, lock))
    for name in ("pnpm-workspace.yaml", ".yarnrc.yml", ".npmrc"):
        if join(root, name) in sources:
            found[join(root, name)] = sources.text(join(root, name))
    for pattern in strings(sources.json(join(root, "package.json")).get("workspaces"))[:50]:
        prefix = join(root, pattern.partition("*")[0])
        members = (
            path for path in sources.paths if path.startswith(prefix) and path.endswith("/package.json")
        )
        for path in sorted(path for path in members if "node_modules/" not in path)[:200]:
            found.setdefault(
                path, json.dumps({key: sources.json(path).get(key) for key in _KEYS}, sort_keys=True)
            )
    return found
