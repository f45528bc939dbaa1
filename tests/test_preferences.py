"""Judgments become training data: what is left out is counted, and any common shape can be read back."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import here, refused, rows_of, write_rows

from rlaif.commands.build import build
from rlaif.commands.convert import ConvertConfig, convert
from rlaif.files.bad_rows import BadRows
from rlaif.files.preferences import FLIPPED, SPLITS, load_preferences
from rlaif.files.selection import BuildConfig, flip, is_flipped, select, split_for
from rlaif.files.sources import write_jsonl
from rlaif.records import Judgment, Pair, Preference, prompt_hash


def judgment(z: float | None, prompt: str = "p", z_ab: float | None = None, z_ba: float | None = None) -> Judgment:
    return Judgment(Pair(prompt, "a", "b"), z, None if z is not None else "timed out", z_ab, z_ba)


def selected(judgments: list[Judgment], **settings: Any) -> tuple[list[Preference], Counter[str]]:
    """What `select` keeps, and how many it leaves out for which reason."""
    left_out: Counter[str] = Counter()
    return list(select(judgments, left_out, **settings)), left_out


def test_what_is_left_out_by_hand() -> None:
    judgments = [
        judgment(None),
        judgment(0.5, z_ab=0.5, z_ba=0.5),
        judgment(0.55, z_ab=0.6, z_ba=0.5),
        judgment(0.4, z_ab=0.3, z_ba=0.5),
        judgment(0.6, z_ab=0.9, z_ba=0.3),
        judgment(0.8, z_ab=0.9, z_ba=0.7),
        judgment(0.1, z_ab=0.1, z_ba=0.1),
        Judgment(Pair("p", "same", "same"), 0.9, z_ab=0.9, z_ba=0.9),
    ]
    kept, left_out = selected(judgments)
    assert left_out == {"unjudged": 1, "tie": 1, "empty or equal responses": 1}
    assert [p.z for p in kept] == [0.55, 0.6, 0.6, 0.8, 0.9]
    assert [p.chosen for p in kept] == ["a", "b", "a", "a", "b"]
    kept, left_out = selected(judgments, tie_band=0.05, min_confidence=0.7, consistent=True)
    assert left_out == {"unjudged": 1, "tie": 2, "unsure": 2, "empty or equal responses": 1}
    kept, left_out = selected(judgments, tie_band=0.05, consistent=True)
    assert left_out["the orders disagree"] == 2
    assert [p.z for p in kept] == [0.8, 0.9]
    # The band's own border is a tie, whatever the float's last digit says: |0.6 - 0.5| <= 0.1.
    assert selected([judgment(0.6), judgment(0.4), judgment(0.600001)], tie_band=0.1)[1] == {"tie": 2}
    assert len(selected([judgment(0.66), judgment(0.34)], min_confidence=0.66)[0]) == 2
    with pytest.raises(ValueError, match="judged in one order only; `consistent` needs both"):
        selected([judgment(0.9, z_ab=0.9)], consistent=True)


@given(
    st.lists(st.none() | st.floats(0, 1), max_size=30),
    st.floats(0, 0.49),
    st.floats(0.5, 1.0),
)
def test_every_judgment_is_kept_or_counted(zs: list[float | None], tie_band: float, confidence: float) -> None:
    kept, left_out = selected([judgment(z) for z in zs], tie_band=tie_band, min_confidence=confidence)
    assert len(kept) + left_out.total() == len(zs)
    assert left_out["unjudged"] == zs.count(None)
    assert all(p.z - 0.5 > tie_band - 1e-9 and p.z >= confidence - 1e-9 for p in kept)


def judged(folder: Path, count: int = 200, messages: bool = False) -> Path:
    """A file of judgments: two on each prompt, in ten subsets, all of them on either side."""
    rows = []
    for i in range(count):
        prompt: Any = f"Question {i // 2}"
        if messages:
            prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": prompt}]
        pair = Pair(prompt, f"a{i}", f"b{i}", label="ab"[i % 2], extra={"subset": f"s{i % 10}"})  # type: ignore[arg-type]
        rows.append(Judgment(pair, (i % 101) / 100, z_ab=0.7, z_ba=0.6, judge="j", template="t").row())
    rows.append(
        Judgment(
            Pair("unjudged" if not messages else [{"role": "user", "content": "u"}], "a", "b"), None, "timed out"
        ).row()
    )
    write_jsonl(folder / "judgments.jsonl", rows)
    return folder


def built(folder: Path, **settings: Any) -> dict[str, Any]:
    config = {"judgments": str(folder), "output": str(folder / "data"), "validation": 0.2, "test": 0.3, **settings}
    return build(BuildConfig(**config))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("messages", [False, True], ids=["strings", "messages"])
def test_a_dataset_that_anyone_can_load(messages: bool, tmp_path: Path) -> None:
    report = built(judged(tmp_path, messages=messages))
    assert report["judgments"] == 201
    assert report["left_out"] == {"unjudged": 1, "tie": 2}
    assert sum(report["splits"].values()) == report["preferences"] == 198
    assert min(report["splits"].values()) > 10
    assert json.loads((tmp_path / "data" / "report.json").read_text()) == report

    loaded = datasets.load_dataset(str(tmp_path / "data"))
    assert {name: len(rows) for name, rows in loaded.items()} == report["splits"]
    hashes = {name: {prompt_hash(row["prompt"]) for row in rows} for name, rows in loaded.items()}
    assert sum(map(len, hashes.values())) == len(set.union(*hashes.values()))  # no prompt is in two splits
    for name in SPLITS:
        ours = load_preferences(tmp_path / "data", name)
        assert ours.column_names == ["id", "prompt", "chosen", "rejected", "z", "label"]
        for theirs, row in zip(loaded[name], ours, strict=True):
            assert theirs["prompt"] == row["prompt"]
            assert isinstance(row["prompt"], list) is messages
            assert 0.5 < row["z"] <= 1.0
            assert "margin" not in theirs  # which TRL's RewardTrainer would subtract
            assert row["chosen"][0] in "ab"
            assert {row["chosen"][0], row["rejected"][0]} == {"a", "b"}
            if messages:
                assert theirs["chosen"] == [{"role": "assistant", "content": row["chosen"]}]
            else:
                assert theirs["chosen"] == row["chosen"]
    one = load_preferences(tmp_path / "data", "train")[0]
    number = int(one["chosen"][1:])
    z = (number % 101) / 100
    assert (one["chosen"][0] == "a") == (z > 0.5)
    assert (one["label"] == "chosen") == (("ab"[number % 2] == "a") == (z > 0.5))


def test_a_column_can_decide_the_split(tmp_path: Path) -> None:
    built(judged(tmp_path), split_by="subset")
    subsets: dict[str, set[str]] = {}
    by_id = {row["id"]: row.get("subset") for row in rows_of(tmp_path / "judgments.jsonl")}
    for name in SPLITS:
        if any((tmp_path / "data" / "data").glob(f"{name}-*")):
            subsets[name] = {by_id[row["id"]] for row in load_preferences(tmp_path / "data", name)}
    assert len(subsets) > 1
    assert sum(map(len, subsets.values())) == len(set.union(*subsets.values())) == 10
    with pytest.raises(ValueError, match=r"split_by is 'sbset', but pair .* expected 'prompt' or one of subset"):
        built(tmp_path, split_by="sbset")


def test_labels_instead_of_a_judge(tmp_path: Path) -> None:
    pairs = [{"prompt": "p", "response_a": "a", "response_b": "b", "label": label} for label in ("a", "b", "tie", None)]
    path = write_rows(tmp_path / "pairs.jsonl", [{**row, "id": str(i)} for i, row in enumerate(pairs)])
    report = built(path, output=str(tmp_path / "data"), z_from="label", validation=0.0, test=0.0)
    assert (report["left_out"], report["preferences"]) == ({"tie": 1, "unjudged": 1}, 2)
    rows = list(load_preferences(tmp_path / "data", "train"))
    assert [(row["chosen"], row["z"], row["label"]) for row in rows] == [("a", 1.0, "chosen"), ("b", 1.0, "chosen")]


def test_a_smaller_build_leaves_nothing_of_the_larger(tmp_path: Path) -> None:
    built(judged(tmp_path))
    built(tmp_path, validation=0.0, test=0.0)
    assert [path.name for path in (tmp_path / "data" / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    with pytest.raises(ValueError, match="has the splits train, not 'test'; give it a larger share"):
        load_preferences(tmp_path / "data", "test")
    assert set(datasets.load_dataset(str(tmp_path / "data"))) == {"train"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"judgments": None}, "judgments and output must be set"),
        ({"validation": 0.5, "test": 0.5}, "leave room for train"),
        ({"test": -0.1}, "leave room for train"),
        ({"tie_band": 0.5}, "expected them in"),
        ({"min_confidence": 0.4}, "expected them in"),
        ({"flip_rate": -0.1}, r"flip_rate is -0\.1; expected a share in \[0, 0\.5\]"),
        ({"flip_rate": 0.51}, r"flip_rate is 0\.51; expected a share in"),
        ({"flip_rate": float("nan")}, "flip_rate is nan; expected a share in"),
        ({"min_confidence": 1.0, "tie_band": 0.49}, None),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    judged(tmp_path, 100)
    if message is None:  # sense, but nothing left
        message = "no preference is left of 101 judgments"
        write_jsonl(tmp_path / "judgments.jsonl", [judgment(0.6, str(i)).row() for i in range(101)])
    with pytest.raises(ValueError, match=message):
        built(tmp_path, **settings)


def test_what_a_dataset_leaves_of_its_judgments_is_said(tmp_path: Path) -> None:
    """Their other columns went without a word, and of several judges the first row's was named."""
    rows = [
        Judgment(Pair(f"p{i}", "a", "b", extra={"topic": i, "<b>": 1} if i % 2 else {}), 0.9, judge=f"j{i % 3}")
        for i in range(9)
    ]
    report = build(BuildConfig(output=str(tmp_path / "several")), rows)
    assert report["not_carried"] == "<b>, topic"
    card = (tmp_path / "several/README.md").read_text()
    assert "\nJudges: `j0` (3 rows), `j1` (3 rows), `j2` (3 rows); prompt template " in card
    assert re.search(r"Columns of the judged pairs that are not here: \S*b\S*, topic\.", card)
    assert "<b>" not in card
    many = [Judgment(Pair(f"p{i}", "a", "b", extra={f"c{i:02}": 1}), 0.9, judge=f"j{i:02}") for i in range(11)]
    report = build(BuildConfig(output=str(tmp_path / "many")), many)
    assert report["not_carried"] == "c00, c01, c02, c03, c04, c05, c06, c07, and 3 others"
    assert "`j07` (1 row), and 3 others; " in (tmp_path / "many/README.md").read_text()
    report = build(BuildConfig(output=str(tmp_path / "one")), [judgment(0.9, str(i)) for i in range(9)])
    assert report["not_carried"] == "nothing"
    assert "not here" not in (tmp_path / "one/README.md").read_text()


