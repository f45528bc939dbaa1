"""Rows to learn to write from: a prompt and its completion, a conversation, or a plain text.

What is learned of a row, by the first of these that it has (an answer in a column further down that says something else
is not learned, and a run says so):

    1. `completion`: that alone, after the row's prompt
    2. `messages`, `conversations` or `conversation`: every turn of the assistant's, each after all that comes before
       it; not one that has `weight` 0, or `train`, `training` or `loss` false. What the user says last is answered by
       nobody, and nothing is learned of it
    3. `output`, `response`, `solution` (of a `problem`) or `answer`: that alone, after the row's prompt (`instruction`
       and `input`, say)
    4. `text`: the whole text, after nothing; it is refused beside a prompt, a system turn or a speaker's role

Where a prompt and its system turn come from says `rlaif.files.conversations`. A `text` is a text: one that holds a
tokenizer's control tokens is a conversation in somebody's markup, and is refused. A row whose `label` is false is one
of KTO's that is not to be written: it is left out, and counted. A column with the thoughts before an answer
(`reasoning`) is refused, as they would be learned away; one that says on or off is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import SYSTEM, TURNS, check_meaning, messages, prompt_columns, responses_of, whole_of
from rlaif.files.preferences import load_preferences
from rlaif.files.shapes import usual
from rlaif.files.sources import OneKind
from rlaif.files.splits import rows_of_usual_split
from rlaif.records import Prompt, check_text, says_nothing

__all__ = ["UNDESIRED", "answer_column", "answers_beside", "demonstrations_of", "load_demonstrations"]

UNDESIRED = "label is false"  # what a ledger calls KTO's rows that are not to be written
_ANSWERS = ("output", "response", "solution", "answer")
_SIDES = ("response_a", "response_b", "chosen", "rejected")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_SWITCHES = ("on", "off", "true", "false", "yes", "no")  # whether there are thoughts, not what they are


def load_demonstrations(
    source: str,
    split: str | None,
    config_name: str | None = None,
    bad: BadRows | None = None,
    left_out: Counter[str] | None = None,
    check_plain: Callable[[str], None] | None = None,
    places: list[str] | None = None,
) -> Any:
    """Demonstrations as a `datasets.Dataset` of `prompt` (null for a plain text) and `completion`.

    Args:
        source, split, config_name: as `load_preferences` takes them; also a preference dataset, of which the chosen
            responses are learned.
        bad: takes the rows that are none; without it the first one is a ValueError.
        left_out: is filled with the rows that are not given, by their reason.
        check_plain: raises a ValueError for a plain text that cannot be learned as such.
        places: is filled with where each of the demonstrations that are given stands.
    """
    import datasets

    bad = BadRows() if bad is None else bad
    rows = rows_of_usual_split(source, split, config_name, bad)
    first = next(rows, None)
    if first is not None and "chosen" in first[1] and "completion" not in first[1]:
        chosen = load_preferences(source, split or "train", config_name, bad, left_out, places)
        return chosen.rename_column("chosen", "completion").select_columns(["prompt", "completion"])
    kind, plain, counts = OneKind(), "", Counter[str]()
    found: list[dict[str, Any]] = []
    stands: list[str] = []
    for where, row in chain([] if first is None else [first], rows):
        with bad.at(where):
            of_row = list(demonstrations_of(row))
            if _is_undesired(row):
                counts[UNDESIRED] += 1
                continue
            for prompt, completion in of_row:
                other = plain if prompt is not None else kind.first and kind.first[1]
                if other:
                    raise ValueError(
                        f"the row {'is a plain text' if prompt is None else 'has a prompt'}, and the one at {other} "
                        f"{'has a prompt' if prompt is None else 'is a plain text'}; expected one kind in a file."
                    )
                if prompt is not None:
                    kind.check(prompt, where, row)
                elif check_plain is not None:
                    check_plain(completion)
                plain = plain or (where if prompt is None else "")
            if others := answers_beside(row, [completion for _, completion in of_row]):
                bad.unread.add(
                    f"{source} has rows with {answer_column(row) or 'text'} and {others}, which is not learned."
                )
            found += [{"prompt": prompt, "completion": completion} for prompt, completion in of_row]
            stands += [where] * len(of_row)
    if left_out is not None:
        left_out.update(counts)
    if places is not None:
        places += stands
    if counts:
        warn(f"{source}: left out {counts[UNDESIRED]} rows whose label is false, which are not to be written.")
    if not found:
        why = f" {len(bad.rows)} are left out; the first: {bad.first}" if bad.rows else ""
        raise ValueError(f"{source} has no {'usable ' if why or counts else ''}rows; expected at least one.{why}")
    return datasets.Dataset.from_list(found)


def demonstrations_of(row: Mapping[str, Any]) -> Iterator[tuple[Prompt | None, str]]:
    """The prompts and completions of a row; None for the prompt of a plain text.

    Raises:
        ValueError: the row has nothing to learn, or a column that would not be learned.
    """
    row = usual(row)
    for name in _THOUGHTS:
        if not says_nothing(row.get(name)) and str(row[name]).strip().lower() not in _SWITCHES:
            raise ValueError(
                f"the row has {name} ({shown(row[name])}), which would not be learned; expected it within the answer. "
                "Write it there as the model is to write it, or rename or remove the column."
            )
    answer = answer_column(row)
    if answer is not None:
        yield from _every_turn(row, answer) if answer in TURNS else [_single(row, answer)]
    elif row.get("text") is not None:
        check_meaning(row)
        beside = dict.fromkeys((*prompt_columns(row), "instruction", "context", *SYSTEM, "role", "parent_id"))
        said = [name for name in beside if not says_nothing(row.get(name))]
        if said:
            raise ValueError(
                f"the row has a text and {', '.join(said)}, and whether the text is an answer, or holds all of it, "
                "nobody says; expected prompt and completion, messages, or a text alone. Rename or remove columns."
            )
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise ValueError(f"text is {shown(row['text'])}; expected text. Fill it in or remove the row.")
        yield None, check_text(row["text"], "text")
    else:
        raise ValueError(
            "the row has no 'completion', and nothing to learn; expected prompt and completion, messages, "
            f"conversations, instruction and output, or text, got {', '.join(row)}."
        )


def answer_column(row: Mapping[str, Any]) -> str | None:
    """The column of the one response that a row has, by 1 to 3 above; None where it has none."""
    names = (*TURNS, *(name for name in _ANSWERS if name != "solution" or row.get("problem") is not None))
    return "completion" if "completion" in row else next((name for name in names if row.get(name) is not None), None)


def answers_beside(row: Mapping[str, Any], answers: Iterable[str], used: Collection[str] = ()) -> str:
    """The columns of answers that a row has beside the one that is taken, and that say something else; "" for none.

    Args:
        row: the row.
        answers: what is taken of it. A column whose text stands within one of them (a short form of it) is none.
        used: the columns that it was taken from.
    """
    taken = list(answers)
    names = (*_SIDES, "completion", *(name for name in _ANSWERS if name != "solution"))
    others = {name: _last_text(row.get(name)) for name in names if name not in used}
    return " and ".join(
        name for name, text in others.items() if text.strip() and not any(text.strip() in answer for answer in taken)
    )


def _last_text(value: Any) -> str:
    """The text of a response, also of one that is messages; "" for anything else."""
    last = value[-1] if isinstance(value, list) and value else value
    content = last.get("content", last.get("value")) if isinstance(last, Mapping) else last
    return content if isinstance(content, str) else ""


def _is_undesired(row: Mapping[str, Any]) -> bool:
    """Whether a row's label says that its completion is not to be written. A label that is no yes or no is another
    column's; one that may be either is a ValueError."""
    label = row.get("label")
    if answer_column(row) is None and not isinstance(label, bool):
        return False  # a plain text's class
    word = label.strip().lower() if isinstance(label, str) else label
    if not isinstance(word, bool) and isinstance(word, str | int | float) and word in _YES_OR_NO:
        raise ValueError(
            f"label is {shown(label)}; expected true or false, whether the completion is to be learned. Rename a "
            "column that says something else."
        )
    return word is False


