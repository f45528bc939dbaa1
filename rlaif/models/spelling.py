"""Text encoded as text: no added token comes of it, whatever it spells.

A tokenizer looks for its added tokens ("<|im_end|>", "</s>", "<think>") in everything that it is given, so that a
response could end its own turn and begin another. Only a chat template may write them. So text that spells one is
encoded by the tokenizer's twin, in which every added token has a private name, and the base vocabulary has none of
them: what the template wrote is renamed before, what a person wrote is left as it is and becomes ordinary pieces.

    template's text, a mark in every spelling that is a person's     <|user|>say <^|end|><|end|>
    the same with the template's own tokens renamed, no marks        (1)say <|end|>(2)
    tokens of the twin, ids of the tokenizer                         1  say  <  |  end  |  >  2

Text without a spelling never comes here: one regular expression tells, and its tokens are the tokenizer's own.

Two kinds of added tokens are no control tokens and stay what they are: runs of white space, with which Gemma's and
Phi's tokenizers write ordinary text, and single characters that the base vocabulary needs (GPT-2 pads with "!").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["REFUSED", "UNRENDERED", "Spelling", "Unrenderable", "free_mark", "text_ids"]


UNRENDERED = "not rendered: "  # begins the reason of a reply to one
REFUSED = "refused by the chat template"  # what a ledger calls the rows that are `Unrenderable`


class Unrenderable(ValueError):  # noqa: N818 - it says what the conversation is
    """A conversation that cannot become tokens: the chat template refuses it, or its text spells what is no text.

    It is the row's fault, not the run's: programs leave the row out and count it.
    """


# Characters that no text holds, or hardly any. A mark is put into text that a template then handles; a name opens and
# closes with the two of a pair. A normalizer may delete private-use characters (BERT's does), but no letters.
_MARKS = [chr(code) for code in range(0xE0F0, 0xE100)]
_STANDS = [chr(code) for code in range(0xE200, 0xE300)]
_BETWEEN = re.compile(r"(?<=\S)(?=\S)")
_NAMES = [("\ue000", "\ue001"), ("\U000f0000", "\U000f0001"), ("ꗈ", "ꗉ"), ("ꘃ", "ꘄ"), ("\ue002", "\ue003"), ("ꔀ", "ꔁ")]


def free_mark(texts: Iterable[str]) -> str:
    """A character that is in none of `texts`."""
    held = set().union(*map(set, texts))
    for mark in _MARKS:
        if mark not in held:
            return mark
    raise Unrenderable("the conversation holds every private character that would mark its text; leave some out.")


def text_ids(tokenizer: Any, text: str, begins: bool = False) -> list[int]:
    """The tokens of a person's text, none of them a control token.

    Args:
        tokenizer: any.
        text: spellings and all.
        begins: whether a sequence begins with it: then the tokenizer's own beginning (BOS, say) comes first. What it
            would append (an EOS, where it was saved with `add_eos_token`) never does: the sequence goes on.
    """
    spelling = Spelling.of(tokenizer)
    if spelling.found(text):
        ids = spelling.encode(tokenizer, text)
    else:
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [*spelling.around[0], *ids] if begins else ids


@dataclass
class Spelling:
    """The added tokens of a tokenizer, and the encoding of text that spells them.

    Attributes:
        ids: of the control tokens, by what they are written as.
        around: what the tokenizer puts before and after a text: BOS, EOS.
        probes: what chat templates do with neutral texts, kept by `rlaif.models.templates`.
    """

    ids: Mapping[str, int]
    around: tuple[list[int], list[int]] = ([], [])
    probes: dict[Any, Any] = field(default_factory=dict)
    _tokens: Mapping[str, Any] = field(default_factory=dict)
    _backend: Any = None  # of `tokenizers`; None of a tokenizer in Python
    _normalized: re.Pattern[str] | None = None
    _unknown: int | None = None
    _twins: dict[tuple[str, str], _Twin] = field(default_factory=dict)

    @classmethod
    def of(cls, tokenizer: Any) -> Spelling:
        """That of `tokenizer`, made once."""
        backend = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        version = (len(tokenizer), *map(str, tokenizer.all_special_tokens))
        kept = _KEPT.get(tokenizer)
        if kept is None or kept[0] != version:
            _KEPT[tokenizer] = kept = (version, cls._build(tokenizer, backend))
        return kept[1]

    @classmethod
    def _build(cls, tokenizer: Any, backend: Any) -> Spelling:
        def known(text: str) -> bool:
            return backend is not None and backend.model.token_to_id(text) is not None

        tokens = {
            token.content: (index, token)
            for index, token in tokenizer.added_tokens_decoder.items()
            if token.content
            and not (token.content.isspace() and not token.special)
            and not (len(token.content) == 1 and known(token.content))
        }
        normalized = None
        if backend is not None and backend.normalizer is not None:
            # Found in normalized text: by the added tokens that ask for it, and by a vocabulary that holds others.
            forms = {backend.normalizer.normalize_str(c) for c, (_, token) in tokens.items() if token.normalized}
            forms |= {content for content in tokens if known(content)}
            normalized = _any_of(forms)
        return cls(
            {content: index for content, (index, _) in tokens.items()},
            _around(tokenizer),
            _tokens={content: token for content, (_, token) in tokens.items()},
            _backend=backend,
            _normalized=normalized,
            _unknown=tokenizer.unk_token_id,
        )

    @cached_property
    def control(self) -> frozenset[int]:
        """The ids of the control tokens."""
        return frozenset(self.ids.values())

    @cached_property
    def hidden(self) -> frozenset[int]:
        """The ids that are left out of written text: control tokens that are special."""
        return frozenset(index for content, index in self.ids.items() if self._tokens[content].special)

    @cached_property
    def _written(self) -> re.Pattern[str] | None:
        return _any_of(self.ids)

    def found(self, text: str) -> bool:
        """Whether `text` holds the spelling of a control token."""
        if self._written is not None and self._written.search(text):
            return True
        return self._normalized is not None and bool(
            self._normalized.search(self._backend.normalizer.normalize_str(text))
        )

    def count(self, text: str) -> int:
        """How many control tokens a template's `text` spells."""
        return len(self._written.findall(text)) if self._written is not None else 0

    def broken(self, text: str, mark: str) -> str:
        """`text` with a mark in each spelling, so that it is none any more."""
        if self._written is None:
            return text
        done = ""
        while done != text:  # what is broken may have hidden another: "<a<a>>"
            text, done = self._written.sub(lambda m: m[0][0] + mark + m[0][1:] if len(m[0]) > 1 else m[0], text), text
        return self._stood_in(text, mark)

    def shattered(self, text: str, mark: str) -> str:
        """`text` with a mark between any two characters that are no white space, and around what is none at the ends.

        Whatever a template does to it, no run of its characters spells a token, alone or with what stands beside it;
        and white space at its ends stays there, for templates that strip it.
        """
        inner = text.strip()
        if not inner:
            return text
        before = len(text) - len(text.lstrip())
        done = text[:before] + mark + _BETWEEN.sub(mark, inner) + mark + text[before + len(inner) :]
        return self._stood_in(done, mark)

    def unmarked(self, text: str, mark: str) -> str:
        """`text` without what `broken` or `shattered` put in."""
        if self._singles:
            text = re.sub(
                f"{mark}{mark}([{_STANDS[0]}-{_STANDS[-1]}])",
                lambda m: self._singles[ord(m[1]) - ord(_STANDS[0])],
                text,
            )
        return text.replace(mark, "")

    @cached_property
    def _singles(self) -> list[str]:
        """Control tokens of one character: nothing fits into them, so others stand for them after two marks."""
        return sorted(content for content in self.ids if len(content) == 1)[: len(_STANDS)]

    def _stood_in(self, text: str, mark: str) -> str:
        for character, stand in zip(self._singles, _STANDS, strict=False):
            text = text.replace(character, mark + mark + stand)
        return text

    def encode(self, tokenizer: Any, text: str, mark: str | None = None) -> list[int]:
        """The tokens of `text`, whose control tokens are those that its spellings without a `mark` in them stand for.

        Args:
            tokenizer: whose spelling this is.
            text: what a template wrote, with `mark` in what people wrote; or, without `mark`, all of it people's.

        Raises:
            Unrenderable: some text can be written in no other way than by a control token.
        """
        if self._backend is None:
            return self._encode_in_python(tokenizer, text, mark)
        spans = [] if mark is None else self._spans(text, mark)
        edges = [0, *(edge for start, end, _ in spans for edge in (start, end)), len(text)]
        people = [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
        if mark is not None:
            people = [self.unmarked(part, mark) for part in people]
        twin = self._twin("".join(people))
        whole = people[0] + "".join(
            twin.names[token] + part for (*_, token), part in zip(spans, people[1:], strict=True)
        )
        encoding = twin.tokenizer.encode(whole, add_special_tokens=False)
        self._check(twin, people, encoding.ids, len(spans))
        return twin.own(encoding.ids)

    def encode_pair(self, prompt: str, response: str) -> tuple[list[int], list[int]]:
        """As `encode` for two texts of people, with what an encoder puts around them: ids and token types."""
        if self._backend is None:
            raise Unrenderable("the text spells a control token, which this tokenizer cannot write as text.")
        twin = self._twin(prompt + response)
        encoding = twin.tokenizer.encode(prompt, response)
        self._check(twin, [prompt, response], encoding.ids, 0)
        return twin.own(encoding.ids), list(encoding.type_ids)

    def _spans(self, text: str, mark: str) -> list[tuple[int, int, str]]:
        """Where the tokenizer itself sees control tokens in `text`: start, end, token. Those with a mark are none."""
        named = {index: content for content, index in self.ids.items()}
        encoding = self._backend.encode(text, add_special_tokens=False)
        spans: list[tuple[int, int, str]] = []
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            content, part = named.get(index), text[start:end]
            if content is None or mark in part or (spans and start < spans[-1][1]):
                continue
            if content in part or (self._normalized is not None and self._normalized.search(self._normal(part))):
                spans.append((start, end, content))
        return spans

    def _normal(self, text: str) -> str:
        return str(self._backend.normalizer.normalize_str(text))

    def _check(self, twin: _Twin, people: Sequence[str], ids: Sequence[int], count: int) -> None:
        """An `Unrenderable` unless the twin wrote all control tokens of the template, and none of what people wrote."""
        if sum(index in twin.named for index in ids) != count:
            raise Unrenderable("the text beside a control token changes what the tokenizer makes of it; set it apart.")
        spelled = {content for part in people for content in self._written.findall(part)} if self._written else ()
        for content in sorted(spelled):
            if not twin.writes(content, self._unknown):
                raise Unrenderable(
                    f"the text spells the control token {content}, and the tokenizer can write that in no other way; "
                    "take it out."
                )

    def _twin(self, text: str) -> _Twin:
        for pair in _NAMES:
            if pair[0] in text or pair[1] in text:
                continue
            if pair not in self._twins:
                self._twins[pair] = _Twin.of(self._backend, self._tokens, self.ids, pair)
            if self._twins[pair].told_apart:
                return self._twins[pair]
        raise Unrenderable("the conversation holds every private character that would name tokens; leave some out.")

    def _encode_in_python(self, tokenizer: Any, text: str, mark: str | None) -> list[int]:
        """`encode` for a tokenizer without a backend: the parts between the template's own tokens, each apart."""
        if mark is None or self._written is None:
            parts = [text]
        else:
            parts = re.split(f"({self._written.pattern})", text)
        for at in range(1, len(parts), 2):
            token = self._tokens[parts[at]]
            parts[at - 1] = parts[at - 1].rstrip() if token.lstrip else parts[at - 1]
            parts[at + 1] = parts[at + 1].lstrip() if token.rstrip else parts[at + 1]
        ids: list[int] = []
        for at, part in enumerate(parts):
            if at % 2:
                ids.append(self.ids[part])
                continue
            part = part if mark is None else self.unmarked(part, mark)
            new = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(part, split_special_tokens=True)) if part else []
            if self.control.difference([self._unknown]).intersection(new):
                raise Unrenderable("the text spells a control token, which this tokenizer cannot write as text.")
            ids += new
        return ids