# Label noise.

PROBABILITY = st.none() | st.integers(0, 10**9).map(lambda n: n / 10**9)
PAIRS = [
    Pair(f"Question {i // 3}", f"a{i}", f"b{i}", extra={"subset": f"s{i // 3 % 7}"}) for i in range(3000)
]  # three to a prompt


def noise(flip_rate: float, **settings: Any) -> BuildConfig:
    return BuildConfig(**{"flip_rate": flip_rate, "validation": 0.1, "test": 0.2, **settings})


@given(PROBABILITY, PROBABILITY, PROBABILITY)
def test_a_flip_says_the_opposite_and_two_say_the_same(z: float | None, ab: float | None, ba: float | None) -> None:
    before = judgment(z, z_ab=ab, z_ba=ba)
    after = flip(before)
    assert flip(after) == before
    assert after.pair == before.pair
    assert (after.z is None) == (z is None)
    assert flip(before.swap()) == after.swap()
    kept, left_out = selected([before, after], tie_band=0.1, min_confidence=0.66)
    assert left_out.total() in (0, 2)  # whatever is left out says nothing about the side
    if kept:
        assert (kept[0].chosen, kept[0].z) == (kept[1].rejected, kept[1].z)
    if z is not None and ab is not None and ba is not None:
        assert selected([before, after], consistent=True)[1].total() in (0, 2)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 50))
