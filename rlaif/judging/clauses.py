"""A judge's text as lines, sentences and clauses in which the names of the two responses are marked.

    "**Therefore**, I think Response B (the longer one) is better."   with the labels "A" and "B"
    -> "therefore ", "i think §1 ", ("the longer one "), "is better "

A clause is its words in lower case, each with a space behind it, without markup. A name is one word of it: "§0" and
"§1" with a noun ("Response 1", "the first answer"), "¤0" and "¤1" the label alone, "¢0" and "¢1" in a form for
verdicts ("[[A]]", "\\boxed{1}"), "¢=" a tie in such a form. What own_words.py hides is the word "¶".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from rlaif.judging.own_words import HIDDEN, VERDICT_TAGS

__all__ = ["NOUN", "Clause", "Line", "Names", "Sentence", "names_of", "plain_letters", "read_lines", "spelled"]

# What people call a response.
NOUN = (
    "responses?|assistants?|answers?|options?|outputs?|models?|candidates?|choices?|completions?|replies|reply|"
    "versions?|texts?|summary|summaries|stor(?:y|ies)|essays?|solutions?|systems?|chatbots?|bots?|translations?|"
    "submissions?|entry|entries|generations?|drafts?|items?"
)
_NOUN_ELSEWHERE = (
    "antwort|réponse|reponse|respuesta|risposta|resposta|antwoord|svar|odpowiedź|yanıt|cevap|ответ|відповідь|回答|回复|答案|"
    "答复|響應|响应|选项|選項|助手|応答|返答|アシスタント|응답|답변"
)
_RANKS = (("1", "one", "a", "first", "1st"), ("2", "two", "b", "second", "2nd"))
_OTHER_RANKS = ("former", "latter")
# Behind "the first", where it is a response: "the first time" and "the second paragraph" are none.
_AFTER_ORDINAL = (
    r"[*_]{0,2}(?:[ ]?[.,;:!)\n]|$|[ ](?i:is|was|wins|has|seems|looks|does|over|because|since|for|better|more)\b)"
)
_TIES = r"(?:a[ ])?(?:tie|draw|tied|equal)"

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN: dict[int, int | str] = {
    **_WIDE,
    0x3002: ".",
    0x3001: ",",
    0x3000: " ",
    0x200B: " ",
    0xFEFF: " ",
    0xA0: " ",
    0xFE0F: " ",
    0x20E3: " ",
    0x2028: "\n",
    0x2029: "\n",
}
_PLAIN |= {0x0D: " ", 0x0B: "\n", 0x0C: "\n", 0x85: "\n"}


# Of LaTeX: commands that shape a text, and those of signs.
_SHOWN = {"succ": ">", "succeq": ">", "gg": ">", "prec": "<", "ll": "<", "sim": "=", "approx": "=", "Rightarrow": "→"}
_SHOWN |= {"implies": "→", "rightarrow": "→", "to": "→", "therefore": "→"}
_COMMAND = re.compile(rf"\\(text\w{{0,6}}|math\w{{2,3}}|emph|underline|{'|'.join(_SHOWN)})(?![A-Za-z])\{{?")


def plain_letters(text: str) -> str:
    """`text`, as long as it was, with full-width letters and odd spaces as plain ones."""
    if "\\" in text:
        text = _COMMAND.sub(lambda match: _SHOWN.get(match[1], "").ljust(len(match[0])), text)
    return text if text.isascii() and "\r" not in text else text.translate(_PLAIN)


def spelled(text: str, labels: tuple[str, ...]) -> str:
    """`text` as it is compared with a label: without white space and, unless labels are single letters, without case.

    A single letter is an article or a pronoun more often than a verdict, unless it is written as the label is.
    """
    exact = any(len(label.strip()) == 1 and label.strip().isalpha() for label in labels)
    return text.strip() if exact else text.strip().casefold()


@dataclass(frozen=True)
class Names:
    """The patterns by which the two responses are found in a text.

    Attributes:
        words: one match for each word, name or sign of a text.
        quoted: what names a response and nothing else, as it may stand in quotation marks.
        alone: a whole text that is a name, or a tie.
        groups: those of `words` that hold a name, by its kind.
        letters: the labels are A and B.
        first: which of the labels counts first (1 of "2" and "1"), None if they do not count.
    """

    words: re.Pattern[str]
    quoted: re.Pattern[str]
    alone: re.Pattern[str]
    groups: dict[str, tuple[str, ...]]
    letters: bool
    first: int | None

    def marked(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """The response (or a tie, -1) that a piece of text names if it does nothing else, and the place of the name."""
        match = self.alone.fullmatch(plain_letters(text), start, end)
        if match is None:
            return None
        for group, place in match.groupdict().items():
            if place is not None:
                return (-1 if group == "tie" else int(group[-1])), match.start(group)
        return None


@lru_cache(maxsize=64)
def names_of(labels: tuple[str, ...]) -> Names:
    """The patterns for two labels.

    Labels that count ("1" and "2", "A" and "B", "first" and "second", also "Output (a)" and "Output (b)") stand for
    each other beside a noun: to a template with 1 and 2, "Assistant A" and "the first response" are Response 1.
    """
    exact = spelled("A", labels) == "A"
    plain = [plain_letters(label).strip() for label in labels]
    cores = [_core(label) for label in plain]
    ranks = [next((i for i, rank in enumerate(_RANKS) if core.casefold() in rank), -1) for core in cores]
    counted = set(ranks) == {0, 1}
    noun = _NOUN_BEFORE
    if any(re.match(rf"(?:{NOUN})\b", label, re.IGNORECASE) for label in plain):
        # "Assistant (b)" may be somebody who argues about "Output (a)".
        noun = (
            (rf"(?!(?i:assistant|model|system|chatbot|bot|ai))(?:{noun})")
            if not re.match("(?i:assistant|model|system|chatbot|bot|ai)", plain[0])
            else noun
        )
    beside = [
        _beside_a_noun(core, _RANKS[rank] if counted else (), exact) for core, rank in zip(cores, ranks, strict=True)
    ]
    bare = [_flexible(label) if exact else f"(?i:{_flexible(label)})" for label in plain]
    if all(label.endswith(f"({core})") for label, core in zip(plain, cores, strict=True)):
        bare = [rf"{ways}|\((?i:{re.escape(core)})\)" for ways, core in zip(bare, cores, strict=True)]

    def named(kind: str) -> str:
        """Names beside a noun, in groups that begin with a letter and end with the name's index."""
        after = "|".join(
            rf"[(\[]{{1,2}}[ ]?(?P<{kind}c{i}>{in_brackets})[ ]?[)\]]{{1,2}}|(?P<{kind}n{i}>{open_}){_END}"
            for i, (in_brackets, open_) in enumerate(beside)
        )
        forms = [rf"{noun}(?:{after})"]
        for i, rank in enumerate(ranks if counted else []):
            words = "|".join([*_RANKS[rank][3:], _OTHER_RANKS[rank]])
            forms.append(
                rf"(?:(?<=is |'s |th |or |to |ck |se |er |so |go )|(?<![^\n]))[Nn]umber "
                rf"(?P<{kind}u{i}>(?i:{_RANKS[rank][1]}|"
                rf"{_RANKS[rank][0]})){_END}"
            )
            forms.append(rf"(?<![^\W_])(?P<{kind}o{i}>(?i:{words}))[ _](?i:{_BETWEEN}(?:{NOUN}|one)){_END}")
            forms.append(
                rf"(?<=[Tt]he )(?P<{kind}d{i}>(?i:{'|'.join(_RANKS[rank][3:])}|"
                rf"{_OTHER_RANKS[rank]})){_END}(?={_AFTER_ORDINAL})"
            )
        return "|".join(forms)

    def alone(kind: str) -> str:
        """Names without a noun, in brackets or not."""
        forms = [rf"\((?P<{kind}p{i}>{ways})\)" for i, ways in enumerate(bare)]
        return "|".join([*forms, *(rf"(?<![^\W_])(?P<{kind}b{i}>{ways}){_END}" for i, ways in enumerate(bare))])

    third = "|C" if set(plain) == {"A", "B"} else ""  # in use for a tie
    formal = rf"(?:\[\[[ ]*(?:{named('f')}|{alone('f')}|(?P<ftie>(?i:{_TIES}){third}))[ ]*\]\]|"
    formal += rf"\\boxed\{{[ ]*(?:\\text\w*\{{)?[ ]*(?:{named('g')}|{alone('g')}|(?P<gtie>(?i:{_TIES})))[ ]*\}}{{1,2}})"
    words = re.compile(
        rf"(?P<hidden>{HIDDEN}+)|(?P<newline>\n)|(?P<formal>{formal})|(?P<number>{_NUMBER})|(?P<noun>{named('x')})|"
        rf"(?P<bare>{alone('z')})|(?P<tag></?(?i:{VERDICT_TAGS})>)|(?P<markup></?[A-Za-z][^<>\n]{{0,40}}>)|"
        r"(?P<word>[^\W_]+(?:['’\-‑][^\W_]+)*)|(?P<possessive>['’]s\b)|(?P<arrow>[-=]{1,8}>+|[→⇒➜⟶➡]|<[-=]+|←)|"
        r"(?P<ends>[.!?…]+(?!\w))|(?P<sign>[>≻]+|[<≺]+|[,;:()|=≈~/&+%]|-(?=\s)|[–—−])"
    )
    marks = r"[\s*_`\"'“”‘’()\[\]{}$.:=]*"
    tie = rf"(?P<tie>(?i:{_TIES}))"
    return Names(
        words,
        re.compile(rf"[\s*_\[(]*(?:{named('q')}|{alone('q')})[\s*_\])]*[.,]?|(?i:{_TIES})[.,]?"),
        re.compile(rf"{marks}(?:{named('q')}|{alone('q')}|{tie}){marks}"),
        {
            kind: tuple(group for group in words.groupindex if group[0] in letters and group != "formal")
            for kind, letters in (("formal", "fg"), ("noun", "x"), ("bare", "z"))
        },
        set(plain) == {"A", "B"},
        ranks[0] if counted else None,
    )


