"""Passes bytes between a Unix socket that the backend may use and the Docker engine's, which it may not.

The engine's socket belongs to root and a group whose number differs between machines. This process, root
without capabilities, is its owner and nothing else; the backend needs neither root nor that group.
"""

import asyncio
import os
import sys
from contextlib import suppress

CHUNK = 64 * 1024


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end, which tells the engine that a program's input is complete."""
    with suppress(ConnectionError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()


async def main(engine: str, place: str) -> None:
    """Serve `place` for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_unix_connection(engine)
        except OSError as error:
            sys.stderr.write(f"relay: no Docker engine answers at {engine}: {error}\n")
            writer.close()
            return
        await asyncio.gather(pump(reader, ours), pump(theirs, writer))
        for one in (ours, writer):
            one.close()

    with suppress(FileNotFoundError):
        os.unlink(place)
    server = await asyncio.start_unix_server(serve, place)
    os.chmod(place, 0o666)  # noqa: S103  # only the backend has the volume that it lies in
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