def test_what_is_flipped_is_flipped_at_every_higher_rate(one: float, other: float, seed: int) -> None:
    low, high = sorted([one, other])
    for pair in PAIRS[:100]:
        assert is_flipped(pair, noise(low, seed=seed)) <= is_flipped(pair, noise(high, seed=seed))
        assert is_flipped(pair, noise(high, seed=seed)) == is_flipped(pair.swap(), noise(high, seed=seed))


@pytest.mark.parametrize("settings", [{}, {"seed": 1}, {"split_by": "subset"}], ids=str)
def test_the_share_is_of_train_and_each_pair_is_drawn_by_itself(settings: dict[str, Any]) -> None:
    config = noise(0.25, **settings)
    train = [pair for pair in PAIRS if split_for(pair, config) == "train"]
    assert not any(is_flipped(pair, config) for pair in PAIRS if split_for(pair, config) != "train")
    flips = [is_flipped(pair, config) for pair in train]
    # Four standard errors; and of three pairs of a prompt as many are flipped as three independent draws give.
    assert abs(sum(flips) / len(flips) - 0.25) < 4 * (0.25 * 0.75 / len(flips)) ** 0.5
    groups = Counter(sum(flips[i : i + 3]) for i in range(0, len(flips), 3))
    count = len(flips) // 3
    for k, p in enumerate((0.421875, 0.421875, 0.140625, 0.015625)):
        assert abs(groups[k] / count - p) < 4 * (p * (1 - p) / count) ** 0.5
    other = noise(0.25, **{**settings, "seed": 7, "split_by": "prompt"})
    assert flips != [is_flipped(pair, other) for pair in train]


