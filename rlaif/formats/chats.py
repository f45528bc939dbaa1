"""Pairs of chat data: chosen and rejected as transcripts, whole conversations, or beside the turns before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlaif.files.conversations import TURNS, check_meaning, conversation, messages
from rlaif.files.pairs import carried
from rlaif.formats.base import LeftOut, Row, preferred
from rlaif.formats.carrying import rest
from rlaif.formats.chosen import Chosen, conversations_of
from rlaif.formats.texts import from_transcript, to_transcript
from rlaif.records import Judgment, Message

__all__ = ["HH", "Orca", "ShareGPT", "Skywork"]


class Skywork(Chosen):
    """Skywork/Skywork-Reward-Preference-80K: chosen and rejected as whole conversations, and the `source` of the pair.

    Lossless.
    """

    name = "skywork"

    def fits(self, row: Row) -> bool:
        return set(row) == {"chosen", "rejected", "source"}

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        yield rest(judgment, conversations_of(preferred(judgment)))


class HH(Chosen):
    r"""Anthropic/hh-rlhf: chosen and rejected, each one transcript "\n\nHuman: ...\n\nAssistant: ..." (2204.05862).

    Both are split at the last assistant's turn; what comes before is the prompt, and must be the same. Lossless where
    a colon is followed by one space.
    """

    name = "hh"
    people = True

    def fits(self, row: Row) -> bool:
        return super().fits(row) and all(str(row[side]).startswith("\n\nHuman:") for side in self.needs)

    def plain(self, row: Row) -> Row:
        return {**row, **{side: from_transcript(row[side], side) for side in self.needs}}

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        sides = conversations_of(preferred(judgment))
        yield rest(judgment, {name: to_transcript(turns) for name, turns in sides.items()})


class Orca(Chosen):
    """Intel/orca_dpo_pairs: system (which may be empty), question, chosen, rejected; all of them texts.

    Chosen is GPT-4's or ChatGPT's answer, rejected one of llama-2-13b-chat (dataset card): z = 1 by that, and nobody
    judged it. Lossless.
    """

    name = "orca"
    needs = ("question", "chosen", "rejected")
    has = ("system",)

    def fits(self, row: Row) -> bool:
        return super().fits(row) and row.get("prompt") is None

    def plain(self, row: Row) -> Row:
        return carried(row, (*TURNS, "instruction", "input", "context"))

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = preferred(judgment).pair
        turns = conversation(pair.prompt)
        if [turn["role"] for turn in turns] not in (["user"], ["system", "user"]):
            raise LeftOut("the prompt is a conversation, and this format holds a system turn and a question")
        system = turns[0]["content"] if len(turns) == 2 else ""
        own = {"system": system, "question": turns[-1]["content"]}
        yield rest(judgment, own | {"chosen": pair.response_a, "rejected": pair.response_b})


class ShareGPT(Chosen):
    """Pairs in ShareGPT's shape, which LLaMA-Factory calls `ranking`: conversations [{from, value}] that end with the
    human's turn, and chosen and rejected, each one {from, value}; `system` and `tools` may be there.

    From `human` is the user's turn, from `gpt` the assistant's; tools and turns of function_call and observation are
    refused. Lossless; a system turn comes back as the first of the conversations.
    """

    name = "sharegpt"
    needs = ("conversations", "chosen", "rejected")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and row.get("prompt") is None

    def check(self, row: Row) -> None:
        super().check(row)
        check_meaning(row)
        if messages(row["conversations"], "conversations")[-1]["role"] != "user":
            raise ValueError("conversations ends with a turn that is not the human's; expected what is answered.")

    def plain(self, row: Row) -> Row:
        return carried(row, [name for name in TURNS if name != "conversations"])

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = preferred(judgment).pair
        turns = conversation(pair.prompt)
        if turns[-1]["role"] != "user":
            raise LeftOut("the prompt ends with a turn that is not the user's")
        if roles := {turn["role"] for turn in turns} - {*_FROM}:
            raise LeftOut(f"ShareGPT has no turn for the role {min(roles)}")
        sides = [{"role": "assistant", "content": text} for text in (pair.response_a, pair.response_b)]
        own: dict[str, Any] = {"conversations": [_sharegpt(turn) for turn in turns]}
        yield rest(judgment, own | dict(zip(("chosen", "rejected"), map(_sharegpt, sides), strict=True)))


_FROM = {"user": "human", "assistant": "gpt", "system": "system"}


def _sharegpt(turn: Message) -> dict[str, str]:
    return {"from": _FROM[turn["role"]], "value": turn["content"]}
