"""An OpenAI-compatible server in a thread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from support.loopback import Loopback


class Server(Loopback):
    """An OpenAI-compatible endpoint in a thread of this process.

    `answer(body, number)` decides each call, `number` counting from 0: a text, a dict that replaces the whole body, or
    (status, message or body, headers), or bytes sent as they are, or None for a dropped connection. `bodies` are the
    calls so far, `headers` what was sent with them, `peak` the most of them at once; each takes `latency` seconds.
    """

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], int], Any] = lambda body, number: "1"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.keys: set[str | None] = set()
        self.latency = 0.0
        self.models: dict[str, Any] | None = None  # what GET /models says; None for 404
        self.handler: Callable[[Any], Any] = self._chat
        self.peak = self._now = 0
        routes = [("POST", "/v1/chat/completions", self._handle), ("GET", "/v1/models", self._list)]
        self._start(routes, largest=1 << 26)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def questions(self) -> list[str]:
        """What was asked, call by call."""
        return [json.dumps(body["messages"]) for body in self.bodies]

    async def _list(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response(self.models, status=200 if self.models else 404)

    async def _handle(self, request: Any) -> Any:
        return await self.handler(request)

    async def _chat(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.keys.add(request.headers.get("Authorization"))
        self._now += 1
        self.peak = max(self.peak, self._now)
        try:
            await asyncio.sleep(self.latency)
            answer = self.answer(body, number)
        finally:
            self._now -= 1
        if answer is None:
            request.transport.close()
            return web.Response()
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        if isinstance(answer, tuple):
            status, message, headers = answer
            body = {"error": {"message": message}} if isinstance(message, str) else message
            return web.json_response(body, status=status, headers=headers)
        return web.json_response(completion(answer) if isinstance(answer, str) else answer)


def completion(text: str | None, finish: str = "stop", logprobs: Sequence[Any] | None = None) -> dict[str, Any]:
    """A chat completion. `logprobs`: (token, {alternative: log-probability}) for each place."""
    places = None
    if logprobs is not None:
        places = {
            "content": [
                {
                    "token": token,
                    "logprob": listed.get(token, -1.0),
                    "top_logprobs": [{"token": t, "logprob": p} for t, p in listed.items()],
                }
                for token, listed in logprobs
            ]
        }
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text},
                "logprobs": places,
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
    }
