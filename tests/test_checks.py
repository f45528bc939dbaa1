"""The checks before publishing, by hand-made rows, and against slow and plain versions of themselves."""

from __future__ import annotations

import itertools
import random
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.publish import checks, scan
from rlaif.publish.checks import CHECKS, Checked, check, stop_line
from rlaif.publish.contamination import Index
from rlaif.publish.scan import Item, Wanted, in_processes
from rlaif.records import content_hash

LONG = "It is a long story, and it begins in a small town by the sea where nobody ever locked a door at night"
OTHER = "There was once a man who counted stars and wrote each of them down in a book that he gave to no one"


def item(
    identity: str, prompt: Any = LONG, a: str = "yes", b: str = "no", z: float | None = 0.9, split: str = "train"
) -> Item:
    return Item(identity, split, prompt, a, b, z)


def checked(items: list[Item], **actions: Any) -> Checked:
    benchmarks = actions.pop("benchmarks", None)
    return check(items, {name: actions.get(name, "report") for name in CHECKS}, benchmarks=benchmarks, processes=1)


def flagged(items: list[Item], name: str, **settings: Any) -> list[str]:
    """The ids of the rows that a check flags: it drops them, and what is dropped is asked for."""
    done = checked(items, **{name: "drop"}, **settings)
    assert done.report[name]["rows"] == done.report[name]["dropped"] == (done.reason_N >= 0).sum()
    return [row.id for row, gone in zip(items, done.reason_N >= 0, strict=True) if gone]


def test_duplicates_keep_their_first_row_and_the_test_split_before_train() -> None:
    rows = [item("1"), item("2"), item("3", split="test"), item("4", a="no", b="yes", z=0.1), item("5", b="maybe")]
    # 4 is the same pair the other way round, with the same preference.
    assert flagged(rows, "duplicates") == ["1", "2", "4"]
    assert flagged(rows[:2], "duplicates") == ["2"]


def test_ties_and_unjudged_pairs_can_be_duplicates_too() -> None:
    rows = [item("1", z=None), item("2", z=0.5), item("3", a="no", b="yes", z=None), item("4", z=0.9)]
    assert flagged(rows, "duplicates") == ["2", "3"]
    assert flagged(rows, "contradictions") == []


def test_contradictions_flag_both_rows() -> None:
    rows = [
        item("1", z=0.9),
        item("2", z=0.2),
        item("3", a="no", b="yes", z=0.9),
        item("4", b="never"),
        item("5", OTHER, z=0.1),
    ]
    assert flagged(rows, "contradictions") == ["1", "2", "3"]
    done = checked(rows)
    assert done.report["contradictions"]["kinds"] == {"exact": 3}
    assert done.report["contradictions"]["sample"][0]["text"] in {"like 2 of train", "like 3 of train"}


def test_prompts_in_two_splits() -> None:
    rows = [item("1"), item("2", split="validation", a="a"), item("3", split="test", a="b"), item("4", OTHER)]
    assert flagged(rows, "split_prompts") == ["1", "2"]
    messages = [{"role": "user", "content": LONG}]
    assert flagged([item("1"), item("2", messages, split="test", a="x")], "split_prompts") == ["1"]


def test_near_prompts_in_two_splits() -> None:
    rows = [item("1"), item("2", LONG.upper() + "!", split="test", a="x"), item("3", OTHER, split="test", a="y")]
    assert flagged(rows, "near_prompts") == ["1"]
    # The same prompt in both is another check's finding.
    assert flagged([item("1"), item("2", split="test", a="x")], "near_prompts") == []


def test_near_duplicates_are_alike_in_prompt_and_both_responses() -> None:
    changed = LONG.replace("small", "tiny")
    rows = [
        item("1", LONG, LONG, OTHER),
        item("2", changed, LONG + ".", OTHER.upper()),
        item("3", LONG, LONG, "something else altogether"),
        item("4", "another prompt that has nothing to do with it", LONG, OTHER),
        item("5", changed, OTHER, LONG + " so it was"),
    ]
    assert flagged(rows, "near_duplicates") == ["2"]
    # Alike the other way round, and so against each other.
    assert flagged([rows[0], rows[4]], "contradictions") == ["1", "5"]
    assert flagged([rows[0], item("5", changed, OTHER, LONG + " so it was", z=None)], "contradictions") == []
    # An exact duplicate is not counted again.
    assert flagged([rows[0], item("6", LONG, LONG, OTHER)], "near_duplicates") == []