def _beside_a_noun(core: str, rank: tuple[str, ...], exact: bool) -> tuple[str, str]:
    """How a name is written behind a noun, in brackets and without. In brackets a letter is no article in any case."""
    letter = len(core) == 1 and core.isalpha()
    own = re.escape(core.upper() if letter and not exact else core)
    if not exact and not letter:
        own = f"(?i:{own})"
    alike = [own]
    if rank:
        digit, number, other, *_ = rank
        alike += [digit, f"(?i:{number})", other.upper()]
    in_brackets = [*alike, *([f"(?i:{rank[2]})"] if rank else [f"(?i:{re.escape(core)})"])]
    return "|".join(in_brackets), "|".join(alike)


_END = r"(?![^\W_])"
_BETWEEN = r"(?:(?:ai|assistant|assistant's|model|model's|candidate)[ ])?"
_NOUN_BEFORE = (
    rf"(?:(?<![^\W_])(?:(?i:{NOUN})|R(?=_?\{{?[12AB]\b))|(?i:{_NOUN_ELSEWHERE}))(?:[ _*#$\-]|\\_|\{{){{0,4}}"
    r"(?i:number[ ]|no\.?[ ]|nr\.?[ ])?[\"'“‘`*_]{0,3}"
)
_NUMBER = r"(?<![\w.,])[-−]?\d+(?:(?:[.,:]\d+)+(?:\s*%|)|\s*%|(?:\s*[/–]\s*|-)\d+(?:[\d.,/–-]*\d)?)(?!\w)"