def rows_by_id(folder: Path) -> dict[str, dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted((folder / "data").glob("*.parquet"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


@pytest.mark.parametrize("messages", [False, True], ids=["strings", "messages"])
def test_a_build_with_noise_differs_in_the_flipped_rows_alone(messages: bool, tmp_path: Path) -> None:
    judged(tmp_path, messages=messages)
    clean = built(tmp_path, output=str(tmp_path / "clean"))
    assert "flipped" not in clean
    report = built(tmp_path, output=str(tmp_path / "noisy"), flip_rate=0.25)
    assert {**report, "flipped": None, "seconds": 0} == {**clean, "flipped": None, "seconds": 0}
    before, after = rows_by_id(tmp_path / "clean"), rows_by_id(tmp_path / "noisy")
    assert list(before) == list(after)
    train = {row["id"] for row in load_preferences(tmp_path / "noisy", "train")}
    marked = {key for key, row in after.items() if row.pop(FLIPPED)}
    assert marked < train
    assert 0 < report["flipped"] == len(marked)
    other = {"chosen": "rejected", "rejected": "chosen"}
    for key, row in after.items():
        if key not in marked:
            assert row == before[key]
            continue
        # Of the judge's two probabilities each is turned round, and stays with the order that it was seen in.
        there = {**before[key], "chosen": before[key]["rejected"], "rejected": before[key]["chosen"]}
        there |= {"chosen_model": before[key]["rejected_model"], "rejected_model": before[key]["chosen_model"]}
        there |= {"label": other[before[key]["label"]]}
        there |= {"z_first": before[key]["z_second"], "z_second": before[key]["z_first"]}
        assert row == there
    manifest = json.loads((tmp_path / "noisy" / "manifest.json").read_text())
    assert manifest["config"]["flip_rate"] == 0.25
    card = (tmp_path / "noisy" / "README.md").read_text()
    assert f"| verdicts turned round | {len(marked)} |" in card
    assert f"{len(marked)} verdicts were turned round (`--flip_rate`)" in card
    assert "turned round" not in (tmp_path / "clean" / "README.md").read_text()
    assert datasets.load_dataset(str(tmp_path / "noisy"))["train"][FLIPPED].count(True) == len(marked)
    # Stricter about what is kept, it flips the same ones.
    fewer = built(tmp_path, output=str(tmp_path / "fewer"), flip_rate=0.25, min_confidence=0.8, consistent=False)
    assert {key for key, row in rows_by_id(tmp_path / "fewer").items() if row[FLIPPED]} == {
        key for key in marked if before[key]["z"] >= 0.8
    }
    assert fewer["flipped"] < report["flipped"]


def test_noise_on_labels_spares_ties_and_what_has_none(tmp_path: Path) -> None:
    labels = ["a", "b", "tie", None] * 25
    rows = [{"prompt": f"p{i}", "response_a": "a", "response_b": "b", "label": x} for i, x in enumerate(labels)]
    path = write_rows(tmp_path / "pairs.jsonl", rows)
    settings = {"output": str(tmp_path / "data"), "z_from": "label", "validation": 0.0, "test": 0.0}
    report = built(path, **settings, flip_rate=0.5)
    assert (report["left_out"], report["preferences"]) == ({"tie": 25, "unjudged": 25}, 50)
    made = rows_by_id(tmp_path / "data").values()
    assert Counter((row["z"], row["label"] == "rejected") for row in made) == {
        (1.0, True): report["flipped"],
        (1.0, False): 50 - report["flipped"],
    }
    assert 10 < report["flipped"] < 40


def test_noise_that_was_converted_is_not_forgotten(tmp_path: Path) -> None:
    """A dataset with noise that is read as judgments and built again has the same rows marked, or turned back."""
    first = built(judged(tmp_path), output=str(tmp_path / "noisy"), flip_rate=0.5)
    file = tmp_path / "again.jsonl"
    convert(ConvertConfig(source=str(tmp_path / "noisy"), output=str(file), split="train"))
    for rate, expected in ((0.0, first["flipped"]), (0.5, 0)):
        report = built(file, output=str(tmp_path / "again"), flip_rate=rate)
        assert report["flipped"] == expected
        rows = rows_by_id(tmp_path / "again")
        assert sum(row[FLIPPED] for row in rows.values()) == expected


# What others publish.


def test_whole_conversations_as_in_ultrafeedback(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Question {i}",
            "prompt_id": str(i),
            "chosen": [{"role": "user", "content": f"Question {i}"}, {"role": "assistant", "content": "Good."}],
            "rejected": [{"role": "user", "content": f"Question {i}"}, {"role": "assistant", "content": "Bad."}],
            "score_chosen": 8.0,
            "score_rejected": 4.0,
        }
        for i in range(4)
    ]
    data = datasets.DatasetDict({"train_prefs": datasets.Dataset.from_list(rows)})
    data.save_to_disk(str(tmp_path / "uf"))
    loaded = load_preferences(tmp_path / "uf", "train_prefs")
    assert loaded[1] == {
        "id": "1",
        "prompt": [{"role": "user", "content": "Question 1"}],
        "chosen": "Good.",
        "rejected": "Bad.",
        "z": 1.0,
        "label": None,
    }


SIDES = ("chosen", "rejected")


def one(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    (shaped,) = load_preferences(write_rows(folder / "rows.jsonl", [row]), "train")
    return dict(shaped)


def test_the_shapes_that_chosen_may_have(tmp_path: Path) -> None:
    turn = [{"role": "assistant", "content": "Good."}]
    other = [{"role": "assistant", "content": "Bad."}]
    question = [{"role": "user", "content": "Q"}]
    for row in (
        {"prompt": "Q", "chosen": "Good.", "rejected": "Bad."},
        {"prompt": "Q", "chosen": turn, "rejected": other, "z": 0.75},
        {"prompt": question, "chosen": turn, "rejected": other},
        {"chosen": question + turn, "rejected": question + other},
    ):
        shaped = one(row, tmp_path)
        assert (shaped["chosen"], shaped["rejected"]) == ("Good.", "Bad.")
        assert shaped["prompt"] in ("Q", question)
        assert shaped["z"] == row.get("z", 1.0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "a", "rejected": "b"}, "rows.jsonl:1: the row has no 'prompt'"),
        ({"prompt": "Q", "chosen": "a"}, "rows.jsonl:1: the row has no 'rejected'; expected prompt, chosen, rejected"),
        ({"prompt": "Q", "chosen": "a", "rejected": "b", "z": 1.5}, "rows.jsonl:1: z is 1.5"),
        ({"prompt": "Q", "chosen": "a", "rejected": "b", "z": None}, "rows.jsonl:1: z is null"),
        ({"prompt": "Q", "chosen": 3, "rejected": "b"}, "rows.jsonl:1: chosen is 3"),
        *(
            (
                {"prompt": "Q", "chosen": "a", "rejected": "b", "score_chosen": score, "score_rejected": score},
                "is .*; exp",
            )
            for score in ("5/10", "50%", [5, 4], True)
        ),
        ({"prompt": "Q", "chosen": [], "rejected": "b"}, "rows.jsonl:1: chosen is \\[\\]"),
        ({"prompt": "Q", "chosen": ["x"], "rejected": "b"}, "rows.jsonl:1: .*expected a message like"),
        ({"prompt": "Q", "chosen": [{"role": "user", "content": "x"}], "rejected": "b"}, "ends with the role 'user'"),
        (
            {
                "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "x"}],
                "rejected": [{"role": "user", "content": "R"}, {"role": "assistant", "content": "y"}],
            },
            "rows.jsonl:1: chosen and rejected begin with different conversations",
        ),
    ],
)
def test_a_row_that_is_no_preference_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        one(row, tmp_path)