def test_equal_responses_and_markers() -> None:
    rows = [
        item("1", a="the same", b=" the same\n"),
        item("code", a="if x:\n    f()\ng()", b="if x:\n    f()\n    g()"),
        item("2", a="Sure.<|im_end|>"),
        item("3", b="Yes.\nHuman: and now?"),
        item("4", "Answer {question} please"),
        item("5", a="Human beings: a story", b="a dict {question: 1} is fine"),
        Item("6", "train", "p", "a", "b", 0.9, ("marker",)),
        item("7", a="<think>hm</think> 4"),
    ]
    assert flagged(rows, "equal_responses") == ["1"]
    assert flagged(rows, "markers") == ["2", "3", "4", "6", "7"]
    assert checked(rows).report["markers"]["kinds"]["the judge's own template"] == 1


def test_secrets_are_masked_in_the_report() -> None:
    key = "hf_" + "".join(random.Random(0).choices("abcdefghijkmnopqrstuvwxyzABCDEFGH", k=34))
    rows = [item("1", a=f"Use {key} to log in."), item("2", a="Mail ada.lovelace@mailbox.org.")]
    assert flagged(rows, "secrets") == ["1"]
    assert flagged(rows, "personal") == ["2"]
    done = checked(rows)
    assert key not in str(done.report)
    assert "ada.lovelace@" not in str(done.report)
    assert done.report["secrets"]["sample"][0]["where"] == "response_a"


def test_nothing_private_is_in_any_sample() -> None:
    key = "ghp_" + content_hash("k")[:30] + "AbCdEf"
    mail = "ada.lovelace@mailbox.org"
    rows = [
        item("1", f"{LONG} {mail}", f"<|im_end|> {key}", f"<|im_end|> {key} "),
        Item("2", "train", OTHER, "a", "b", 0.9, (), (("note", f"by {mail}"), ("deep", f'["{key}"]'))),
        item("3", f"{LONG} {mail}", f"<|im_end|> {key}", f"<|im_end|> {key} "),
    ]
    done = checked(rows, benchmarks=Index.build([("b", "1", LONG)]))
    for name in ("markers", "equal_responses", "contamination", "secrets", "personal", "duplicates"):
        assert done.report[name]["rows"] >= 1, name
    assert done.report["personal"]["rows"] == 3
    assert done.report["secrets"]["rows"] == 3
    assert {row["where"] for row in done.report["secrets"]["sample"]} == {"response_a", "deep"}
    assert key not in str(done.report)
    assert mail not in str(done.report)


def test_what_judges_wrote_is_searched_too() -> None:
    rows = [item("1"), item("2", OTHER)]
    texts = [(1, "The second, says ada.lovelace@mailbox.org."), (0, "The first.")]
    done = check(rows, {**dict.fromkeys(CHECKS, "off"), "personal": "drop"}, votes=lambda: texts, processes=1)  # type: ignore[dict-item]
    assert [done.reason(row) for row in (0, 1)] == [None, "personal"]
    assert done.report["personal"]["sample"][0]["where"] == "vote"


def test_contamination_names_the_benchmark() -> None:
    index = Index.build([("stories", "7", LONG), ("stars", "1", OTHER)])
    rows = [item("1", f"Please go on: {LONG.lower()}"), item("2", "nothing of the kind here")]
    assert flagged(rows, "contamination", benchmarks=index) == ["1"]
    report = checked(rows, benchmarks=index).report["contamination"]
    assert report["kinds"] == {"stories": 1}
    assert report["sample"][0]["text"].startswith("7 (100%): Please go on")


