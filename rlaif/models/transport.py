"""HTTP to one server: a body goes out, a status with its body comes back, within one limit of time for all of it.

Everything that is about the protocol of chat completions stands elsewhere (`endpoint`, `completion`, `faults`).
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

__all__ = ["Answered", "NoAnswerError", "Transport"]

_LARGEST = 32 * 1024 * 1024  # bytes of a body that are read; a chat completion has a few thousand


class Answered(NamedTuple):
    """What a server sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswerError(Exception):
    """Nothing came back; the message says why. `connected` is False where there was not even a connection."""

    def __init__(self, words: str, connected: bool) -> None:
        super().__init__(words)
        self.connected = connected


class Transport:
    """The connections of one event loop to one server; kept open between calls.

    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). A redirect is not followed: the key would go along.

    Args:
        base_url: calls go to paths under it. Its query, if any, goes with each.
        headers: of every call.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(base_url)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._query = f"?{parts.query}" if parts.query else ""
        self._proxy = _proxy(parts.scheme, parts.hostname or "")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_certificates() if parts.scheme == "https" else True),
            headers={"Accept": "application/json", "User-Agent": "rlaif", **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def post(self, path: str, body: bytes, timeout: float) -> Answered:
        """The answer to a JSON body.

        Args:
            path, body: what is asked.
            timeout: seconds for it as a whole, from connecting to the answer's last byte, however it drips.

        Raises:
            NoAnswerError: no connection, none that lasted, or no whole answer in time.
        """
        return await self._ask("POST", path, body, timeout)

    async def get(self, path: str, timeout: float) -> Answered:
        """What stands under `path`, in the same way."""
        return await self._ask("GET", path, None, timeout)

    async def _ask(self, verb: str, path: str, body: bytes | None, timeout: float) -> Answered:
        try:
            async with self._session.request(
                verb,
                f"{self._base}/{path}{self._query}",
                data=body,
                headers={"Content-Type": "application/json"} if body is not None else None,
                allow_redirects=False,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 30.0)),
            ) as answer:
                return Answered(answer.status, answer.headers, await _read(answer.content))
        except aiohttp.ClientConnectorError as error:
            raise NoAnswerError(_why(error), connected=False) from None
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            # A server that takes no connection within its time is as good as none.
            connected = not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise NoAnswerError(f"no whole answer within {timeout:g} s (--timeout)", connected) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a header or a status line that is none.
            raise NoAnswerError(_why(error), connected=True) from None


async def _read(content: aiohttp.StreamReader) -> bytes:
    parts, size = [], 0
    async for part in content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise aiohttp.ClientPayloadError(f"an answer of more than {_LARGEST >> 20} MiB")
    return b"".join(parts)


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"an answer that is no valid HTTP: {(error.message.strip() or type(error).__name__).splitlines()[0]}"
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    words = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {words}"
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return words


def _proxy(scheme: str, host: str) -> str | None:
    found = urllib.request.getproxies()
    proxy = found.get(scheme) or found.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ValueError(
            f"the environment names a proxy of the kind {urlsplit(proxy).scheme}; expected an http proxy. Unset it, or "
            f"add {host} to NO_PROXY."
        )
    return proxy


def _certificates() -> ssl.SSLContext:
    """The system's certificates; certifi's as well, unless the environment says which to use."""
    context = ssl.create_default_context()
    if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
        try:
            import certifi
        except ImportError:
            return context
        context.load_verify_locations(certifi.where())
    return context
