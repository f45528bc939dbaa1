"""The one way a prompt and a response become tokens, for the reward model, DPO, PPO and scoring.

A reward model that is scored in another format than it was trained in gives other numbers (a missing EOS alone costs a
correlation of 0.77 on a small model). So the format is a value, `Rendering`: chosen once from the tokenizer, used by
every program, written into the checkpoint (`rlaif.json`) and compared when that is loaded.

    kind      for                                     tokens
    chat      a tokenizer with a chat template        the template's own text of prompt + response
    plain     a decoder without one                   prompt + response, with the prompt's messages joined by newlines
    pair      an encoder (CLS/SEP, no EOS)            [CLS] prompt [SEP] response [SEP], with segment ids
    template  a reward model of unknown rendering     the template's own text, with nothing added and nothing cut

Decoders always end in EOS: it is the token that a reward model's score is read from, so it must be there and must not
be the padding token (see `padding_token`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.errors.words import shown
from rlaif.files.conversations import conversation
from rlaif.models.spelling import Spelling, Unrenderable, text_ids
from rlaif.models.template_thoughts import Tags, keeps
from rlaif.models.templates import left_out, start_ids, turn_ids, whole_ids, written
from rlaif.records import Message, Prompt

__all__ = ["Encoded", "Rendering", "Unrenderable", "padding_token", "stop_ids"]

Kind = Literal["chat", "plain", "pair", "template"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one conversation: `prompt_ids` (what generation is given) and `response_ids`, EOS included.

    `segments` are an encoder's token types (0 prompt, 1 response), one for each of `ids`; None for a decoder.
    """

    prompt_ids: list[int]
    response_ids: list[int]
    segments: list[int] | None = None

    @property
    def ids(self) -> list[int]:
        """The whole sequence."""
        return self.prompt_ids + self.response_ids

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def padding_token(tokenizer: Any) -> str:
    """A token that pads without ever being the last real one: the tokenizer's own, or one that is not its EOS.

    `AutoModelForSequenceClassification` reads the score at the rightmost token that is not padding. With pad = EOS it
    would skip the EOS; with any other token it is right, because every rendering ends in EOS.

    Raises:
        ValueError: the tokenizer has neither a padding nor an EOS token.
    """
    if not tokenizer.eos_token:
        if not tokenizer.pad_token:
            raise ValueError("the tokenizer has neither a padding nor an EOS token; set one in its config.")
        return str(tokenizer.pad_token)
    for token in (tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token):
        if token and token != tokenizer.eos_token:
            return str(token)
    return str(tokenizer.convert_ids_to_tokens(0 if tokenizer.eos_token_id != 0 else 1))


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """The tokens at which generation stops: the tokenizer's EOS, then every other one of the model's own.

    A model whose turns end in another token than its documents (Gemma's, Phi's) names both in generation_config.json.

    Raises:
        ValueError: an id of generation_config.json is no number.
    """
    known = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [tokenizer.eos_token_id, *(known if isinstance(known, list | tuple) else [known])]
    for token in ids:
        if token is not None and (isinstance(token, bool) or not isinstance(token, int)):
            raise ValueError(
                f"the model's generation_config.json has the eos_token_id {shown(token)}; expected the number of a "
                "token, or a list of them."
            )
    return list(dict.fromkeys(token for token in ids if token is not None))