def _flexible(label: str) -> str:
    """A label's pattern, with any white space for its own."""
    return r"\s+".join(re.escape(part) for part in label.split())


def _core(label: str) -> str:
    """What tells a label from the other one: "a" of "Output (a)", "1" of "Response 1"."""
    match = re.fullmatch(rf"(?:(?:{NOUN})[\s_#]*)?[(\[]*(\w+)[)\]]*", label, re.IGNORECASE)
    return match[1] if match else label


class Clause(NamedTuple):
    """Words between two signs.

    Attributes:
        words: see the head of this file.
        places: where each name in it stands in the text, in order.
        start: where it begins in the text.
        before: the sign before it: "" at a sentence's beginning, or one of ,;:()|-→.
        aside: it stands in brackets within a sentence.
    """

    words: str
    places: tuple[int, ...]
    start: int
    before: str
    aside: bool


class Sentence(NamedTuple):
    """Clauses up to a full stop, a question mark, an end of a line; `end` is the last sign, "" without one."""

    clauses: tuple[Clause, ...]
    end: str

    @property
    def words(self) -> str:
        """All its words, with the signs between the clauses."""
        return "".join((f"{clause.before} " if clause.before else "") + clause.words for clause in self.clauses)


@dataclass(frozen=True)
class Line:
    """A line that holds something.

    Attributes:
        sentences: of it.
        title: it is marked as a heading ("### ...").
        bold: all of it is emphasised, as a heading may be.
        listed: it is an item of a list.
        table: it is a row of a table.
        after_blank: an empty line stands before it, or nothing.
        hidden: something in it is quoted, and nothing else is in it.
    """

    sentences: tuple[Sentence, ...]
    title: bool = False
    bold: bool = False
    listed: bool = False
    table: bool = False
    after_blank: bool = True
    hidden: bool = False


_ITEM = re.compile(r"[ \t]*(?:[-*+•·][ \t]+|(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)][ \t]+)(?=\S)")
_TITLE = re.compile(r"[ \t]*#{1,6}(?=[ \t*]|\w)(?![ \t]*\d\W*$)")
_BOLD = re.compile(r"\s*(?:\*\*|__)(?:(?!\*\*|__).)+(?:\*\*|__)[ \t:.]*")
LONGEST = 1_500  # characters of a line that is read as sentences


_JOINTS = ("and", "but", "so", "therefore", "thus", "hence", "yet", "while", "whereas", "because", "since", "although")
_STARTS = ("i", "we", "my", "better", "best", "winner", "overall", "therefore", "thus", "hence", "it")


