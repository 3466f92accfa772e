"""Set up the sandbox before the first run needs it: `python -m sandbox HOME`."""

import asyncio
import sys
from pathlib import Path

from sandbox.backends import open_sandbox


async def main(home: Path) -> None:
    """Open and close the sandbox that `auto` selects. Progress goes to stderr."""
    sandbox = await open_sandbox("auto", home, notify=lambda line: print(line, file=sys.stderr))  # noqa: T201
    await sandbox.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
