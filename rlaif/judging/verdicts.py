"""Reading which of two responses a judge decided for, from the text that it wrote.

Better unjudged than turned round: only what can be read in one way is read, and only what the judge says itself. The
order of the reading, and why:

  1. What is quoted, code, or a thought is hidden (own_words.py): a response may hold a forged verdict, and a careful
     judge quotes it.
  2. The rest becomes lines, sentences and clauses (clauses.py), in which the labels are marked: "Assistant A" and
     "the first response" are "Response 1".
  3. A clause decides if it does so from its first word on: "I think (that) Response 1 is better", "the better one is
     2", "I prefer 1". So "some say that 1 is better", "neither is", "in style 1 is better" and "better at rhymes"
     decide nothing: what comes before and after a decision is not skipped but has to be known.
  4. What stands around a clause can undo it: a condition, somebody's opinion, a question, one aspect of several, a
     report of what a response says.
  5. The last decision counts, for a judge may think aloud. A label alone counts in the first and in the last line,
     unless it may be a heading ("**Response 1:**"). Two that contradict each other without a word are no verdict.
  6. Only where nothing is found so far: a label with its reason behind it (openings.py), a decision in another language
     (elsewhere.py), an element of XML (layouts.py), plain praise of one response against blame of the
     other (contrast.py).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rlaif.judging.clauses import Clause, Line, Names, Sentence, names_of, plain_letters, read_lines, spelled
from rlaif.judging.contrast import praise_against_blame
from rlaif.judging.elsewhere import decided_elsewhere
from rlaif.judging.layouts import ranked_list, verdict_element
from rlaif.judging.leanings import Own, lean
from rlaif.judging.openings import opening_label, whole_label
from rlaif.judging.own_words import HIDDEN, object_of, own_words, unwrapped, window
from rlaif.judging.scores import best_score, table_verdict
from rlaif.judging.statements import (
    TIE,
    Role,
    announces,
    blames,
    concludes,
    contrasts,
    decided,
    denies,
    disowns,
    elided,
    forges,
    gives_up,
    heading_role,
    introduces,
    is_conclusive,
    is_confidence,
    is_fragment,
    is_name,
    is_neither,
    names_in,
    quotes_a_part,
    reports,
    retracts,
    revises,
    role,
    says_so,
    seems,
    sets_aside,
    speaks,
    subject,
    turns,
    undoes,
)
from rlaif.judging.written_ratings import Scale, find_marked_rating, find_rating

__all__ = [
    "TIE",
    "Scale",
    "find_marked",
    "find_marked_rating",
    "find_rating",
    "find_verdict",
    "folded",
    "spelled",
]


def folded(label: str) -> str:
    """What of a label a reader sees: two that are folded alike cannot be told apart in a text."""
    return " ".join(re.sub(r"[*_`#\"'.:]", " ", plain_letters(label)).split()).casefold()


def find_verdict(text: str, labels: tuple[str, ...]) -> tuple[int, int] | None:
    """The verdict in `text` and its place, or None where there is none that can be trusted.

    Args:
        text: an answer. Of one longer than 10,000 characters its end is read, or else its first line: the time is
            bounded.
        labels: what the verdicts for the first and for the second response are called.

    Returns:
        0, 1 or TIE, and where its label begins in `text` (of a tie, where the statement does).
    """
    names = names_of(labels)
    start = window(text)
    found = _read(text[start:], names)
    if found is not None:
        return found[0], found[1] + start
    if start:
        head = text.lstrip()[:200].split("\n", 1)[0]
        offset = len(text) - len(text.lstrip())
        found = _read(head, names) if len(head) < 200 else None
        return None if found is None else (found[0], found[1] + offset)
    return None


def find_marked(text: str, mark: str, labels: tuple[str, ...]) -> tuple[int, int] | None:
    """The verdict in the lines that are `mark` and a label (or "tie") and nothing more; None where two disagree.

    A response cannot guess the mark (it comes from the content and a salt), so such a line is the judge's own wherever
    it stands.
    """
    if mark.casefold() not in text.casefold():
        return None
    names = names_of(labels)
    rest = re.compile(rf"[ \t*_`#]*{re.escape(mark)}(?P<rest>[^\n]{{0,80}})", re.IGNORECASE)
    found = []
    for match in re.finditer(r"[^\n]+", text):
        line = rest.fullmatch(text, match.start(), match.end())
        named = line and names.marked(text, line.start("rest"), line.end("rest"))
        if named:
            found.append(named)
    return found[-1] if len({verdict for verdict, _ in found}) == 1 else None


def _read(text: str, names: Names) -> tuple[int, int] | None:
    inner, offset = unwrapped(text)
    found = _from_object(inner, names)
    if found is None:
        own = own_words(plain_letters(inner), names.quoted)
        lines = read_lines(own, names)
        found = _from_lines(own, lines) or table_verdict(own, names)
        if ranked := ranked_list(lines):
            earlier = _from_lines(own, lines[:-3])
            found = ranked if earlier is None or earlier[0] == ranked[0] else None
        if found is None and HIDDEN not in own:
            found = best_score(own, names)
        if found is None:
            found = whole_label(inner, names) or opening_label(own, names) or decided_elsewhere(own, names)
        if found is None:
            found = verdict_element(inner, names)
        if found is None and len(own) < 600:
            found = praise_against_blame(read_lines(own, names))
        if found is not None and found[0] != TIE and names.letters and _THIRD.search(own):
            return None  # a third label in use elsewhere, mostly for a tie
    return None if found is None or found[0] in (_NONE, _CLASH) else (found[0], found[1] + offset)


_THIRD = re.compile(r"\[\[ ?C ?\]\]")

# An object ------------------------------------------------------------------------------------------------------------

_CLASH = -3  # "Response 1 is better. Response 2 is better."
_NONE = -2  # a decision against deciding, or one that cannot be known: it stands in the way of an earlier one
_KEYS = re.compile(
    r"(?:(?:final|overall|my|the)[ _-]?)*(?:verdict|decision|winner|choice|preference|preferred|better|best|answer|"
    r"judge?ment|result|selected|selection|chosen|pick|conclusion|vote)(?:[ _-]?(?:response|answer|output|option|one|"
    r"assistant|model|label|id))?",
    re.IGNORECASE,
)


def _from_object(text: str, names: Names) -> tuple[int, int] | None:
    """The verdict of a JSON object that is the whole of an answer, or its end; keys of other names hold none."""
    stripped = text.rstrip().removesuffix("```").rstrip()
    if not stripped.endswith("}"):
        return None
    start = 0 if stripped.lstrip().startswith("{") else stripped.rfind("\n{") + 1
    before, body = text[:start], stripped[start:]
    if start == 0 and not body.lstrip().startswith("{"):
        return None
    before = re.sub(r"\n?[`~]{3,}\w*\s*$", "", before.rstrip())
    lines = read_lines(own_words(plain_letters(before), names.quoted), names)
    if lines and (lines[-1].hidden or not announces(lines[-1].sentences[-1].words, lines[-1].sentences[-1].end)):
        return None
    values = [value for key, value in object_of(body) if _KEYS.fullmatch(key.strip())]
    verdicts = {names.marked(str(value), 0, len(str(value))) for value in values if isinstance(value, (str, int))}
    said = {verdict[0] for verdict in verdicts if verdict}
    if len(said) != 1 or None in verdicts:
        return None
    verdict = said.pop()
    for key in re.finditer(r"[\"']([^\"']{1,60})[\"']\s*:\s*(?P<value>\"[^\"]*\"|'[^']*'|[^\s\",}]+)", body):
        place = names.marked(body, *key.span("value")) if _KEYS.fullmatch(key[1].strip()) else None
        if place:
            return verdict, start + place[1]
    return verdict, start


# Lines ----------------------------------------------------------------------------------------------------------------


class _Said(NamedTuple):
    """A decision and where it stands: in the text, and in which line."""

    verdict: int
    place: int
    line: int


def _from_lines(text: str, lines: list[Line]) -> tuple[int, int] | None:
    """The decision that a text's lines come to."""
    reader = _Reader(text)
    count, skipped = 0, len(lines)
    while skipped and count < _MOST:
        skipped -= 1
        count += len(lines[skipped].sentences)
    reader.skip(skipped)
    for line in lines[skipped:]:
        reader.read(line)
    said, bare = reader.last_sentence() or reader.said, reader.bare
    first = next((name for name in bare if name.line == 0), None)
    last = next((name for name in bare if name.line == len(lines) - 1), None)
    if first is not None and len(lines) > 1 and lines[1].listed and not lines[1].after_blank:
        before = text[text.rfind("\n", 0, first.place) + 1 : first.place]
        first = None if re.search(r"[^\W_]", before) else first  # "Response 1" over a list of its merits
    if len({name.verdict for name in bare}) > 1:
        # Headings, or two answers.
        first = last = None if first is None or said is None or said.verdict != first.verdict else said
    if last is not None:
        said = last
    elif first is not None:
        if said is None or said.verdict == first.verdict:
            said = first
        elif said.verdict not in (TIE, _NONE, _CLASH) and not reader.revised:
            return None
    if said is None or (said.verdict == _NONE and reader.retracted):
        found = lean(reader.own, reader.retracted)
        if found is not None:
            return None if reader.turned(found[1]) else found
        return None
    return said.verdict, said.place