def test_actions() -> None:
    rows = [item("1"), item("2"), item("3", a="same", b="same"), item("4", a="same", b="same")]
    done = checked(rows, duplicates="drop", equal_responses="drop")
    # Row 4 is both: it is counted once, for the first of the checks in their order.
    reasons = [None, "duplicates", "equal_responses", "equal_responses"]
    assert [done.reason(row) for row in range(4)] == reasons
    assert [done.report[name]["dropped"] for name in ("duplicates", "equal_responses")] == [1, 2]
    assert done.report["duplicates"]["rows"] == 2
    off = checked(rows, duplicates="off")
    assert off.report["duplicates"] == {"action": "off"}
    assert (off.reason_N < 0).all()
    assert stop_line(off, "here") is None
    line = stop_line(checked(rows, duplicates="stop"), "report.json")
    assert line == (
        "nothing was published: the checks found duplicates in 2 rows (2 exact). Samples are in report.json. "
        "--duplicates drop leaves such rows out, --duplicates report publishes them."
    )


def test_ids_must_be_distinct() -> None:
    with pytest.raises(ValueError, match="row 1 has the id 'x', which row 0 has already"):
        checked([item("x"), item("x", OTHER)])


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["p", "q"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([None, 0.5, 0.2, 0.9]),
        st.sampled_from(["train", "validation", "test"]),
    ),
    max_size=12,
)


@given(ROWS)
def test_comparisons_equal_plain_loops(rows: list[tuple[str, str, str, float | None, str]]) -> None:
    items = [Item(str(i), split, p, a, b, z) for i, (p, a, b, z, split) in enumerate(rows)]
    order = sorted(range(len(items)), key=lambda i: ({"test": 0, "validation": 1}.get(items[i].split, 2), i))

    def preferred(x: Item) -> str | None:
        return None if x.z in (None, 0.5) else x.sides()[0]

    def same_pair(x: Item, y: Item) -> bool:
        return x.prompt == y.prompt and {x.response_a, x.response_b} == {y.response_a, y.response_b}

    def opposed(x: Item, y: Item) -> bool:
        if x.response_a == x.response_b:
            return False
        return same_pair(x, y) and None not in (preferred(x), preferred(y)) and preferred(x) != preferred(y)

    def same(x: Item, y: Item) -> bool:
        return same_pair(x, y) and preferred(x) == preferred(y)

    duplicates, leaked = set(), set()
    for at, i in enumerate(order):
        before = [items[j] for j in order[:at]]
        if any(same(items[i], other) for other in before):
            duplicates.add(i)
        first = next((other for other in before if other.prompt == items[i].prompt), items[i])
        if first.split != items[i].split:
            leaked.add(i)
    contradictions = {i for i, j in itertools.permutations(range(len(items)), 2) if opposed(items[i], items[j])}
    for name, expected in (("duplicates", duplicates), ("split_prompts", leaked), ("contradictions", contradictions)):
        done = check(items, {**dict.fromkeys(CHECKS, "off"), name: "drop"}, processes=1)  # type: ignore[dict-item]
        assert set(np.flatnonzero(done.reason_N >= 0).tolist()) == expected, name


def test_processes_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [item(str(i), f"{LONG} {i % 40}", f"a {i}", f"b {i} a{i}@mailbox.org" * (i % 3 == 0)) for i in range(300)]
    wanted = Wanted(frozenset(CHECKS), Index.build([("b", "1", LONG)]))
    monkeypatch.setattr(scan, "BATCH", 50)
    monkeypatch.setattr(scan, "IN_ONE_PROCESS", 100)
    results = []
    for processes in (1, 2):
        done = [*in_processes(partial(scan.scan, wanted), rows, processes)]
        assert [row for batch, _ in done for row in batch] == rows
        results.append([scanned for _, scanned in done])
    for one, two in zip(*results, strict=True):
        assert one.flags == two.flags
        for name in ("prompt_N", "pair_N", "preferred_N", "prompts_NK", "chosen_NK", "rejected_NK"):
            assert np.array_equal(getattr(one, name), getattr(two, name))


def test_every_check_is_a_setting() -> None:
    from rlaif.commands.publish import DatasetSettings

    config = DatasetSettings()
    assert {name: getattr(config, name) for name in CHECKS} == {name: one.action for name, one in CHECKS.items()}
    assert set(checks.ACTIONS) == {"stop", "drop", "report", "off"}
