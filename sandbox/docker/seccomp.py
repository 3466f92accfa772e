"""The seccomp profile of our containers: Docker's default one without the calls that no program may make.

`seccomp.json` is the default profile of github.com/moby/profiles, seccomp/v0.2.3, under the Apache License
2.0. Engines bring profiles of their own. Those before 25.0 allow io_uring, and all of them ptrace.
"""

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from docker import DockerClient

from sandbox.denied_calls import ABSENT, DENIED, ENOSYS

_DEFAULTS = ("name=seccomp,profile=default", "name=seccomp,profile=builtin")


def security_options(client: DockerClient) -> list[str]:
    """Return the security options of containers.

    An engine without seccomp, or with a profile that its owner chose, keeps what it has. So does Podman,
    which takes a path where Docker takes the profile.
    """
    return ["no-new-privileges", *([f"seccomp={_profile()}"] if _takes_profile(client) else [])]


@lru_cache(maxsize=8)
def _takes_profile(client: DockerClient) -> bool:
    # Every container asks, and an engine takes its time to answer.
    is_docker = any(part.get("Name") == "Engine" for part in client.version().get("Components") or ())
    return is_docker and not set(_DEFAULTS).isdisjoint(client.info().get("SecurityOptions") or ())


@cache
def _profile() -> str:
    """Return the profile as JSON."""
    profile = json.loads((Path(__file__).parent / "seccomp.json").read_text())
    rules = [{**rule, "names": _allowed(rule)} for rule in profile["syscalls"]]
    absent = {"names": sorted(ABSENT), "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}
    profile["syscalls"] = [*(rule for rule in rules if rule["names"]), absent]
    return json.dumps(profile, separators=(",", ":"))


def _allowed(rule: dict[str, Any]) -> list[str]:
    return [name for name in rule["names"] if name not in DENIED]
