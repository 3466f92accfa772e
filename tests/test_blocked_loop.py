import asyncio
import logging
import time

import pytest

from server.api.guard import log
from server.blocked_loop import BLOCKED_SECONDS, watch_loop


def block() -> None:
    time.sleep(3 * BLOCKED_SECONDS)


async def test_a_blocked_event_loop_is_logged_once_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    log.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.ERROR, log.name):
            async with watch_loop():
                await asyncio.sleep(0.1)
                block()
                await asyncio.sleep(0.1)
    finally:
        log.removeHandler(caplog.handler)
    (line,) = {
        record.getMessage() for record in caplog.records if "test_blocked_loop.py" in record.getMessage()
    }
    assert " block" in line
    assert "\n" not in line


async def test_an_event_loop_that_only_waits_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with watch_loop():
        await asyncio.sleep(3 * BLOCKED_SECONDS)
        await asyncio.to_thread(block)
    assert caplog.records == []