_YES_OR_NO = (
    0,
    1,
    "0",
    "1",
    "true",
    "false",
    "yes",
    "no",
    "good",
    "bad",
    "chosen",
    "rejected",
    "desirable",
    "undesirable",
)


def _single(row: Mapping[str, Any], name: str) -> tuple[Prompt, str]:
    prompt, (text,) = responses_of(row, (name,))
    if not text.strip():
        raise ValueError(f"{name} is empty; expected text. Fill it in or remove the row.")
    return prompt, text


_MARKS = ("weight", "train", "training", "loss")


def _is_learned(turn: Mapping[str, Any], name: str) -> bool:
    """Whether a turn of the assistant's is to be learned, by the marks of those who write such data."""
    for mark in _MARKS:
        value = turn.get(mark)
        if value is not None and (isinstance(value, str) or value not in (0, 1)):
            raise ValueError(
                f"{name} holds a turn with {mark} {shown(value)}; expected 1 or 0, whether it is learned, or null."
            )
    return all(turn.get(mark) is None or bool(turn[mark]) for mark in _MARKS)


def _every_turn(row: Mapping[str, Any], name: str) -> Iterator[tuple[Prompt, str]]:
    """The assistant's turns of a conversation, each with what comes before it."""
    written = [row[name]] if isinstance(row[name], Mapping) else row[name]
    answered = [at for at, turn in enumerate(messages(written, name)) if turn["role"] == "assistant"]
    written = written[: answered[-1] + 1] if answered else written
    if not answered:
        raise ValueError(f"{name} holds no turn of the assistant's to learn; expected one, after another turn.")
    whole = whole_of({**row, name: written}, name)
    added = len(whole) - len(written)  # a system turn of a column, in front
    learned = 0
    for at, turn in enumerate(whole):
        if turn["role"] != "assistant" or not at or (at >= added and not _is_learned(written[at - added], name)):
            continue
        if not turn["content"].strip():
            raise ValueError(f"{name} holds an empty turn of the assistant's; expected text. Remove the row.")
        learned += 1
        yield whole[:at], turn["content"]
    if not learned:
        raise ValueError(f"{name} holds no turn of the assistant's to learn; expected one, after another turn.")
