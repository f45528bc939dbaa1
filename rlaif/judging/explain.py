"""The whole dialogue about one item, from what is stored: every call, its reply, and how it was read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from rlaif.files.store import Store
from rlaif.judging.method import Method
from rlaif.judging.pairwise import Comparison
from rlaif.models.base import UNASKED, Call, Reply
from rlaif.records import Pair

__all__ = ["explain"]


def explain(method: Method[Pair, Comparison], pair: Pair, store: Store) -> str:
    """The calls of `method` about `pair`, their stored replies, and the judgment. Nothing is asked."""
    return "\n".join(_lines(method, pair, store)) + "\n"


def _lines(method: Method[Pair, Comparison], pair: Pair, store: Store) -> Iterator[str]:
    ask = method.ask(pair)
    replies: list[Reply] | None = None
    number = 0
    while True:
        try:
            calls = next(ask) if replies is None else ask.send(replies)
        except StopIteration as stop:
            yield from _verdict(stop.value)
            return
        number += 1
        replies = []
        for call in calls:
            row = store.get(call.key)
            reply = Reply(call.key, finish=UNASKED, answered=False) if row is None else Reply.from_row(row)
            replies.append(reply)
            if row is not None or not call.stored_only:
                yield from _exchange(method, number, call, reply)


def _exchange(method: Method[Pair, Comparison], number: int, call: Call, reply: Reply) -> Iterator[str]:
    model = method.models[call.model]
    settings = {"max_tokens": call.max_tokens, "temperature": call.temperature, "sample": call.sample}
    said = [f"{name} {value}" for name, value in settings.items() if value] + [f"{k} {v}" for k, v in call.settings]
    yield f"round {number}: {model.name}, call {call.key}" + (f" ({', '.join(said)})" if said else "")
    for message in call.messages:
        yield f"  [{message['role']}]"
        yield from _indented(message["content"])
    if call.prefill:
        yield f"  [assistant, begun] {call.prefill}"
    for argument in call.arguments:
        yield "  [argument]"
        yield from _indented(argument if isinstance(argument, str) else json.dumps(argument, ensure_ascii=False))
    if reply.finish == UNASKED:
        yield "  -> not stored: nobody has asked this"
        yield ""
        return
    if reply.reasoning:
        yield "  [reasoning]"
        yield from _indented(reply.reasoning)
    if reply.text is not None:
        yield "  [reply]"
        yield from _indented(reply.text)
    if reply.logps is not None:
        for choice, logp in zip(call.choices, reply.logps, strict=True):
            yield f"  P({choice!r}) = {0.0 if logp is None else math.exp(logp):.6f}"
    for place in reply.places or ():
        listed = ", ".join(f"{token!r} {math.exp(logp):.4f}" for token, logp in place.listed[:5])
        more = f", ... {len(place.listed) - 5} more" if len(place.listed) > 5 else ""
        yield f"  token {place.token!r}: {listed}{more}"
    if reply.reason is not None:
        yield f"  -> {reply.reason}" + ("" if reply.answered else " (asked again by the next run)")
    facts = [f"finish {reply.finish}", *(f"{name} {count}" for name, count in reply.usage.row().items())]
    facts += [f"tries {reply.tries}"] if reply.tries != 1 else []
    facts += [f"{reply.seconds:g} s"] if reply.seconds else []
    facts += [f"served by {reply.served_by}"] if reply.served_by else []
    yield f"  {', '.join(facts)}"
    yield ""


def _verdict(comparison: Comparison) -> Iterator[str]:
    for vote in comparison.votes:
        value = "unjudged" if vote.p_first is None else f"P(first is better) = {vote.p_first:g}, by {vote.method}"
        mass = "" if vote.mass is None else f", label mass {vote.mass:g}"
        mass += f", P(tie) {vote.p_tie:g}" if vote.p_tie else ""
        mass += f" (log-probabilities not used: {vote.unusable})" if vote.unusable else ""
        yield f"vote {vote.order} {vote.sample}: {value}{mass}" + ("" if vote.reason is None else f" ({vote.reason})")
    judgment = comparison.judgment
    z = "unjudged" if judgment.z is None else f"z = P(response_a is preferred) = {judgment.z:g}"
    yield z + ("" if judgment.reason is None else f": {judgment.reason}")
    each = [
        f"{name} {value:g}" for name, value in (("z_ab", judgment.z_ab), ("z_ba", judgment.z_ba)) if value is not None
    ]
    if each:
        yield "  " + ", ".join(each)


def _indented(text: str) -> Iterator[str]:
    yield from (f"    {line}" for line in text.split("\n"))