_KEPT: WeakKeyDictionary[Any, tuple[Any, Spelling]] = WeakKeyDictionary()


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids that a tokenizer puts before and after a text."""
    for text in ("a", "the", "1", "?", *filter(None, [tokenizer.unk_token])):
        bare, whole = (list(tokenizer(text, add_special_tokens=special)["input_ids"]) for special in (False, True))
        for at in range(len(whole) - len(bare) + 1):
            if bare and whole[at : at + len(bare)] == bare:
                return whole[:at], whole[at + len(bare) :]
    return [], []


@dataclass
class _Twin:
    """A tokenizer of the same text, in which the added tokens have private names.

    Attributes:
        tokenizer: of `tokenizers`.
        names: of the control tokens, by what they are written as.
        named: the ids that the control tokens have here.
        told_apart: whether each name is still found where a normalizer changes the text.
    """

    tokenizer: Any
    names: dict[str, str]
    named: frozenset[int]
    told_apart: bool
    _back: dict[int, int]
    _writes: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, backend: Any, tokens: Mapping[str, Any], ids: Mapping[str, int], pair: tuple[str, str]) -> _Twin:
        from tokenizers import Tokenizer

        names = {content: f"{pair[0]}{index}{pair[1]}" for content, index in ids.items()}
        row = json.loads(backend.to_str())
        for token in row["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        _rename(row["model"], names)
        twin = Tokenizer.from_str(json.dumps(row))
        twin.no_truncation()
        twin.no_padding()
        known: dict[str, int] = twin.get_vocab(with_added_tokens=True)
        back = {known[token["content"]]: int(token["id"]) for token in row["added_tokens"]}
        here = {content: known[name] for content, name in names.items()}
        told_apart = all(
            twin.encode(f"a {name} b", add_special_tokens=False).ids.count(here[content]) == 1
            and not (
                tokens[content].normalized and twin.normalizer and pair[0] not in twin.normalizer.normalize_str(name)
            )
            for content, name in names.items()
        )
        return cls(twin, names, frozenset(here.values()), told_apart, back)

    def own(self, ids: Iterable[int]) -> list[int]:
        """The tokenizer's ids for the twin's."""
        return [self._back.get(index, index) for index in ids]

    def writes(self, content: str, unknown: int | None) -> bool:
        """Whether the text `content` has an encoding of ordinary pieces, each of its characters in one."""
        if content not in self._writes:
            encoding = self.tokenizer.encode(content, add_special_tokens=False)
            covered = {at for start, end in encoding.offsets for at in range(start, end)}
            whole = all(at in covered for at, character in enumerate(content) if not character.isspace())
            self._writes[content] = whole and unknown not in self.own(encoding.ids)
        return self._writes[content]


def _rename(model: dict[str, Any], names: Mapping[str, str]) -> None:
    """Takes the spellings of `names` from the base vocabulary, in place, ids and all else staying as they are."""
    # Other names than the added tokens', so that an unknown word does not look like a spelled "<unk>".
    entries = {content: f"{name}v" for content, name in names.items()}
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):  # Unigram
        for entry in vocabulary:
            entry[0] = entries.get(entry[0], entry[0])
    elif isinstance(vocabulary, dict):
        vocabulary = {entries.get(piece, piece): index for piece, index in vocabulary.items()}
        # Ids that no piece has would be given to added tokens.
        free = set(range(max(vocabulary.values(), default=-1))).difference(vocabulary.values())
        hole = next(iter(names.values()), "")
        model["vocab"] = vocabulary | {f"{hole}v{index}": index for index in free}
    if model.get("unk_token") in entries:
        model["unk_token"] = entries[model["unk_token"]]
    if "merges" in model:
        joined = model.get("continuing_subword_prefix") or ""
        kept = []
        for merge in model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            if not {left, right, left + right.removeprefix(joined)} & names.keys():
                kept.append(merge)
        model["merges"] = kept


def _any_of(spellings: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for all: at a place the longest, as in the tokenizer."""
    ordered: Sequence[str] = sorted(filter(None, spellings), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
