"""`rlaif view FOLDER`: the page of a folder that a command or a training program wrote, in a browser on this machine.

What is shown is one page, made or read before the first request, with its pictures inside: nothing else of the folder
can be asked for. It is served on 127.0.0.1, to this machine alone, and to nobody who reaches it under another name (a
page of the web can make a browser ask for 127.0.0.1 under a name of its own: DNS rebinding).

Ctrl-C ends it with exit status 0: looking is done when the reader is, and nothing is left to go on with.
"""

from __future__ import annotations

import errno
import http.server
import os
import sys
import threading
import webbrowser
from dataclasses import dataclass, field
from typing import Any

from rlaif.config import UsageError
from rlaif.pages.view import page_of

__all__ = ["SETTINGS", "ViewConfig", "serve", "view"]

READS = {"folder": "folder"}

HOST = "127.0.0.1"


@dataclass
class ViewConfig:
    """Which folder's page is shown, and where."""

    folder: str | None = field(
        default=None,
        metadata={"help": "What `rlaif evaluate`, a training program or scripts/ablate.py wrote; may stand first."},
    )
    port: int = field(default=0, metadata={"help": "Port on 127.0.0.1; 0 takes a free one."})
    open: bool = field(default=True, metadata={"help": "Open the page in this machine's browser, if it has one."})

    def __post_init__(self) -> None:
        if not self.folder:
            raise ValueError("folder must be set; expected --folder FOLDER, or rlaif view FOLDER: one with a report.")


SETTINGS = (ViewConfig,)


def view(config: ViewConfig) -> None:
    """Runs `rlaif view` until Ctrl-C.

    Raises:
        ValueError: the folder has nothing to show.
        UsageError: another program listens at the port.
    """
    assert config.folder is not None
    page = page_of(config.folder)
    with serve(page, config.port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        print(f"{config.folder} at {address} (Ctrl-C ends it)", flush=True)
        if config.open:
            # Not before the page is served: some browsers come back only when they have it.
            threading.Thread(target=_open, args=(address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)


def _open(address: str) -> None:
    """Opens it in the browser that the reader has chosen (BROWSER), or in one with a window.

    A browser of the terminal (w3m, lynx) that happens to be there is not started: it would show no plot and run no
    script, and it would take the terminal in which Ctrl-C ends the server.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return  # there is none; the address is printed
    in_window = isinstance(browser, webbrowser.BackgroundBrowser) or not isinstance(browser, webbrowser.GenericBrowser)
    if os.environ.get("BROWSER") or (in_window and getattr(browser, "name", "") != "elinks"):
        webbrowser.open(address)


def serve(page: bytes, port: int = 0) -> _Server:
    """A server of one page on 127.0.0.1, listening; `serve_forever` answers.

    Raises:
        UsageError: another program listens at the port, or this one may not.
    """
    handler = type("Handler", (_Handler,), {"page": page})
    try:
        return _Server((HOST, port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use" if error.errno == errno.EADDRINUSE else "is not for every user's programs"
        raise UsageError(f"port {port} {why}; choose another (--port), or leave it out for a free one.") from None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would share a port that is in use

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who goes away before all is sent is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD of "/" and "/report.html", asked for as 127.0.0.1 or localhost; all else is refused."""

    page = b""
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "rlaif", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        assert isinstance(self.server, _Server)
        port = self.server.server_port
        if self.headers.get_all("Host") not in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
            self.send_error(421, "asked for under another name")
        elif self.path.partition("?")[0] not in {"/", "/report.html"}:
            self.send_error(404, "this server has one page, /")
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(self.page)))
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(self.page)

    def log_message(self, *_: Any) -> None:
        """Nobody needs a line a request."""


# No other page may frame or read this one, and it may ask for nothing but what stands in it.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
