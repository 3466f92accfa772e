"""Time to open a thread of 20,000 events in Chromium, frames a second while scrolling, and memory.

    python bench/page.py [--events 20000] [--runs 3]

The log is like that of a long run: agents speak, call tools and edit, programs print, checks follow each
other. The promises are 1.5 s, 50 frames a second and 150 MB of JavaScript's heap.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import OpenPage, open_browser, open_page, write_log
from desk import Desk
from served import Served

SCROLL = """
async (place) => {
  let box = document.querySelector(place);
  while (box && box.scrollHeight <= box.clientHeight + 50) box = box.firstElementChild;
  const times = [];
  const end = performance.now() + 3000;
  let down = false;
  while (performance.now() < end) {
    times.push(await new Promise(requestAnimationFrame));
    if (box.scrollTop <= 0) down = true;
    else if (box.scrollTop + box.clientHeight >= box.scrollHeight - 2) down = false;
    box.scrollTop += down ? 120 : -120;
  }
  return 1000 * (times.length - 1) / (times.at(-1) - times[0]);
}
"""


def story(count: int) -> Iterator[tuple[Any, ...]]:
    """Yield so many events of one long run."""
    steps = [
        {"id": f"s{number}", "agent": "coder", "description": f"Step {number}", "group": number // 3}
        for number in range(60)
    ]
    yield "run.started", {"task": "A long task", "repo": "/repo"}
    yield "plan", {"plan": {"explanation": "Many steps.", "steps": steps}}
    told = 2
    while True:
        for step in steps:
            place = ("coder", step["id"])
            yield "node.started", {}, *place
            for word in range(12):
                yield "token", {"text": f"I think about part {word}.\n"}, *place
            for number in range(8):
                call = {
                    "name": "execute",
                    "arguments": {"command": f"pytest -k part{number}"},
                    "summary": "1 passed",
                }
                yield "tool.call", {**call, "seconds": 0.5, "bytes": 200, "exit_code": number % 2}, *place
                yield "sandbox.output", {"text": f"collected {number} items\nok\n"}, *place
            yield "node.finished", {"seconds": 5.0}, *place
            told += 31
            if told > count:
                yield "run.finished", {"status": "unverified", "reason": "the bench is over"}
                return
        check = {"green": False, "passed": 10, "failed": 1, "cases": [], "problems": ["1 case failed"]}
        yield "check", {**check, "tree": "t"}, "sandbox"


async def measure(page: OpenPage) -> tuple[float, float, float, float]:
    """Return seconds to open, frames a second in the timeline and in the log, and the heap in MB."""
    session = await page.tab.context.new_cdp_session(page.tab)
    await page.tab.goto("/")
    await page.tab.get_by_label("Task", exact=True).wait_for()
    begun = time.perf_counter()
    await page.tab.goto("/#long")
    await page.tab.get_by_role("heading", name="Not verified").wait_for()
    opened = time.perf_counter() - begun
    timeline = await page.tab.evaluate(SCROLL, ".scroller")
    await page.tab.get_by_role("button", name="Details").click()  # no file was changed, so the log is closed
    await page.tab.get_by_role("tab", name="Log").click()
    await page.tab.wait_for_timeout(500)
    log = await page.tab.evaluate(SCROLL, ".lines")
    await session.send("HeapProfiler.collectGarbage")
    heap = await session.send("Runtime.getHeapUsage")
    return opened, timeline, log, heap["usedSize"] / 1e6


async def main(events: int, runs: int) -> None:
    """Write the log, serve it, and print a line for each run."""
    with tempfile.TemporaryDirectory() as folder, Desk() as desk, Served(Path(folder), desk) as server:
        lines = list(story(events))
        await write_log(Path(folder), "long", lines)
        print(f"{len(lines)} events")
        async with open_browser() as browser:
            for _ in range(runs):
                async with open_page(browser, server.url, viewport={"width": 1440, "height": 900}) as page:
                    opened, timeline, log, heap = await measure(page)
                print(
                    f"opens in {opened:.2f} s, heap {heap:.0f} MB, "
                    f"frames a second: timeline {timeline:.0f}, log {log:.0f}"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.events, arguments.runs))
