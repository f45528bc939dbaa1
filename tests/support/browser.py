"""A real browser without a window: Chromium, spoken to over its own protocol, so that a test needs no driver.

with Browser() as browser:
    browser.open(path.as_uri())
    assert browser.run("document.title") == "..."
    assert browser.complaints == []
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """The program of a Chromium on this machine: the one that RLAIF_CHROMIUM names, else one on the PATH."""
    named = os.environ.get("RLAIF_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab. `complaints` are the errors and warnings that it has shown since it was opened, network ones included;
    `asked_for` every address that it has asked for."""

    def __init__(self) -> None:
        program = chromium()
        assert program is not None
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="browser-")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={self._profile}", "--disable-extensions"]
        flags += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        self._process = subprocess.Popen(
            [program, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._loop = asyncio.new_event_loop()
        self._calls = 0
        self._loaded = 0
        self._loop.run_until_complete(self._connect())

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._session.close())
        self._loop.close()
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    async def _connect(self) -> None:
        told = Path(self._profile, "DevToolsActivePort")
        while not (told.exists() and len(told.read_text().splitlines()) == 2):
            assert self._process.poll() is None, "the browser ended as it began"
            await asyncio.sleep(0.02)
        port = told.read_text().splitlines()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(one for one in await answer.json() if one["type"] == "page")
        self._socket = await self._session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._call(f"{domain}.enable")

    async def _call(self, method: str, **settings: Any) -> dict[str, Any]:
        self._calls += 1
        number = self._calls
        await self._socket.send_json({"id": number, "method": method, "params": settings})
        while True:
            told = await self._told()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])

    async def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = await self._socket.receive_json()
        what = told.get("params", {})
        match told.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(what["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if what["type"] in {"error", "warning", "assert"}:
                self.complaints.append(str(what["args"]))
            case "Log.entryAdded" if what["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(what["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked_for.append(what["request"]["url"])
            case "Page.loadEventFired":
                self._loaded += 1
        return told

    def call(self, method: str, **settings: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        return self._loop.run_until_complete(self._call(method, **settings))

    def open(self, address: str) -> None:
        """Opens an address and waits until it has loaded."""

        async def load() -> None:
            before = self._loaded
            await self._call("Page.navigate", url=address)
            while self._loaded == before:
                await self._told()

        self.complaints, self.asked_for = [], []
        self._loop.run_until_complete(load())

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until an expression in the page is true."""
        end = time.monotonic() + 30
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"

    def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Makes the window so wide and high, and the reader's choice of colours light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        chosen = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[chosen])

    def with_scripts(self, on: bool) -> None:
        """Whether pages run their scripts."""
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def screenshot(self, path: Path | str, whole: bool = False) -> None:
        """What the window shows, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))
