"""A fault proxy between the product and Redis: refuses, delays, drips, cuts mid-frame, or leaves a peer half-open."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

CHUNK = 65_536


class Proxy:
    """Listens on a free port. What it does to each connection is decided by its attributes, at any time.

    delay: seconds before each piece that passes. drip: bytes of a piece, 0 for whole ones. silent: swallows what both
    sides say (half-open: neither learns of it). cut_after: bytes of answers after which a connection is reset, once for
    each; -1 for never.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        self.drip = 0
        self.silent = False
        self.cut_after = -1
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = 0
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def accept(self) -> None:
        """Listen, on the same port as ever."""
        self._do(self._listen())

    def refuse(self) -> None:
        """Stop listening and reset every connection."""
        self._do(self._close())

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, ours}
        try:
            await asyncio.gather(self._pump(reader, ours, False), self._pump(theirs, writer, True))
        finally:
            for end in (writer, ours):
                self._writers.discard(end)
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := await reader.read(self.drip or CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.silent:
                    continue
                passed += len(piece)
                if answers and 0 <= self.cut_after < passed:
                    writer.write(piece[: max(len(piece) - (passed - self.cut_after), 0)])
                    await writer.drain()
                    self.cuts += 1
                    break
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()
