"""What a row says is read alike by every program: its prompt, its responses, its system turn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import write_rows
from support.files import read_pairs, read_prompts

from rlaif.commands.convert import ConvertConfig, convert
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import other_columns, prompt_columns, prompt_of, responses_of, sides_of
from rlaif.files.demonstrations import UNDESIRED, demonstrations_of, load_demonstrations
from rlaif.files.pairs import judgment_of, pair_of
from rlaif.files.preferences import load_preferences
from rlaif.files.sources import placed_prompt_rows, read_judgments
from rlaif.records import BEYOND_TEXT, Message


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


SYSTEM, USER, ANSWER = said("system", "Be kind."), said("user", "Send a knife."), said("assistant", "Here it is.")
MORE, GOOD, BAD = said("user", "Now cheese."), said("assistant", "Here is cheese."), said("assistant", "No.")
TALK, HI = [USER, ANSWER, MORE], said("user", "Hi")
# What tables leave where there is nothing.
NOTHINGS: list[Any] = [
    *(
        "None",
        "nan",
        "[ ]",
        "{}",
        "N/A",
        " ",
        0,
        False,
        [None],
        [{}],
        [""],
        {"name": []},
        {"name": None},
        [{"a": [None]}],
    )
]
SHAREGPT = [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": ANSWER["content"]}]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "Hi"}, "Hi"),
        ({"prompt": [USER]}, [USER]),
        ({"prompt": USER}, [USER]),
        (
            {"prompt": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}]},
            [said("user", "ab")],
        ),
        ({"prompt": "Now cheese.", "messages": [MORE], "instruction": "cheese"}, [MORE]),
        ({"messages": [*TALK, GOOD], "instruction": "Send a  knife."}, TALK),
        ({"messages": TALK}, TALK),
        ({"conversations": [*SHAREGPT, {"from": "human", "value": MORE["content"]}]}, TALK),
        ({"conversations": [{"from": "system", "value": "Be kind."}, *SHAREGPT]}, [SYSTEM, USER]),
        ({"instruction": "Sum", "input": "1 2"}, "Sum\n\n1 2"),
        ({"instruction": "Sum", "input": ""}, "Sum"),
        ({"instruction": "", "input": "1 2"}, "1 2"),
        ({"instruction": "Sum", "context": "A text.", "output": "x"}, "Sum\n\nA text."),
        ({"prompt": f"\n\nHuman: {USER['content']}\n\nAssistant: {ANSWER['content']}\n\nHuman: Now cheese."}, TALK),
        ({"question": "Why?"}, "Why?"),
        ({"input": "Why?"}, "Why?"),
        ({"prompt": "Hi", "system": "Be kind."}, [SYSTEM, said("user", "Hi")]),
        ({"prompt": "Hi", "system": ""}, [said("user", "Hi")]),
        ({"prompt": "Hi", "system": None}, [said("user", "Hi")]),
        ({"prompt": "Hi", "system": None, "system_prompt": "Be kind."}, [SYSTEM, said("user", "Hi")]),
        ({"prompt": TALK, "system": "Be kind."}, [SYSTEM, *TALK]),
        ({"prompt": [SYSTEM, USER], "system": "Be kind. "}, [SYSTEM, USER]),
        ({"prompt": [SYSTEM, USER], "system": ""}, [SYSTEM, USER]),
        ({"prompt": "Hi", "tools": [], "images": None, "functions": "[]"}, "Hi"),
        *(({"prompt": "Hi", "tools": nothing}, "Hi") for nothing in NOTHINGS),
        ({"prompt": [{"role": "Human", "content": "Hi"}]}, [said("user", "Hi")]),
        ({"prompt": [{"role": " SYSTEM", "content": "Be kind."}, {"from": "User", "value": "Hi"}]}, [SYSTEM, HI]),
        ({"messages": [HI, {"role": "gpt", "content": "Ho"}, {"role": "human", "content": "Now cheese."}]}, 3),
        # A text prompt beside messages is one of their user turns, and they are the prompt.
        ({"prompt": USER["content"], "messages": [SYSTEM, USER, ANSWER]}, [SYSTEM, USER]),
        ({"prompt": USER["content"], "messages": [*TALK, GOOD]}, TALK),
        ({"prompt": "Hi", "conversation": "chat 7"}, "Hi"),
        ({"prompt": "Hi", "messages": None}, [HI]),  # as where there are some, and with a system column
        # What is written beside the prompt stands in it, or is no text.
        ({"prompt": "Sum 1 2", "input": " 1  2", "context": {"page": 7}}, "Sum 1 2"),
        ({"prompt": "Hi", "input": "", "context": None, "history": []}, "Hi"),
        ({"prompt": "Hi", "history": "A text of history."}, "Hi"),
        # hh-rlhf's transcripts; what is no transcript as a whole is a text.
        ({"prompt": "\n\nHuman: Send a knife.\n\nAssistant: Here it is.\n\nHuman: Now cheese.\n\nAssistant:"}, TALK),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant: \n"}, [HI]),
        ({"prompt": "Human: Hi\n\nAssistant:"}, [HI]),
        ({"prompt": "Human: or machine?"}, "Human: or machine?"),
        ({"prompt": "As a play.\n\nHuman: Hi\n\nAssistant:"}, "As a play.\n\nHuman: Hi\n\nAssistant:"),
        ({"prompt": "[1, 'a']"}, "[1, 'a']"),
        ({"prompt": 'Explain {"role": "user"}'}, 'Explain {"role": "user"}'),
    ],
)
def test_the_prompt_of_a_row(row: dict[str, Any], prompt: Any) -> None:
    found = prompt_of(row)
    assert (len(found) if isinstance(prompt, int) else found) == prompt


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "the row has no 'prompt'; expected prompt, messages"),
        ({"prompt": None}, "prompt is null"),
        ({"prompt": 5}, "prompt is 5; expected text or a list of messages"),
        ({"prompt": "Hi", "system": 5}, "system is 5; expected the text of the system turn"),
        (
            {"prompt": [SYSTEM, USER], "system": "Be rude."},
            "the system turn is 'Be rude.' in its column and 'Be kind.'",
        ),
        ({"prompt": "Hi", "system": "a", "system_prompt": "b"}, "two system turns, in system and system_prompt"),
        ({"messages": [GOOD]}, "messages holds no turn but the assistant's"),
        (
            {"conversations": [{"from": "observation", "value": "x"}]},
            r"conversations\[0\].from is 'observation'; expected human, gpt",
        ),
        ({"prompt": [{**USER, "tool_calls": [{"id": 1}]}]}, "a message with tool_calls, which its text does not say"),
        ({"prompt": [{"role": "user", "content": None}]}, r"prompt\[0\].content is null"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, r"a part that is no text \(image\)"),
        ({"prompt": [{"role": "user", "content": [{"text": "a", "image": "x.png"}]}]}, r"that is no text \(image\)"),
        ({"instruction": "Sum", "input": [1, 2]}, r"input is \[1, 2\]; expected text"),
        *(
            ({"prompt": "Hi", "history": turns}, "history is .*, turns before the prompt")
            for turns in ([["a", "b"]], [USER], "[['a', 'b']]", '[["a", "b"]]')
        ),
        ({"prompt": [said("critic", "Hi")]}, r"prompt\[0\].role is 'critic'; expected system, user or assistant"),
        ({"prompt": [USER, ANSWER]}, "prompt ends with the assistant's turn"),
        ({"prompt": "Hi", "messages": [*TALK, GOOD]}, "prompt is 'Hi', which messages, a whole conversation, does not"),
        (
            {"prompt": "Summarize:", "input": "A text."},
            "the row has input .'A text.'. beside its prompt, which does not",
        ),
        *(
            ({"prompt": [USER], name: value}, f"the row has {name} .* beside its prompt, which does not")
            for name in ("context", "input", "Question", "instruction", "chat_history", "dialog")
            for value in (["one", "two"], [said("user", "one"), ANSWER], {"text": "one"}, [["one", "two"]], "one")
            if not (isinstance(value, str) and name in ("chat_history", "dialog"))  # a name, a number
        ),
        ({"instruction": "Be brief.", "question": "Why?"}, "the row has question .* beside its prompt"),
        ({"messages": [USER], "conversations": [HI]}, "the row has conversations .* beside its prompt"),
        ({"messages": [*TALK, GOOD], "context": "A text."}, "the row has context .* beside its prompt"),
        *(
            ({"prompt": "Hi", name: "Be kind."}, f"the row has {name} .* a system turn by its name")
            for name in ("System", "sys_prompt", "system_instruction", "SYSTEM PROMPT")
        ),
        ({"prompt": "Hi", "Tools": [{"name": "f"}]}, "the row has Tools .* which text cannot carry"),
        *(
            ({name: text}, f"{name} holds messages written as one text")
            for name in ("prompt", "question", "instruction", "input")
            for text in (
                json.dumps([USER]),
                json.dumps(USER),
                str([USER]),
                f"[{USER}\n {ANSWER}]",  # as NumPy prints objects
                str([{"from": "human", "value": "it's"}]),
            )
        ),
        *(
            ({"prompt": f"{asked}{opened}"}, "prompt (begins with|ends in) .*the markup of a chat template")
            for asked, opened in (
                ("<|im_start|>user\nHi<|im_end|>", ""),
                ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>", ""),
                ("<｜User｜>Hi", "<｜Assistant｜>"),
                ("<|im_start|>user\nHi<|im_end|>\n", "<|im_start|>assistant\n"),
                ("<s>[INST] Hi", " [/INST]"),
                ("<start_of_turn>user\nHi<end_of_turn>\n", "<start_of_turn>model\n"),
                ("Hi<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
            )
        ),
        *(({"prompt": "Hi", name: ["x"]}, f"the row has {name} .*which text cannot carry") for name in BEYOND_TEXT),
    ],
)
def test_a_prompt_that_would_lose_something_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompt_of(row)


CHOSEN, REJECTED = [*TALK, GOOD], [*TALK, BAD]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "Hi", "chosen": GOOD["content"], "rejected": BAD["content"]}, "Hi"),
        ({"prompt": "Hi", "chosen": [GOOD], "rejected": [BAD]}, "Hi"),
        ({"prompt": "Hi", "chosen": GOOD, "rejected": BAD}, "Hi"),
        ({"prompt": TALK, "chosen": [GOOD], "rejected": [BAD]}, TALK),
        ({"chosen": CHOSEN, "rejected": REJECTED}, TALK),
        ({"prompt": TALK, "chosen": CHOSEN, "rejected": REJECTED}, TALK),
        ({"prompt": USER["content"], "chosen": CHOSEN, "rejected": REJECTED}, TALK),
        ({"prompt": " Now  cheese.\n", "chosen": CHOSEN, "rejected": REJECTED}, TALK),
        (
            {"prompt": "[INST] Send a knife. [/INST] Here it is. Now cheese.", "chosen": CHOSEN, "rejected": REJECTED},
            TALK,
        ),
        ({"prompt": [SYSTEM, *TALK], "chosen": CHOSEN, "rejected": REJECTED}, [SYSTEM, *TALK]),
        ({"prompt": TALK, "chosen": [SYSTEM, *CHOSEN], "rejected": [SYSTEM, *REJECTED]}, [SYSTEM, *TALK]),
        ({"system": "Be kind.", "prompt": USER["content"], "chosen": CHOSEN, "rejected": REJECTED}, [SYSTEM, *TALK]),
        ({"chosen": CHOSEN, "rejected": BAD["content"]}, TALK),
        (
            {
                "prompt": "\n\nHuman: Send a knife.\n\nAssistant: Here it is.\n\nHuman: Now cheese.\n\nAssistant:",
                "chosen": f" {GOOD['content']}",
                "rejected": BAD["content"],
            },
            TALK,
        ),
        ({"instruction": "Hi", "chosen": GOOD["content"], "rejected": BAD["content"]}, "Hi"),
    ],
)
def test_the_sides_of_a_row(row: dict[str, Any], prompt: Any) -> None:
    assert sides_of(row) == (prompt, GOOD["content"], BAD["content"])
    assert other_columns({**row, "note": 1, "score_chosen": 2}) == {"note": 1, "score_chosen": 2}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "Other", "chosen": CHOSEN, "rejected": REJECTED},
            "prompt is 'Other', which chosen, a whole convers",
        ),
        (
            {"prompt": "You are Bob. Send a knife.", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
            "does not begin with",
        ),
        (
            {"prompt": [USER], "chosen": CHOSEN, "rejected": REJECTED},
            "which chosen, a whole conversation, does not begin",
        ),
        (
            {"prompt": [said("system", "x"), *TALK], "chosen": [SYSTEM, *CHOSEN], "rejected": [SYSTEM, *REJECTED]},
            "begin",
        ),
        ({"chosen": CHOSEN, "rejected": [USER, BAD]}, "chosen and rejected begin with different conversations"),
        (
            {"chosen": CHOSEN, "rejected": REJECTED, "messages": [HI, ANSWER]},
            "messages is .*, which chosen, a whole conversation, does not begin with",
        ),
        ({"prompt": USER["content"], "chosen": "a", "rejected": "b", "messages": CHOSEN}, "does not begin with"),
        ({"prompt": USER["content"], "chosen": CHOSEN, "rejected": "b"}, "does not begin with"),  # an earlier turn
        ({"chosen": CHOSEN, "rejected": REJECTED, "context": "A text."}, "the row has context .* beside its prompt"),
        ({"prompt": [USER, ANSWER], "chosen": "a", "rejected": "b"}, "prompt ends with the assistant's turn"),
        ({"prompt": "Hi", "chosen": str([GOOD]), "rejected": str([BAD])}, "chosen and rejected hold messages written"),
        ({"prompt": "Hi", "chosen": json.dumps(GOOD), "rejected": json.dumps(BAD)}, "hold messages written"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "history": [["x", "y"]]}, "history is"),
        ({"chosen": TALK, "rejected": TALK}, "chosen ends with the role 'user'; expected an assistant turn"),
        ({"prompt": "Hi", "chosen": [], "rejected": [BAD]}, r"chosen is \[\]"),
        ({"prompt": "Hi", "chosen": "a", "rejected": [{**BAD, "content": "", "tool_calls": [1]}]}, "with tool_calls"),
    ],
)
def test_sides_that_contradict_their_prompt_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sides_of(row)


def test_every_program_reads_one_row_alike(tmp_path: Path) -> None:
    """Whole conversations beside a text prompt and a system column: as pairs, judgments, preferences and to score."""
    row = {"system": "Be kind.", "prompt": "Send a knife.", "id": 7, "topic": "tools"}
    wanted = [SYSTEM, *TALK]
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "response_a": CHOSEN, "response_b": REJECTED, "z": 0.75}])
    (pair,) = read_pairs(pairs)
    (judgment,) = read_judgments(pairs)
    assert (pair.prompt, pair.response_a, pair.response_b, pair.id) == (wanted, "Here is cheese.", "No.", "7")
    assert pair.extra == {"topic": "tools", "source_z": 0.75}
    assert (judgment.z, judgment.pair.prompt, judgment.pair.extra) == (0.75, wanted, {"topic": "tools"})
    preferences = write_rows(tmp_path / "preferences.jsonl", [{**row, "chosen": CHOSEN, "rejected": REJECTED}])
    assert load_preferences(preferences, "train")["prompt"] == [wanted]
    assert responses_of({**row, "response": CHOSEN}, ("response",)) == (wanted, ["Here is cheese."])
    assert list(demonstrations_of({**row, "completion": CHOSEN})) == [(wanted, "Here is cheese.")]
    prompts = write_rows(tmp_path / "prompts.jsonl", [{**row, "prompt": TALK}])
    assert read_prompts(prompts) == [wanted]
    assert [row for _, row in placed_prompt_rows(prompts)] == [{"prompt": wanted, "id": 7, "topic": "tools"}]
    assert prompt_columns({**row, "messages": []}) == ("prompt", "system")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"prompt": USER["content"], "completion": "Ho", "messages": [USER, ANSWER]}, [([USER], "Ho")]),
        ({"prompt": "Hi", "completion": [GOOD]}, [("Hi", GOOD["content"])]),
        ({"messages": CHOSEN}, [([USER], ANSWER["content"]), (TALK, GOOD["content"])]),
        ({"prompt": USER["content"], "messages": CHOSEN}, [([USER], ANSWER["content"]), (TALK, GOOD["content"])]),
        *(
            ({"messages": [USER, {**ANSWER, **mark}, MORE, {**GOOD, "weight": 1.0}]}, [(TALK, GOOD["content"])])
            for mark in ({"weight": 0}, {"train": False}, {"training": False}, {"loss": 0.0})
        ),
        ({"system": "Be kind.", "messages": [ANSWER, USER, {**BAD, "weight": 0}, MORE, GOOD]}, 2),
        ({"conversations": SHAREGPT, "system": "Be kind."}, [([SYSTEM, USER], ANSWER["content"])]),
        ({"instruction": "Sum", "input": "1 2", "output": "3", "text": "### Sum"}, [("Sum\n\n1 2", "3")]),
        ({"question": "Why?", "answer": "So."}, [("Why?", "So.")]),
        ({"prompt": "Hi", "response": "Ho"}, [("Hi", "Ho")]),
        ({"text": "Once upon a time."}, [(None, "Once upon a time.")]),
        # The user's last word is answered by nobody.
        ({"messages": [*TALK, GOOD, said("user", "Thanks!")]}, [([USER], ANSWER["content"]), (TALK, GOOD["content"])]),
        ({"messages": [SYSTEM, USER, ANSWER, MORE], "system": "Be kind."}, [([SYSTEM, USER], ANSWER["content"])]),
        ({"text": "Once.", "title": "A tale", "system": "", "prompt": None}, [(None, "Once.")]),
        ({"prompt": "Hi", "completion": "Ho", "label": True, "reasoning": None}, [("Hi", "Ho")]),
    ],
)
def test_what_is_learned_of_a_row(row: dict[str, Any], found: Any) -> None:
    learned = list(demonstrations_of(row))
    assert (len(learned) if isinstance(found, int) else learned) == found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Hi"}, "nothing to learn; expected prompt and completion, messages"),
        ({"prompt": "Hi", "completion": " "}, "completion is empty"),
        ({"prompt": "Hi", "completion": [said("assistant", "")]}, "completion is empty"),
        ({"prompt": "Hi", "completion": ["x"]}, r"completion\[0\] is 'x'; expected a message"),
        ({"prompt": "Hi", "completion": 7}, "completion is 7; expected text"),
        ({"prompt": "Hi", "completion": None}, "completion is null"),
        ({"prompt": "Hi", "completion": [GOOD, GOOD]}, "does not begin with"),
        ({"messages": [USER]}, "no turn of the assistant's to learn"),
        ({"messages": [GOOD]}, "no turn of the assistant's to learn"),
        ({"messages": [USER, {**GOOD, "weight": 0}]}, "no turn of the assistant's to learn"),
        ({"messages": [USER, {**GOOD, "weight": "0"}]}, "a turn with weight '0'; expected 1 or 0"),
        ({"messages": [USER, {**GOOD, "weight": 0.5}]}, "a turn with weight 0.5; expected 1 or 0"),
        ({"messages": [USER, said("assistant", ""), MORE, GOOD]}, "an empty turn of the assistant's"),
        ({"instruction": "Sum", "output": "3", "history": [["a", "b"]]}, "history is .*, turns before the prompt"),
        ({"text": ""}, "text is ''; expected text"),
        ({"text": "x", "tools": '[{"name": "f"}]'}, "the row has tools"),
        *(
            ({"text": "x", name: "y"}, f"the row has a text and {name}")
            for name in ("prompt", "instruction", "question", "input", "system", "role", "parent_id")
        ),
        *(
            ({"prompt": "Hi", "completion": "Ho", name: "So."}, f"the row has {name} .* which would not be learned")
            for name in ("reasoning_content", "reasoning", "thinking")
        ),
        *(
            ({"prompt": "Hi", "completion": "Ho", "label": label}, "label is .*; expected true or false")
            for label in (1, 0.0, "false", "Good")
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"rows.jsonl:1: .*{message}"):
        load_demonstrations(str(write_rows(tmp_path / "rows.jsonl", [row])), None)


def test_completions_that_are_not_to_be_written_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [True, False, None, 3, "joy", False]
    rows = [{"prompt": str(at), "completion": "Ho", "label": label} for at, label in enumerate(labels)]
    left_out: Counter[str] = Counter()
    source = str(write_rows(tmp_path / "rows.jsonl", rows))
    assert load_demonstrations(source, None, left_out=left_out)["prompt"] == ["0", "2", "3", "4"]
    assert left_out == {UNDESIRED: 2}
    assert "left out 2 rows whose label is false" in capsys.readouterr().err
    write_rows(tmp_path / "rows.jsonl", rows[1:2])
    with pytest.raises(ValueError, match="has no usable rows; expected at least one"):
        load_demonstrations(source, None)
    write_rows(tmp_path / "rows.jsonl", [{**rows[0], "label": 1}])
    with pytest.raises(ValueError, match="label is 1; expected true or false"):
        convert(ConvertConfig(source=source, output=str(tmp_path / "out.jsonl")))


def test_plain_texts_and_prompts_are_not_learned_together(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "rows.jsonl", [{"text": "Once."}, {"prompt": "Hi", "completion": "Ho"}, {"text": "On."}]
    )
    with pytest.raises(ValueError, match=r"rows.jsonl:2: the row has a prompt, and the one at .*rows.jsonl:1 is"):
        load_demonstrations(str(path), None)
    bad = BadRows("skip")
    assert load_demonstrations(str(path), None, bad=bad).to_list() == [
        {"prompt": None, "completion": "Once."},
        {"prompt": None, "completion": "On."},
    ]
    assert len(bad.rows) == 1


# Columns of a source that are called like ours.


def test_a_judgments_names_in_a_source_of_pairs_are_carried() -> None:
    row = {"prompt": "p", "response_a": "a", "response_b": "b"}
    foreign = {"z": "high", "judge": {"name": "x"}, "votes": [1, 2], "flags": "f", "reason": "longer", "template": 3}
    foreign |= {"p_tie": "no", "source_z": 0}
    pair = pair_of({**row, **foreign})
    kept = {f"source_{name}": value for name, value in foreign.items() if name not in ("z", "source_z")}
    assert pair.extra == {**kept, "source_z": 0, "source_source_z": "high"}
    ours = judgment_of({**row, "z": 0.5, "judge": "m", "votes": 2, "vote_keys": ["k"], "method_hash": "h"})
    assert pair_of(ours.row()).extra == {}  # judged again: what the first judge said is left behind
    assert judgment_of(ours.row()) == ours
    reasoned = judgment_of({**row, "z": 0.5, "reason": "longer", "topic": 1})
    assert (reasoned.reason, reasoned.pair.extra) == (None, {"topic": 1, "source_reason": "longer"})
    for name, value in foreign.items():
        if name not in ("reason", "source_z"):
            with pytest.raises(ValueError, match=f"^{name} is "):
                judgment_of({**row, "z": 0.5, name: value})


def test_whole_numbers_that_a_data_frame_made_floats(tmp_path: Path) -> None:
    row = {"prompt": "p", "response_a": "a", "response_b": "b"}
    assert [pair_of({**row, "id": value}).id for value in (0, 2.0, "x")] == ["0", "2", "x"]
    judgment = judgment_of({**row, "z": 0.5, "votes": 2.0, "readable": 1.0, "reading_version": 3.0})
    assert (judgment.votes, judgment.readable, judgment.reading_version) == (2, 1, 3)
    preferred = [{"prompt": "p", "chosen": "a", "rejected": "b", "id": value} for value in (5.0, 0, 1, None, "")]
    found = load_preferences(write_rows(tmp_path / "rows.jsonl", preferred), "train")
    assert found["id"] == ["5", "0", "1", "3", "4"]
    source, output = write_rows(tmp_path / "z.jsonl", [{**preferred[0], "z": 0.9}]), tmp_path / "out.jsonl"
    convert(ConvertConfig(source=str(source), output=str(output)))
    assert read_judgments(output)[0].pair.id == "5"
    for column, value in (("judge", ["gpt-4"]), ("judge", 5), ("template", {"a": 1}), ("id", ["a"])):
        write_rows(source, [{**preferred[0], "z": 0.9, column: value}])
        with pytest.raises(ValueError, match=rf"z.jsonl:1: {column} is .*; expected text"):
            convert(ConvertConfig(source=str(source), output=str(output)))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("model_a", 5),
        ("model_b", ["x"]),
        ("id", {"a": 1}),
        ("id", 1.5),
        ("id", True),
        ("label", 1),
        ("label", {"a": 1}),
    ],
)
def test_a_column_of_another_type_is_named(column: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{column} is .*; expected") as error:
        pair_of({"prompt": "p", "response_a": "a", "response_b": "b", column: value})
    assert "<class" not in str(error.value)


# Whatever a column holds, a row is read or refused with its place, in one line.

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.sampled_from(["a", "chosen", "\ud83d", "[]", 10**25, "assistant", "system"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "text", "tool_calls", "type"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)
COLUMNS = [
    *("prompt", "response_a", "response_b", "chosen", "rejected", "messages", "conversations", "system", "id", "label"),
    *("z", "reason", "judge", "votes", "flags", "p_tie", "z_ab", "vote_keys", "model_a", "completion", "instruction"),
    *("output", "text", "input", "tools", "score_chosen", "score_rejected", "margin", "status", "note", "response"),
]
READERS: list[Callable[[str], Any]] = [
    read_pairs,
    read_judgments,
    read_prompts,
    lambda path: load_preferences(path, "train"),
    lambda path: load_demonstrations(path, None),
]
BASES: list[dict[str, Any]] = [
    {"prompt": "p", "response_a": "a", "response_b": "b", "z": 0.5, "chosen": "c", "rejected": "d", "completion": "e"},
    {"messages": [USER, GOOD], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    {},
]


@given(
    base=st.sampled_from(BASES),
    columns=st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=4),
    read=st.sampled_from(READERS),
)
def test_any_value_in_any_column(
    base: dict[str, Any],
    columns: dict[str, Any],
    read: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps({**base, **columns}) + "\n")
    try:
        read(str(path))
    except ValueError as error:
        text = str(error)
        assert text.startswith((f"{path}:1: ", f"{path} has no", f"{path}, split train, has no usable row"))
        assert "\n" not in text
        assert "<class" not in text
