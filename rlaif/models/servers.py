"""Which kind of server answers, and the sampling settings that it would otherwise choose itself.

Servers start with defaults of their own (llama.cpp keeps the 40 likeliest tokens, vLLM what a model's
generation_config.json says), so the same policy behind another server is another policy. Where the kind of server is
known, the neutral values are sent with every call: they change no probability. A server that is not known is not sent
what it might refuse, and the manifest says so.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from rlaif.models.transport import NoAnswerError

__all__ = ["Server", "kind_of", "server_of"]

_SECONDS = 3.0  # for finding out: nobody waits long for what is only nice to know


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server.

    Attributes:
        name: what people call it.
        neutral: the settings sent with every call so that it samples from the model's own distribution.
        keeps: what it decides by itself and cannot be told; None where there is nothing.
    """

    name: str
    neutral: Mapping[str, Any] = field(default_factory=dict)
    keeps: str | None = None


_PENALTIES = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
_LLAMA = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0, **_PENALTIES}
_LLAMA_SERVER = {"typical_p": 1.0, "top_n_sigma": -1.0, "xtc_probability": 0.0, "dry_multiplier": 0.0, "mirostat": 0}
_VLLM = {"top_k": -1, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, **_PENALTIES}
# By what stands under `owned_by` in the list of models (`GET /models`).
_OWNERS = {
    "llamacpp": Server("llama-server", _LLAMA | _LLAMA_SERVER),
    "me": Server("llama-cpp-python", _LLAMA),
    "vllm": Server("vLLM", _VLLM),
    "sglang": Server("SGLang", _VLLM),
    "library": Server("Ollama", {"top_p": 1.0}, "top_k, min_p and repeat_penalty are those of its Modelfile"),
    "organization_owner": Server(
        "LM Studio", {"top_k": 0, "top_p": 1.0, "repeat_penalty": 1.0}, "min_p is that of its settings"
    ),
}
_OPENAI = Server("OpenAI")  # by its address alone: proxies give "openai" as the owner of whatever stands behind them
_TRANSFORMERS = Server(
    "transformers serve",
    {"top_p": 1.0},
    "what generation_config.json says, a repetition_penalty at temperature 0 too; without do_sample in it nothing is "
    "sampled, and with it from the 50 likeliest tokens",
)


class _Answered(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


async def server_of(get: Callable[[str, float], Awaitable[_Answered]], address: str, model: str) -> Server | None:
    """The kind of server that `get(path, seconds)` asks; None where it does not tell.

    Args:
        get: asks it.
        address: where it is.
        model: whose row in its list of models counts, where it is listed.
    """
    if urlsplit(address).hostname == "api.openai.com":
        return _OPENAI
    try:
        answered = await get("models", _SECONDS)
    except NoAnswerError:
        return None
    return kind_of(answered.headers, answered.body, model) if answered.status == 200 else None


def kind_of(headers: Mapping[str, str], body: bytes, model: str) -> Server | None:
    """The kind of server whose `GET /models` was answered with `headers` and `body`; None for one that is not known."""
    named = next((value for name, value in headers.items() if name.lower() == "server"), "")
    if named.startswith("llama.cpp"):
        return _OWNERS["llamacpp"]
    try:
        listed = json.loads(body)["data"]
        rows = [row for row in listed if isinstance(row, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    rows = [row for row in rows if row.get("id") == model] or rows
    owners = {owner for row in rows if isinstance(owner := row.get("owned_by"), str)}
    if len(owners) != 1:
        return None  # several owners are a router's, behind which anything may stand
    if owners == {"local"} and all(isinstance(row.get("status"), dict) for row in rows):
        return _TRANSFORMERS
    return _OWNERS.get(owners.pop())