def test_mixed_prompts_and_empty_responses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    path = write_rows(tmp_path / "rows.jsonl", [good, {**good, "rejected": " "}, good])
    assert len(load_preferences(path, "train")) == 2
    assert capsys.readouterr().err == (
        f"warning: {path}, split train: left out 1 of 3 rows (1 empty or equal responses).\n"
    )
    write_rows(path, [{**good, "chosen": ""}])
    with pytest.raises(ValueError, match="has no usable row"):
        load_preferences(path, "train")
    # In Parquet a column has one type; in JSONL a mixture can stand.
    write_rows(path, [good, {**good, "prompt": [{"role": "user", "content": "Q"}]}])
    with pytest.raises(ValueError, match=r"rows.jsonl:2: the prompt is messages.*one kind"):
        load_preferences(path, "train")


SPELLINGS = [
    *(("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen-rating", "rejected-rating")),
    *(("rating_chosen", "rating_rejected"), ("chosen_reward", "rejected_reward"), ("reward_chosen", "reward_rejected")),
    *(("rm_score_chosen", "rm_score_rejected"), ("chosen_avg_rating", "rejected_avg_rating")),
]


def test_scores_decide_ties_whatever_the_other_columns_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good: dict[str, Any] = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    whole = {side: [{"role": "user", "content": "Q"}, {"role": "assistant", "content": side}] for side in SIDES}
    for row in (good, whole, {**whole, "prompt": "Q", "messages": whole["chosen"]}):
        for names in SPELLINGS:
            rows = [dict(zip(names, scores, strict=True), **row) for scores in ((8.0, 8.0), (2, 8), ("9", "3"))]
            left_out: Counter[str] = Counter()
            loaded = load_preferences(write_rows(tmp_path / "rows.jsonl", rows), "train", left_out=left_out)
            assert left_out == {"a tie": 1, "chosen has the lower score": 1}
            assert loaded["id"] == ["2"]
            assert "left out 2 of 3 rows (1 a tie, 1 chosen has the lower score)" in capsys.readouterr().err
    said = [{**good, "label": "tie"}, {**good, "label": "rejected"}, {**good, "label": "chosen"}]
    left_out = Counter()
    assert load_preferences(write_rows(tmp_path / "rows.jsonl", said), "train", left_out=left_out)["id"] == ["2"]
    assert left_out == {"a tie": 1, "its label says rejected": 1}
    soft = [{**good, "z": 0.5, "score_chosen": 1, "score_rejected": 1}]  # where there is a z, it says so itself
    assert load_preferences(write_rows(tmp_path / "rows.jsonl", soft), "train")["z"] == [0.5]


