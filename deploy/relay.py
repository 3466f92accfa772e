"""A relay between a Unix socket for the backend and the Docker engine's socket.

The engine's socket belongs to root and to a group whose number differs between machines. This process runs
as root without capabilities, so the backend needs neither root nor that group.
"""

import asyncio
import os
import sys
from contextlib import suppress

CHUNK = 64 * 1024


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy bytes until the end, and pass on the end, which tells the engine that an input is complete."""
    with suppress(ConnectionError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()


async def main(engine: str, path: str) -> None:
    """Serve the socket `path` until the process ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            engine_reader, engine_writer = await asyncio.open_unix_connection(engine)
        except OSError as error:
            sys.stderr.write(f"relay: no Docker engine answers at {engine}: {error}\n")
            writer.close()
            return
        await asyncio.gather(pump(reader, engine_writer), pump(engine_reader, writer))
        for stream in (engine_writer, writer):
            stream.close()

    with suppress(FileNotFoundError):
        os.unlink(path)  # left by an earlier container, whose volume is the same
    server = await asyncio.start_unix_server(serve, path)
    os.chmod(path, 0o666)  # noqa: S103  # only the backend mounts this volume
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
