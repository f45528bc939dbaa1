"""An OpenAI-compatible endpoint as a model: it writes, and lists alternatives' log-probabilities where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.config import CREDENTIAL
from rlaif.models.access import normal_address
from rlaif.models.base import JSON, Call, Reply, StreamModel
from rlaif.models.endpoint import Endpoint, NoReplyError

__all__ = ["ApiModel", "normal_address", "seed_of"]

_SETTINGS = {"top_p", "seed", "reasoning_effort", "extra_body", "chat_template_kwargs"}


def seed_of(call: Call) -> int:
    """The seed that an endpoint is sent: 31 bits of the call's address.

    So the noise of two prompts has nothing in common; with one seed for all, a server draws the same noise for each.
    """
    return int(call.key[:8], 16) >> 1


class ApiModel(StreamModel):
    """See the module's docstring.

    Args:
        endpoint: who is asked.
        served_as: what names the model behind the address, where several addresses serve the same one, or its server
            comes back elsewhere. Without it the address is part of every call's address.
        settings: sent with every call and part of its address: `reasoning_effort`, `extra_body`,
            `chat_template_kwargs`.
    """

    can = frozenset({"write", "logprobs", "samples"})

    def __init__(
        self, endpoint: Endpoint, *, served_as: str | None = None, settings: Mapping[str, JSON] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.name = endpoint.model
        self.concurrency = endpoint.concurrency
        self.settings = {name: value for name, value in (settings or {}).items() if value is not None}
        # A key that is exchanged for another asks no other model: what was paid for under the old one stays.
        headers = {name: value for name, value in endpoint.extra_headers.items() if not CREDENTIAL.search(name)}
        self._identity: Mapping[str, JSON] = {
            "kind": "api",
            "model": endpoint.model,
            "server": served_as or normal_address(endpoint.base_url),
            **({"headers": headers} if headers else {}),
            **self.settings,
        }

    @property
    def identity(self) -> Mapping[str, JSON]:
        """The model's name, who serves it, and what it is always told."""
        return self._identity

    def check(self, choices: Sequence[str] = ()) -> None:
        """The endpoint's key is there; nothing is asked yet."""
        self.endpoint.check()

    @property
    def waiting(self) -> str:
        """What calls wait for."""
        return self.endpoint.waiting

    def learned(self) -> dict[str, JSON]:
        """Which kind of server answers, what it is told beside the settings, and what of them it refused."""
        endpoint = self.endpoint
        if not endpoint.asked:
            return {}
        server = endpoint.server
        found: dict[str, JSON] = {"server": "not known" if server is None else server.name}
        if server is None:
            found["keeps"] = "not known: a server may have sampling settings of its own"
        elif server.keeps is not None:
            found["keeps"] = server.keeps
        told = server.neutral if server else {}
        if neutral := {name: value for name, value in told.items() if name not in endpoint.dialect.left_out}:
            found["neutral"] = neutral
        if endpoint.dialect.left_out:
            found["left_out"] = dict(endpoint.dialect.left_out)
        return found

    async def open(self) -> None:
        """Makes the connections of the running event loop."""
        self.endpoint.on_wait = lambda: self.on_wait()
        await self.endpoint.open()

    async def close(self) -> None:
        """Closes them."""
        await self.endpoint.close()

    async def reply(self, call: Call) -> Reply:
        """The reply to one call, after the endpoint's retries.

        Raises:
            ValueError: a setting is none that an endpoint takes.
        """
        settings = {**self.settings, **dict(call.settings)}
        if unknown := set(settings) - _SETTINGS:
            raise ValueError(f"an endpoint takes no {', '.join(sorted(unknown))} here; put it into extra_body.")
        body: dict[str, Any] = dict(settings.get("extra_body") or {})
        if kwargs := settings.get("chat_template_kwargs"):
            body["chat_template_kwargs"] = kwargs
        try:
            outcome = await self.endpoint.chat(
                call.messages,
                temperature=call.temperature,
                max_tokens=call.max_tokens or 16,
                logprobs=bool(call.choices),
                seed=seed_of(call),
                top_p=settings.get("top_p"),
                reasoning_effort=settings.get("reasoning_effort"),
                extra_body=body,
                flexible=call.flexible,
            )
        except NoReplyError as error:
            return Reply(
                call.key,
                finish="error",
                reason=str(error),
                answered=error.final,
                tries=error.tries,
                usage=error.usage,
            )
        answer = outcome.answer
        return Reply(
            call.key,
            text=answer.text,
            reasoning=answer.reasoning,
            places=answer.places,
            finish=answer.finish,
            reason=answer.reason,
            usage=outcome.usage,
            tries=outcome.tries,
            seconds=outcome.seconds,
            served_by=answer.served_by,
        )