def test_a_z_that_some_rows_lack_is_not_made_up(tmp_path: Path) -> None:
    row: dict[str, Any] = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    for rows in ([{**row, "z": 0.7}, row], [row, {**row, "z": 0.7}]):
        with pytest.raises(ValueError, match=r"rows.jsonl:2: the row has (no|a) z, and the one at .*:1 has (one|none)"):
            load_preferences(write_rows(tmp_path / "rows.jsonl", rows), "train")


def test_a_margin_is_no_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TRL's RewardTrainer would subtract it. An older build has it, and is read; a source's own is said to be."""
    row = {"prompt": "Q", "chosen": "a", "rejected": "b", "z": 0.8, "margin": 0.6}
    assert "margin" not in load_preferences(write_rows(tmp_path / "rows.jsonl", [row]), "train").column_names
    assert capsys.readouterr().err == ""
    for other in ({**row, "margin": 3.0}, {k: v for k, v in row.items() if k != "z"}):
        load_preferences(write_rows(tmp_path / "rows.jsonl", [other]), "train")
        assert "its column margin is not used" in capsys.readouterr().err


def test_the_system_column_of_preferences(tmp_path: Path) -> None:
    """Two opposite preferences under one prompt were one contradiction without their system turns."""
    base = {"prompt": "How old are you?", "chosen": "40.", "rejected": "I have no age."}
    rows = [{**base, "system": "You are a diver."}, {**base, "system": ""}, {**base, "system": None}]
    user = {"role": "user", "content": "How old are you?"}
    loaded = load_preferences(write_rows(tmp_path / "rows.jsonl", rows), "train")
    assert loaded["prompt"] == [[{"role": "system", "content": "You are a diver."}, user], [user], [user]]


def test_bad_rows_of_preferences_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good: dict[str, Any] = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    path = write_rows(tmp_path / "rows.jsonl", [good, {**good, "tools": ["search"]}, {"prompt": "Q"}, good])
    with pytest.raises(ValueError, match=r"rows.jsonl:2: the row has tools .*which text cannot carry"):
        load_preferences(path, "train")
    bad = BadRows("skip")
    assert load_preferences(path, "train", bad=bad)["id"] == ["0", "3"]
    assert [row["place"] for row in bad.rows] == [f"{path}:2", f"{path}:3"]
    with pytest.raises(ValueError, match=r"no usable row \(1 bad, the first .*:1: the row has no 'chosen'"):
        load_preferences(write_rows(path, [{"prompt": "Q"}]), "train", bad=BadRows("skip"))


def test_a_hub_clone_without_z(tmp_path: Path) -> None:
    folder = tmp_path / "clone" / "data"
    folder.mkdir(parents=True)
    rows = [{"prompt": f"q{i}", "chosen": "a", "rejected": "b", "source": "s"} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    assert [row["z"] for row in load_preferences(tmp_path / "clone", "train")] == [1.0] * 3


def test_the_real_program(tmp_path: Path) -> None:
    judged(tmp_path)
    flips = ("--flip_rate", 0.25)
    done = here("build", "--judgments", tmp_path, "--output", tmp_path / "data", "--min_confidence", 0.8, *flips)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    zs = Counter((i % 101) / 100 for i in range(200))
    unsure = sum(count for z, count in zs.items() if z != 0.5 and max(z, 1 - z) < 0.8)
    assert report["left_out"] == {"unjudged": 1, "tie": zs[0.5], "unsure": unsure}
    assert f"| left out: unsure | {unsure} |" in (tmp_path / "data" / "README.md").read_text()
    assert "unjudged" in done.stdout
    assert re.search(rf"^flipped +{report['flipped']}$", done.stdout, re.MULTILINE)
    assert report["flipped"] > 0
    line = refused(here("build", "--judgments", tmp_path, "--output", tmp_path / "d", "--split_by", "x"))
    assert "split_by is 'x'" in line


def test_a_file_that_says_which_split_a_row_is_of_is_several(tmp_path: Path) -> None:
    """A model is not measured on what it was trained on."""
    from rlaif.files.demonstrations import load_demonstrations
    from rlaif.files.preferences import check_held_out

    rows = [
        {"prompt": f"p{i}", "chosen": f"a{i}", "rejected": "b", "split": "test" if i == 2 else "train"}
        for i in range(4)
    ]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    assert list(load_preferences(source, "train")["prompt"]) == ["p0", "p1", "p3"]
    assert list(load_preferences(source, "test")["prompt"]) == ["p2"]
    assert list(load_demonstrations(str(source), "train")["completion"]) == ["a0", "a1", "a3"]
    check_held_out(source, "train", "test")
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")  # so is one dataset that was saved
    assert list(load_preferences(tmp_path / "saved", "train")["prompt"]) == ["p0", "p1", "p3"]
    assert list(load_demonstrations(str(tmp_path / "saved"), "test")["completion"]) == ["a2"]
    check_held_out(tmp_path / "saved", "train", "test")
    with pytest.raises(ValueError, match=r"no row of the split validation; expected .*: 'train', 'test'"):
        load_preferences(source, "validation")
    learned = [{"prompt": f"p{i}", "completion": "c", "split": ("train", "test")[i % 2]} for i in range(4)]
    there = write_rows(tmp_path / "learned.jsonl", learned)
    assert list(load_demonstrations(str(there), "train")["prompt"]) == ["p0", "p2"]
    # A column of that name that says something else is one as any other.
    other = write_rows(tmp_path / "other.jsonl", [{**row, "split": f"subset {i % 2}"} for i, row in enumerate(rows)])
    assert len(load_preferences(other, "train")) == 4
    with pytest.raises(ValueError, match="which is one split, so nothing of it is held out"):
        check_held_out(other, "train", "test")
    # Nor is a row that says it after one that does not learned as a row of all.
    late = write_rows(tmp_path / "late.jsonl", [{k: v for k, v in rows[0].items() if k != "split"}, *rows[1:]])
    for read in (load_preferences, load_demonstrations):
        with pytest.raises(ValueError, match=r"late.jsonl:2: the row is of the split train, and rows before it"):
            read(str(late), "train")


def test_what_is_not_taken_as_it_stands_is_said_where_nobody_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"], "n": [float("nan")]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert len(load_preferences(tmp_path / "rows.parquet", "train")) == 1
    assert "n holds NaN in 1 row, which is carried as null" in capsys.readouterr().err


def test_a_second_answer_of_a_row_that_is_not_learned_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one further down is left out, and a run says so."""
    from rlaif.files.demonstrations import load_demonstrations

    turns = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "It is 42, friend."}]
    rows: list[dict[str, Any]] = [{"messages": turns, "answer": "42"}, {"messages": turns, "output": "It is 43."}]
    bad = BadRows()
    found = load_demonstrations(str(write_rows(tmp_path / "rows.jsonl", rows)), "train", bad=bad)
    assert list(found["completion"]) == ["It is 42, friend."] * 2
    bad.say()
    assert re.findall(r"rows with (.*), which is not learned", capsys.readouterr().err) == ["messages and output"]