@dataclass
class _Writer:
    """Collects words into clauses, and these into sentences."""

    sentences: list[Sentence] = field(default_factory=list)
    clauses: list[Clause] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    before: str = ""
    depth: int = 0

    def word(self, word: str, at: int, place: int | None = None) -> None:
        self._split(word)
        self.words.append(word)
        self.starts.append(at)
        if place is not None:
            self.places.append(place)

    def _split(self, word: str) -> None:
        """Begins a clause before "but I", "and Response 2" and the like, though no sign stands there."""
        words = self.words
        the = len(words) > 2 and words[-1] == "the"
        joint = -2 if the else -1
        if len(words) > 1 - joint and words[joint] in _JOINTS and (word in _STARTS or word[0] in "§¤¢"):
            if (words[joint] == "and" and words[joint - 1][0] in "§¤¢") or words[joint - 1] in ("is", "are", "was"):
                return
            kept, starts = words[joint:], self.starts[joint:]
            self.words, self.starts = words[:joint], self.starts[:joint]
            self.sign("")
            self.words, self.starts = kept, starts

    def sign(self, sign: str) -> None:
        if self.words:
            said = "".join(f"{word} " for word in self.words)
            self.clauses.append(Clause(said, tuple(self.places), self.starts[0], self.before, self.depth > 0))
            self.words, self.places, self.starts, self.before = [], [], [], sign
        elif sign != "(" or not self.before or self.before == ",":
            self.before = sign if self.clauses else ""
        if sign == "(" and self.clauses:
            self.depth += 1
        elif sign == ")" and self.depth:
            self.depth -= 1

    def end(self, sign: str = "") -> None:
        trailing = "" if self.words else self.before
        self.sign("")
        if self.clauses:
            self.sentences.append(Sentence(tuple(self.clauses), sign or trailing))
        elif sign and self.sentences:
            self.sentences[-1] = self.sentences[-1]._replace(end=self.sentences[-1].end + sign)
        self.clauses, self.before, self.depth = [], "", 0


def read_lines(text: str, names: Names) -> list[Line]:
    """The lines of `text` that hold something. In a line that is longer than `LONGEST` its last part is read."""
    lines: list[Line] = []
    start, blank = 0, True
    for raw in text.split("\n"):
        begin, start = start, start + len(raw) + 1
        if not raw.strip(" \t*_-=#|"):
            blank = True
            continue
        item = _ITEM.match(raw)
        table = raw.lstrip().startswith("|") or raw.count(" | ") > 1
        first = item.end() if item and raw[item.end() :].strip(" *_.`") else 0
        if len(raw) > LONGEST:
            first = max(first, len(raw) - LONGEST)
            first = raw.find(". ", first) + 1 or len(raw)
        sentences = _sentences(text, begin + first, begin + len(raw), names)
        hidden = not raw.replace(HIDDEN, "").strip(" \t*_-:.>|")
        if sentences or hidden:
            title, bold = _TITLE.match(raw) is not None, _BOLD.fullmatch(raw[first:]) is not None
            lines.append(Line(tuple(sentences), title, bold, item is not None and first > 0, table, blank, hidden))
        blank = False
    return lines


def _sentences(text: str, start: int, end: int, names: Names) -> list[Sentence]:
    writer = _Writer()
    for match in names.words.finditer(text, start, end):
        kind, at = match.lastgroup, match.start()
        if kind in (None, "newline", "markup"):
            continue
        if kind == "hidden":
            writer.word("¶", at)
        elif kind in ("formal", "noun", "bare"):
            group = next(group for group in names.groups[kind] if match[group] is not None)
            writer.word(_SIGNS[kind] + (group[-1] if group[-1] in "01" else "="), at, match.start(group))
        elif kind == "tag":
            if match[0].startswith("</"):
                writer.end()
            else:
                writer.sign(":")
                writer.word(match[0].strip("<>").lower().replace("_", " "), at)
                writer.sign(":")
        elif kind == "ends":
            writer.end(match[0])
        elif kind == "arrow":
            writer.sign("←" if match[0][0] in "<←" else "→")
        elif kind == "sign" and match[0] in ",;:()|-–—−":
            writer.sign({"–": "-", "—": "-", "−": "-"}.get(match[0], match[0]))
        elif kind == "sign":
            if match[0] != "~":
                writer.word({"≻": ">", "≺": "<"}.get(match[0][0], match[0][0]), at)
        else:
            writer.word(match[0].lower().replace("’", "'").replace("‑", "-"), at)
    writer.end()
    return writer.sentences


_SIGNS = {"formal": "¢", "noun": "§", "bare": "¤"}
