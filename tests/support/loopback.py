"""An HTTP server of aiohttp on loopback, in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any


class Loopback:
    """Listens at a free `port` until `close`. What stands on it calls `_start` when it can answer."""

    def _start(self, routes: Iterable[tuple[str, str, Callable[[Any], Any]]], largest: int) -> None:
        """Starts to answer (method, path, handler) each; `largest` is the size of the largest body, in bytes."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(routes, largest)), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    async def _run(self, routes: Iterable[tuple[str, str, Callable[[Any], Any]]], largest: int) -> None:
        from aiohttp import web

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=largest)
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
