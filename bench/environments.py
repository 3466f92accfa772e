"""Time environments: a cold build, the way to a warm one, and a check in it beside the bare sandbox.

The repository is small and has one dependency. Both checks run in turns, so that their ratio holds on a busy
machine.
"""

import argparse
import asyncio
import io
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from graph.resources import ownership
from sandbox.backends import open_sandbox
from sandbox.base import Delta, Layer, Limits
from sandbox.environment.backend import BuildLimits
from sandbox.environment.environments import Environments, open_environments

COMMAND = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
LIMITS = Limits(cpus=1)
FILES = {
    "requirements.txt": "itsdangerous\n",
    "shop.py": "def total(*prices):\n    return sum(prices)\n",
    "test_shop.py": "import shop\n\n\ndef test_total():\n    assert shop.total(1, 2) == 3\n",
}


def archive(files: Mapping[str, str]) -> bytes:
    """Return a tar stream of text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


async def opened(backend: Literal["docker", "bubblewrap"], home: Path) -> Environments:
    """Open the environments of a home, as a process of its own would."""
    user_home, bounds = Path.home(), BuildLimits()
    return await open_environments(backend, home, None, os.environ, user_home, ownership(), bounds, Limits())


async def check(layer: Layer) -> float:
    """Return the seconds of one check. Raises SystemExit when it is not green."""
    began = time.monotonic()
    result = await layer.run(Delta(), COMMAND, LIMITS)
    if result.exit_code:
        sys.exit(result.stdout + result.stderr)
    return time.monotonic() - began


async def main(backend: Literal["docker", "bubblewrap"], rounds: int) -> None:
    """Build cold, find warm, and run both checks `rounds` times. The best time of each counts."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        bare = await open_sandbox(backend, home, ownership=ownership())
        environments = await opened(backend, home)
        (recipe,) = await environments.recipes(FILES)
        began = time.monotonic()
        built = await environments.build(recipe, [archive(FILES)], FILES)
        print(f"cold build            {time.monotonic() - began:7.2f} s")
        await environments.aclose()
        environments = await opened(backend, home)
        began = time.monotonic()
        found = await environments.find(recipe)
        sandbox = await environments.open(found or built)
        print(f"warm find and open    {time.monotonic() - began:7.3f} s")
        times: dict[str, list[float]] = {"bare": [], "environment": []}
        tree = [archive(FILES)]
        async with bare.layer(tree, LIMITS) as plain, sandbox.layer(tree, LIMITS) as inside:
            for _ in range(rounds):
                times["bare"].append(await check(plain))
                times["environment"].append(await check(inside))
        for name, seconds in times.items():
            print(f"check, {name:14} {min(seconds):7.3f} s")
        ratio = min(times["environment"]) / min(times["bare"])
        print(f"environment / bare    {ratio:7.2f}")
        await environments.aclose()
        await bare.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sandbox", choices=("bubblewrap", "docker"), default="bubblewrap")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.sandbox, arguments.rounds))