@dataclass(frozen=True, slots=True)
class Rendering:
    """How conversations become tokens. `tokenizer_hash` and `template_hash` tell one tokenizer from another.

    Attributes:
        kind, template_hash, tokenizer_hash, eos_token: see the module's docstring.
        spelled: what becomes of text that spells an added token: "text", ordinary pieces. Models trained before this
            was said have no such entry in `rlaif.json`; they are scored so too.
        appended: the tokens that the tokenizer would append to a plain prompt, which are left off; None where none.
    """

    kind: Kind
    template_hash: str | None
    tokenizer_hash: str
    eos_token: str | None
    spelled: str = "text"
    appended: str | None = None

    @classmethod
    def of(cls, tokenizer: Any) -> Rendering:
        """The rendering that fits a tokenizer: its chat template, else an encoder's pair, else plain text and EOS.

        Raises:
            ValueError: the tokenizer has no token that ends a response.
        """
        template = tokenizer.chat_template
        if template:
            kind: Kind = "chat"
            if not tokenizer.eos_token:
                raise ValueError("the tokenizer has a chat template but no EOS token; set `eos_token` in its config.")
        elif tokenizer.eos_token is None and tokenizer.sep_token is not None:
            kind = "pair"
        elif tokenizer.eos_token is not None:
            kind = "plain"
        else:
            raise ValueError(
                "the tokenizer has no chat template, no EOS and no SEP token, so the end of a response cannot be "
                "marked; set `eos_token` in its tokenizer_config.json."
            )
        appended = Spelling.of(tokenizer).around[1] if kind == "plain" else []
        return cls(
            kind=kind,
            template_hash=_template_hash(tokenizer) if template else None,
            tokenizer_hash=_sha(_fingerprint(tokenizer)),
            eos_token=tokenizer.eos_token,
            appended=" ".join(map(str, tokenizer.convert_ids_to_tokens(appended))) or None,
        )

    @classmethod
    def assumed(cls, tokenizer: Any) -> Rendering:
        """The rendering to assume of a reward model that does not name its own: its chat template's, whole.

        Raises:
            ValueError: the tokenizer has no chat template.
        """
        if not tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template, so the format that the model reads is unknown; set "
                "`chat_template` to the one that it was trained with."
            )
        return cls("template", _template_hash(tokenizer), _sha(_fingerprint(tokenizer)), tokenizer.eos_token)

    def row(self) -> dict[str, Any]:
        """What `rlaif.json` keeps."""
        return dataclasses.asdict(self)

    def check(self, saved: Mapping[str, Any], source: str) -> None:
        """A ValueError that names the difference unless `saved` (from `source`) is this rendering."""
        for name, want in saved.items():
            got = getattr(self, name, want)
            if got != want:
                raise ValueError(
                    f"{source} was trained with rendering {name} = {shown(want)}, but its tokenizer now gives "
                    f"{shown(got)}; "
                    "scores would not be comparable. Restore the tokenizer files that were saved with it."
                )
        if self.appended and "appended" not in saved:
            raise ValueError(
                f"{source} was trained on prompts that end in {self.appended}, which its tokenizer appends and which "
                "is left off by now; scores would not be comparable. Train it again."
            )

    def encode_prompt(self, tokenizer: Any, prompt: Prompt) -> list[int]:
        """The tokens that a policy is given to go on from: shape (P,). They never end in what the tokenizer appends.

        Raises:
            Unrenderable: the chat template refuses the prompt.
        """
        if self.kind in ("chat", "template"):
            return start_ids(tokenizer, conversation(prompt))
        return text_ids(tokenizer, self.plain_prompt(prompt), begins=True)

    def encode(self, tokenizer: Any, prompt: Prompt, response: str, stops: Collection[int] = ()) -> Encoded:
        """The tokens of a prompt and its response: `prompt_ids` (P,), `response_ids` (R,), ending in EOS.

        The response's tokens follow the prompt's exactly as they would in generation: they are encoded apart, so that
        no token straddles the border and the policy is trained on the prefix that it is later given.

        Args:
            tokenizer: whose rendering this is.
            prompt, response: text, from which no control token comes.
            stops: of a policy, where its generation stops (`stop_ids`). The response then ends in the first of them
                that the template writes, as one that was generated does: a Gemma's in <end_of_turn>, without the EOS
                that comes later, if ever. A reward model has none: it reads its score at the EOS.

        Raises:
            Unrenderable: the chat template refuses the conversation.
        """
        if self.kind == "pair":
            return self._encode_pair(tokenizer, self.plain_prompt(prompt), response)
        if self.kind == "template":
            turn: Message = {"role": "assistant", "content": response}
            ids, start = whole_ids(tokenizer, [*conversation(prompt), turn]), self.encode_prompt(tokenizer, prompt)
            border = next((i for i, (a, b) in enumerate(zip(ids, start, strict=False)) if a != b), len(start))
            return Encoded(ids[:border], ids[border:])
        eos = tokenizer.eos_token_id
        if self.kind == "plain":
            return Encoded(self.encode_prompt(tokenizer, prompt), [*text_ids(tokenizer, response), eos])
        prompt_ids, response_ids = turn_ids(tokenizer, conversation(prompt), response)
        # A template may write more after the end of the turn (a newline, say): the sequence ends where generation
        # would have stopped. Of all that is here, no stop comes of the response: it is text.
        ends = Spelling.of(tokenizer).control.intersection(stops)
        stop = next((at for at, token in enumerate(response_ids) if token in ends), None)
        if stop is not None:
            return Encoded(prompt_ids, response_ids[: stop + 1])
        if eos in response_ids:
            response_ids = response_ids[: len(response_ids) - response_ids[::-1].index(eos)]
        if not response_ids or response_ids[-1] != eos:
            response_ids.append(eos)
        return Encoded(prompt_ids, response_ids)

    def _encode_pair(self, tokenizer: Any, prompt: str, response: str) -> Encoded:
        spelling = Spelling.of(tokenizer)
        if spelling.found(prompt) or spelling.found(response):
            ids, segments = spelling.encode_pair(prompt, response)
            if "token_type_ids" not in tokenizer.model_input_names:
                segments = [0] * len(ids)
        else:
            both = tokenizer(prompt, response)
            ids = list(both["input_ids"])
            segments = list(both.get("token_type_ids") or [0] * len(ids))
        border = len(text_ids(tokenizer, prompt, begins=True)) + len(spelling.around[1])
        return Encoded(ids[:border], ids[border:], segments)

    def plain_prompt(self, prompt: Prompt) -> str:
        """A prompt as text, for tokenizers without a chat template: contents one under the other."""
        return prompt if isinstance(prompt, str) else "\n".join(m["content"] for m in prompt)

    def left_out(self, tokenizer: Any, prompt: Prompt, answered: bool = False) -> list[str]:
        """The roles of a prompt's turns that the chat template leaves out without a word: ["system"], say.

        An empty turn is not missed. `answered`: of the prompt with a response, as `encode` gives it; a response that is
        left out counts as "assistant".
        """
        if self.kind not in ("chat", "template"):
            return []
        messages = conversation(prompt)
        roles = [message["role"] for message in messages]
        if answered:
            way: Literal["turn", "whole"] = "turn" if self.kind == "chat" else "whole"
            missing = left_out(tokenizer, [*roles, "assistant"], way)
        else:
            missing = left_out(tokenizer, roles)
        return [
            "assistant" if at == len(roles) else roles[at]
            for at in missing
            if at == len(roles) or messages[at]["content"].strip()
        ]

    def check_turns(self, tokenizer: Any, prompt: Prompt, answered: bool = False) -> None:
        """An `Unrenderable` where the chat template leaves out a turn (see `left_out`): it would not be read."""
        if roles := self.left_out(tokenizer, prompt, answered):
            raise Unrenderable(f"the chat template leaves out the {' and the '.join(dict.fromkeys(roles))} turn")

    def forgets(self, tokenizer: Any, prompt: Prompt) -> bool:
        """Whether the chat template leaves out what the assistant thought in earlier turns of a prompt, as Qwen3's."""
        if self.kind not in ("chat", "template") or isinstance(prompt, str):
            return False
        said = [message["content"] for message in prompt if message["role"] == "assistant"]
        tags = Tags.of(tokenizer, written) if said else None
        if tags is not None:
            return tags.forgotten and any(map(tags.thought, said))
        try:
            text = written(tokenizer, prompt, add_generation_prompt=True) if any("/" in each for each in said) else ""
        except Unrenderable:
            return False
        return bool(text) and not all(keeps(text, each) for each in said)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _template_hash(tokenizer: Any) -> str:
    """Of its chat template; of several under names, which are saved in the order of those, whatever it was before."""
    template = tokenizer.chat_template
    return _sha(str(dict(sorted(template.items())) if isinstance(template, dict) else template))


def _fingerprint(tokenizer: Any) -> str:
    """A text that changes when the tokenization does: a probe's tokens, the vocabulary's size, the special tokens."""
    probe = "Which response is better, 1 or 2?\nThe naïve café — 東京 — costs €3.50; def f(x): return x**2"
    return repr((tokenizer(probe)["input_ids"], len(tokenizer), sorted(map(str, tokenizer.all_special_tokens))))