_MOST = 900  # sentences that are read, from the end: the time is bounded
_EXAMPLE = re.compile(r"(?:^| )(?:e g|eg|for example|for instance) $")
_NOT_BEST_FIRST = re.compile(r"[§¤¢][01] |\bworst (?:to|first) ")
_UPDATE = re.compile(r"(?:update|edit|correction|amendment) ")
_OF_A_CHOICE = re.compile(r"\b(?:better|best|winner|wins|prefer|verdict|choose|pick|which|honestly|choice|decision) ")
_CROSS = re.compile(r"[❌✗✘✖👎🚫⛔🗙]|^\s*(?:[-*] )?(?:\[ ?\]|\( ?\)|[☐○⬜!¬≠~])")
_TURNING = re.compile(r"(?:but |oh |hmm |no |, )*(?:wait|hold on|actually|scratch|on second|on reflection|sorry) ")
# A list that counts, behind which "2." is its next item, and what a number alone may be of.
_ITEMS = re.compile(r"(?:^|[\n.!?:;]\s{0,3}|\*)[(]?1[.)]\**\s+\S")
_UNITS = re.compile(
    r"(?:^|\b)(?:score|rating|points?|grade|rank|e g|eg|no|nr|vs|step|page|item|points (?:\S+ )?and|figure|table|"
    r"line) $"
)


class _Reader:
    """Reads line by line, and keeps what was said last.

    Attributes:
        said: the last decision in words.
        revised: it says that it revises an earlier one.
        bare: the lines that are a name and nothing more.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.said: _Said | None = None
        self.revised = False
        self.bare: list[_Said] = []
        self._line = -1
        self._topic = False  # the last words were "my verdict:" or the like, and a name that follows is one
        self._lead = False  # no more than "therefore,"
        self._unfinished = False  # the line before ends in a colon, and a number that follows may be anything
        self._aspect = False  # a heading of one aspect stands over this
        self._under: set[int] = set()  # the line before was the heading of these
        self._label: int | None = None  # the last line was a name and a colon
        self._told: set[int] = set()  # in this paragraph somebody else is said to decide for these
        self._labelled: set[int] = set()  # in this paragraph something is said of these behind a colon
        self._told_on: set[int] = set()  # the same for the rest of the text
        self._quoting = ""  # "next": a paragraph that is told of begins, "now": this is one
        self._teller: set[int] = set()
        self._listed = True
        self._named: set[int] = set()  # in it
        self._before = ""  # the sentence before
        self.own: list[Own] = []  # the sentences that are read, since the last that takes all back
        self.retracted = False
        self._turning = False  # the sentence before is a change of mind
        self._asked = False  # the sentence before is a question
        self._ended = ""
        self.closing: _Said | None = None  # the last sentence is a name and nothing more

    def skip(self, lines: int) -> None:
        """Leaves out the first lines."""
        self._line += lines

    def read(self, line: Line) -> None:
        """Takes the next line."""
        self._line += 1
        if line.after_blank:
            self._told, self._labelled = self._under, set(self._under)
            if self._quoting == "now":
                self._end_quotation()
        self._under = set()
        if self._quoting:
            if line.hidden and self._quoting == "next":
                self._quoting = ""
            elif not line.hidden:
                self._quoting = "now"
                self._listed = self._listed and line.listed
                return
        if line.hidden:
            return
        if line.table:
            self._row(line)
            return
        if self._heading(line):
            return
        for i, sentence in enumerate(line.sentences):
            if _EXAMPLE.search(self._before):
                self._before, self.closing = sentence.words, None
                continue
            self._sentence(sentence, line, i)
            self.own.append(Own(sentence, frozenset(self._told | self._told_on), self._aspect))
        last = line.sentences[-1]
        self._unfinished = last.end.endswith(":") and not self._topic
        if self._unfinished and is_name(last.words):
            self._told = self._under = names_in(last.words)
        if introduces(last.words, last.end, line.title) and (last.end or not line.listed):
            self._quoting, self._listed = "next", True
            self._teller = names_in(last.words) or {0, 1}

    def _end_quotation(self) -> None:
        self._quoting = ""
        if not self._listed:
            self._told_on |= self._teller

    def _heading(self, line: Line) -> bool:
        """Whether the line is a heading of the responses or of an aspect, or a name alone, and notes it."""
        if len(line.sentences) != 1:
            return False
        sentence = line.sentences[0]
        words = sentence.words
        if len(sentence.clauses) == 1 and (name := is_name(words)) and "?" not in sentence.end:
            clause = sentence.clauses[0]
            found = _Said(int(name["name"][1]), clause.places[0], self._line)
            if self._topic or self._after_arrow(found.place):
                self._note(found, words)
            elif sentence.end.endswith(":") or line.title:
                both, self._label = self._label == 1 - found.verdict and not line.after_blank, found.verdict
                self._told = self._under = set() if both else {found.verdict}
                self._aspect = False
                return True
            elif line.listed and (number := self._number_of(found.place)):
                if number == "1" and "rank" in self._before and not _NOT_BEST_FIRST.search(self._before):
                    self._note(found, words)
            elif "¢" in words:
                self._note(found, words)
            elif (
                sentence.end[:1] in ("", ".", "!", ")")
                and not self._crossed(found.place)
                and not self._unfinished
                and found.verdict not in self._told | self._told_on
            ):
                self.bare.append(found)
            self._topic = self._unfinished = False
            return True
        if names_in(words) or decided(words):
            return False
        heading = line.title or line.bold or sentence.end.endswith(":")
        if heading and len(words.split()) <= 7 and not reports(words):
            self._aspect = not heading_role(words)
        return False

    def _crossed(self, place: int) -> bool:
        """Whether the line of `place` is marked as no choice: "❌ 1", "[ ] 1", "not 1" by a sign."""
        end = self._text.find("\n", place)
        line = self._text[self._text.rfind("\n", 0, place) + 1 : end if end >= 0 else len(self._text)]
        return _CROSS.search(line) is not None

    def _number_of(self, place: int) -> str | None:
        """The number of the list's item in which `place` is."""
        match = re.match(r"\s*[*_]*(\d+)[.)]\s", self._text[self._text.rfind("\n", 0, place) + 1 : place])
        return match[1] if match else None

    def _after_arrow(self, place: int) -> bool:
        line = self._text[self._text.rfind("\n", 0, place) + 1 : place]
        return re.match(r"[\s*_]*(?:[-=]+>|[→⇒➜⟶➡])", line) is not None

    def _row(self, line: Line) -> None:
        """A row of a table is a verdict if it says what it is, and names one response: "| Winner | Response 2 |"."""
        clauses = [clause for sentence in line.sentences for clause in sentence.clauses]
        names = [name for clause in clauses[1:] if (name := is_name(clause.words))]
        said = len(clauses) >= 2 and len(names) == len(clauses) - 1 and len({name["name"][1] for name in names}) == 1
        if said and heading_role(clauses[0].words) and not names_in(clauses[0].words):
            self._note(_Said(int(names[0]["name"][1]), clauses[1].places[0], self._line), "")

    def _note(self, found: _Said, words: str) -> None:
        if self.turned(found.place):
            return
        if found.verdict in self._told | self._told_on:
            if revises(words) and any(said.verdict != found.verdict for said in [*self.bare, self.said] if said):
                # A change of mind, or somebody else's words: no earlier one can be trusted.
                self.bare, self.said = [], found._replace(verdict=_NONE)
            return
        clash = self.said is not None and self.said.verdict in (_CLASH, 1 - found.verdict) and found.verdict != TIE
        if clash and not turns(words) and not self._turning:
            found = found._replace(verdict=_CLASH)
        self.said = found
        self._turning = False
        self.revised = revises(words)

    def turned(self, place: int) -> bool:
        """Whether "the former" in `place` may be Response 2, which was named first."""
        if self._text[place : place + 6].lower() not in ("former", "latter"):
            return False
        near = re.findall(r"(?i)\b(?:1|2|a|b|first|second|one|two)\b", self._text[max(0, place - 300) : place])
        ranks = [0 if name.lower() in ("1", "a", "first", "one") else 1 for name in near if name not in ("a", "one")]
        return len(ranks) > 1 and ranks[-2:] == [1, 0]

    def _sentence(self, sentence: Sentence, line: Line, index: int) -> None:
        """Takes a sentence."""
        words, before = sentence.words, self._before
        self._named = names_in(before)
        self._before = words
        self._asked, self._ended = "?" in self._ended, sentence.end
        self._turning = self._turning or retracts(before) or _TURNING.match(before) is not None
        self.closing = None
        if self.said is not None and disowns(words):
            self.said = None
        if self.bare and disowns(words):
            self.bare = [name for name in self.bare if name.line < self._line - 2]
        found = self._decision(sentence)
        if (
            found is None
            and self.said is not None
            and _UPDATE.match(words)
            and names_in(words) == {1 - self.said.verdict}
        ):
            found = self.said._replace(verdict=_NONE)
        if found is None and retracts(words):
            self.bare, self.own, self.retracted = [], [], True
            self.said = None if self.said is None else _Said(_NONE, self.said.place, self._line)
        if found is None and (self.said or self.bare) and revises(words) and names_in(words):
            changed = lean([Own(sentence, frozenset(self._told | self._told_on), False)], True)
            if changed is not None:
                found = _Said(*changed, self._line)
                self.bare = [name for name in self.bare if name.verdict == found.verdict]
        if found is None and self._line == 0 and index == 0:
            found = self._begins_with_a_name(sentence, line)
        if found is None and "?" not in sentence.end and len(sentence.clauses) == 1 and (name := is_name(words)):
            clause = sentence.clauses[0]
            named = _Said(int(name["name"][1]), clause.places[0], self._line)
            if words.endswith("is ") and denies(before) and names_in(before) == {1 - named.verdict}:
                found = named
            elif index and sentence.end in ("", ".", "!") and not line.listed:
                self._closing(named, words, before)
        if found is not None:
            self._note(found, words)
        elif gives_up(words) and self.bare:
            self.bare, self.own, self.retracted = [], [], True
        elif self.said is not None and (
            gives_up(words) or (self.said.verdict == TIE and contrasts(words) and names_in(words))
        ):
            self.said = _Said(_NONE, self.said.place, self._line)

    def _closing(self, named: _Said, words: str, before: str) -> None:
        """A name alone that may be the last sentence; "2." may also be the next item of a list."""
        digit = words.startswith("¤") and self._text[named.place : named.place + 1].isdigit()
        if (
            not (digit and (_UNITS.search(before) or (self._asked and not _OF_A_CHOICE.search(before))))
            and before.count(" ") > 0
            and named.verdict not in self._told | self._told_on
        ):
            self.closing = named

    def last_sentence(self) -> _Said | None:
        """The name that is the last sentence, unless it may be the next number of a list."""
        if self.closing is None:
            return None
        digit = self._text[self.closing.place : self.closing.place + 1].isdigit()
        return None if digit and _ITEMS.search(self._text, 0, self.closing.place) else self.closing

    def _begins_with_a_name(self, sentence: Sentence, line: Line) -> _Said | None:
        """ "2, because ...", "Response 2 (it is shorter)", "Response 2. It is ..."."""
        first, *rest = sentence.clauses
        name = is_name(re.sub(r"(?<=^[§¤¢][01] )(?:because|since|as (?:it|the)) .*", "", first.words))
        if name is None or line.title or line.listed or sentence.end.endswith(("?", ":")):
            return None
        reasons = (
            all(clause.aside for clause in rest)
            or (rest[0].before in ",-;" and is_confidence(rest[0].words))
            or (
                rest[0].before in ",-;"
                and re.match(r"(?:because|since|as|it|for|this|that|given|due|not) ", rest[0].words)
            )
        )
        behind = sentence.words[len(name[0]) :] if rest else first.words[len(name[0]) :]
        if (
            not reasons
            or blames(behind)
            or disowns("".join(clause.words for clause in rest))
            or (not rest and first.words.startswith("¤") and first.words.count(" ") == 1)
        ):
            return None
        return _Said(int(name["name"][1]), first.places[0], self._line)

    def _decision(self, sentence: Sentence) -> _Said | None:
        """What a sentence decides, with what stands around its clauses."""
        found: _Said | None = None
        impression = False  # what is found is one
        limited = False  # what is said is of one aspect, or somebody's opinion
        teller: set[int] = set()  # it is what these say
        actor: str | None = None  # the response that the sentence is about
        question, quotes = "?" in sentence.end, "¶" in sentence.words
        clauses = sentence.clauses
        for i, clause in enumerate(clauses):
            sign = clauses[i + 1].before if i + 1 < len(clauses) else sentence.end
            words = clause.words
            topic, self._topic = self._topic, False
            if clause.aside:
                self._topic = topic
                if undoes(words, aside=True):
                    found, self._topic = None, False
                continue
            said = self._said_in(clause, sign, topic, actor)
            if names_in(words):
                actor = subject(words) if not any(names_in(other.words) for other in clauses[:i]) else None
            if (
                said is not None
                and said.verdict == TIE
                and not topic
                and clause.before in (":", "-")
                and is_fragment(words)
            ):
                said = None  # "Safety: equal"
            if said is not None and not question:
                if role(words, sign) is Role.RESUMES:
                    limited, teller = False, set()
                aspect = self._aspect and not topic and not concludes(words)
                if not limited and not teller and not aspect:
                    found, impression = said, seems(words)
                continue
            if found is not None and _takes_back(clause, found, impression):
                found = None
            part = role(words, sign)
            if part is Role.TOPIC or is_conclusive(words) or (part is Role.LEAD and sign in (":", "-", "→")):
                self._topic = True
                self._lead = part is not Role.TOPIC and sign == ","
            elif part is Role.LIMITS:
                limited = True
            elif part is Role.REPORT:
                teller |= names_in(words) or {0, 1}
            elif part is Role.RESUMES:
                limited, teller = False, set()
            if i and re.match(r"as (?:the )?[§¤][01] \w+ $", words) and found is None:
                continue  # "it is in Ontario, as Response 1 says"
            self._hear(words, topic, speech=sign == ":" and i + 1 < len(clauses) and not quotes)
        return found

    def _said_in(self, clause: Clause, sign: str, topic: bool, actor: str | None) -> _Said | None:
        """What a clause decides; `topic`: the one before was "my verdict", `actor`: it has this subject if none."""
        words = clause.words
        if verdict := decided(words):
            place = clause.start if verdict[1] < 0 else clause.places[verdict[1]]
            return _Said(verdict[0], place, self._line)
        if actor is not None and (whole := elided(words, actor)) and (verdict := decided(whole)):
            return _Said(verdict[0], clause.start, self._line)
        if topic and not self._lead and is_neither(words):
            return _Said(TIE, clause.start, self._line)
        # "Therefore, Response 2" without a full stop was cut off: it may go on with "is worse".
        ended = sign[:1] in (".", "!", ";", ")") or not self._lead
        alone = (topic and ended) or "¢" in words or (says_so(words) and sign[:1] in (".", "!", ";"))
        if alone and (name := is_name(words)):
            return _Said(int(name["name"][1]), clause.places[0], self._line)
        return None

    def _hear(self, words: str, topic: bool, speech: bool) -> None:
        """Notes for whom a clause says that others decide; `speech`: their words follow, not in quotation marks."""
        names = names_in(words)
        if speech and not topic and is_name(words):
            self._labelled |= names
            self._told = self._told | names if self._labelled != {0, 1} else set()
        if speech and (speaks(words) or quotes_a_part(words)) and not retracts(words):
            self._told_on |= names or {0, 1}
        if forges(words):
            self._told |= names or (self._named if sets_aside(words) else set()) or {0, 1}


def _takes_back(clause: Clause, found: _Said, impression: bool) -> bool:
    """Whether a clause behind a decision takes it back."""
    words = clause.words
    if undoes(words, aside=False) or (clause.before == "←" and reports(words)):
        return True
    if contrasts(words) and (impression or found.verdict == TIE):
        return True
    if found.verdict == TIE and is_fragment(words):
        return True
    name = is_name(words)
    return name is not None and clause.before in (",", "→") and int(name["name"][1]) != found.verdict
