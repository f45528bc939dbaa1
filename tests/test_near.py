"""Words, n-grams, MinHash signatures and clusters: against plain Python, exact numbers and planted near duplicates."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlaif.publish import near, ngrams
from rlaif.publish.ngrams import shingles, tokens, words

DATA = os.environ.get("RLAIF_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="RLAIF_DATA is not set: it names the folder of real rows")

VOCABULARY = [a + b + c for a, b, c in itertools.product("bdkmst", ("a", "ee", "io"), ("n", "rt", "p", "ll"))]


def sentence(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=count))


def pair_set(text: str) -> set[tuple[str, ...]]:
    """The word pairs of a text whose words stand between single spaces."""
    found = text.split()
    return set(itertools.pairwise(found))


def true_jaccard(a: str, b: str) -> float:
    return len(pair_set(a) & pair_set(b)) / len(pair_set(a) | pair_set(b))


def partition(labels: NDArray[np.int64]) -> set[frozenset[int]]:
    groups: dict[int, set[int]] = {}
    for row, label in enumerate(labels.tolist()):
        groups.setdefault(label, set()).add(row)
    return {frozenset(group) for group in groups.values()}


# ---- words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't  STOP--now!", "don t stop now"),
        ("snake_case __bold__ x2", "snake case bold x2"),
        ("naïve ﬁne ＡＢ½ Straße", "naïve fine ab1 2 strasse"),
        ("cafe\u0301 CAFÉ", "café café"),
        ("ΐǰ \u0399\u0308\u0301J\u030c", "ΐǰ ΐǰ"),  # folding the case of the first takes it apart
        ("हिन्दी में", "हिन्दी में"),  # combining vowels belong to the word
        ("العَرَبِيَّة", "العَرَبِيَّة"),
        ("世界AI時代", "世 界 ai 時 代"),
        ("カタカナ ｶﾞ", "カ タ カ ナ ガ"),
        ("ไทย", "ไ ท ย"),
        ("한국어 단어", "한국어 단어"),
        ("7 + 5 = 12", "7 5 12"),
        ("👍 👎", "👍 👎"),
        ("?!", "? !"),
        ("", ""),
        (" \n\t\u3000", ""),
    ],
)
def test_words_of_many_scripts(text: str, expected: str) -> None:
    assert [token.decode() for token in tokens(text)] == expected.split()


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_and_unicode_agree(text: str) -> None:
    """ASCII takes a shorter way; a word beyond it makes the same text take the longer one."""
    if any(c.isalnum() for c in text):
        assert [*tokens(text), "é".encode()] == tokens(text + " É")


@given(st.text())
def test_any_text_has_words_but_white_space(text: str) -> None:
    assert (len(words(text)) > 0) == bool(text.strip())
    assert not any(token.decode("utf-8", "surrogatepass").isspace() for token in tokens(text))


separators = st.text(" \n\t.,;:!?-'\"()*_#–“”…", min_size=1)


@given(
    st.lists(st.tuples(st.text("abcxyzäöéñжя0123", min_size=1), st.booleans(), separators), min_size=1),
    st.lists(separators, max_size=1),
)
def test_case_punctuation_and_space_change_nothing(parts: list[tuple[str, bool, str]], before: list[str]) -> None:
    plain = " ".join(word for word, _, _ in parts)
    changed = "".join(before) + "".join((word.upper() if up else word) + gap for word, up, gap in parts)
    assert (words(plain) == words(changed)).all()
    assert (near.signatures([plain])[0] == near.signatures([changed])[0]).all()


def test_hashes_are_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The quick brown fox " + "0123456789" * 10
    expected = [
        int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        for word in text.lower().split()
    ]
    assert words(text).tolist() == expected == words(text).tolist()
    assert words("the quick").dtype == np.uint64


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = ngrams._WordHashes()
    monkeypatch.setattr(ngrams, "_HASHES", hashes)
    text = " ".join(f"w{i}" for i in range(100))
    before = words(text)
    assert len(hashes) == 100
    hashes.clear()
    monkeypatch.setattr(ngrams, "_REMEMBERED", 10)
    assert (words(text) == before).all()
    assert 0 < len(hashes) <= 10
    words("x" * 100_000)
    assert max(map(len, hashes)) <= 64


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(1, 9))
def test_shingles_against_plain_python(values: list[int], n: int) -> None:
    m = 0x9E3779B97F4A7C15
    n_here = min(n, len(values))
    runs = [values[i : i + n_here] for i in range(len(values) - n_here + 1)] if values else []
    expected = [sum(v * m ** (n_here - 1 - k) for k, v in enumerate(run)) % 2**64 for run in runs]
    before = np.array(values, dtype=np.uint64)
    assert shingles(before, n).tolist() == expected
    assert before.tolist() == values


def test_shingles_know_the_order() -> None:
    assert shingles(words("a b"), 2)[0] != shingles(words("b a"), 2)[0]
    assert set(shingles(words("a b c a b"), 2).tolist()) == set(shingles(words("a b c a"), 2).tolist())


# ---- signatures


def test_signatures_are_datasketch_s_minima(monkeypatch: pytest.MonkeyPatch) -> None:
    from datasketch import MinHash

    texts = [sentence(random.Random(i), 5 + 20 * i) for i in range(5)]
    got = near.signatures(texts)
    for text, row in zip(texts, got, strict=True):
        one = MinHash(num_perm=128, scheme="affine32", hashfunc=int)
        for value in shingles(words(text), near.SHINGLE).tolist():
            one.update(value >> 32)
        assert (row == (one.hashvalues & 0xFFFF)).all()
    monkeypatch.setattr(near, "_AT_ONCE", 7)
    assert (near.signatures(texts) == got).all()
    assert near.signatures([]).shape == (0, 128)


@pytest.mark.parametrize("changed", [2, 6, 14])
def test_the_estimate_is_as_good_as_its_formula(changed: int) -> None:
    """Unbiased, with the binomial's standard deviation: the affine permutations and the cut to 16 bits do no harm."""
    rng = random.Random(changed)
    texts, true = [], []
    for _ in range(1000):
        found = [f"{rng.getrandbits(40):x}" for _ in range(60)]
        other = found.copy()
        for at in rng.sample(range(60), changed):
            other[at] = f"{rng.getrandbits(40):x}"
        texts += [" ".join(found), " ".join(other)]
        true.append(true_jaccard(*texts[-2:]))
    made, j = near.signatures(texts), np.array(true)
    errors = (near.jaccard(made[::2], made[1::2]) - j) / np.sqrt(j * (1 - j) / 128)
    assert abs(np.mean(errors)) < 4 / math.sqrt(len(errors))
    assert np.std(errors) == pytest.approx(1.0, abs=0.09)


def test_unlike_texts_share_next_to_nothing() -> None:
    rng = random.Random(0)
    texts = [" ".join(f"{rng.getrandbits(40):x}" for _ in range(80)) for _ in range(400)]
    got = near.signatures(texts)
    shares = [near.jaccard(got[i : i + 1], got[i + 1 :]).mean() for i in range(300)]
    assert np.mean(shares) == pytest.approx(2**-16, rel=0.5)
    # Each half byte of the 16 bits is uniform.
    for shift in (0, 4, 8, 12):
        counts = np.bincount((got >> shift & 15).ravel(), minlength=16)
        assert ((counts - got.size / 16) ** 2 / (got.size / 16)).sum() < 50  # chi-square, 15 degrees: p = 1e-5


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("Yes.", "yes", True),
        ("Yes.", "No.", False),
        ("Yes", "Yes sir", False),
        ("", " \n", True),
        ("", "Yes", False),
        ("👍", "👎", False),
        ("Paris is the capital", "Rome is the capital", False),
        ("What is 7 + 5?", "What is 7 - 5?", True),  # symbols are no words
        ("我们今天讨论的问题是人工智能的发展和未来", "我们今天讨论的问题是人工智能的发展与未来", True),
        ("我们今天讨论的问题", "他昨天写了一封信", False),
    ],
)
def test_short_texts(a: str, b: str, alike: bool) -> None:
    assert (near.clusters(near.signatures([a, b])).tolist() == [0, 0]) == alike


# ---- clusters


def replaced(count: int) -> Callable[[str, random.Random], str]:
    def change(text: str, rng: random.Random) -> str:
        found = text.split()
        for at in rng.sample(range(len(found)), count):
            found[at] = f"new{rng.randrange(1000)}"
        return " ".join(found)

    return change


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "one word of forty": replaced(1),
    "two words of forty": replaced(2),
    "case": lambda text, _: text.upper(),
    "punctuation": lambda text, rng: "".join(c if c != " " else rng.choice([" ", ", ", "... ", "\n- "]) for c in text),
    "white space": lambda text, _: f"\n {text}  ".replace(" ", " \t"),
    "a sentence more": lambda text, _: text + ". And so it was said.",
    "a word left out": lambda text, rng: text.replace(f" {rng.choice(text.split()[1:])} ", " ", 1),
    "itself": lambda text, _: text,
}


def planted(texts: list[str], change: Callable[[str, random.Random], str]) -> tuple[int, int]:
    """How many of the texts' changed copies came into their original's cluster; how many originals into another's."""
    rng = random.Random(7)
    labels = near.clusters(near.signatures([*texts, *(change(text, rng) for text in texts)]))
    originals, copies = labels[: len(texts)], labels[len(texts) :]
    return int((copies == originals).sum()), int((originals != np.arange(len(texts))).sum())


@pytest.mark.parametrize("name", CHANGES)
def test_planted_near_duplicates_are_found(name: str) -> None:
    rng = random.Random(3)
    assert planted([sentence(rng, 40) for _ in range(100)], CHANGES[name]) == (100, 0)


def signature_pairs(j: float, count: int, seed: int = 0) -> NDArray[np.uint16]:
    """Signatures of texts, of which 2i and 2i + 1 share each place with probability j: (2 count, 128)."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 1 << 16, (count, 2, 128), dtype=np.uint16)
    made[:, 1] = np.where(rng.random((count, 128)) < j, made[:, 0], made[:, 1])
    return made.reshape(2 * count, 128)


@pytest.mark.parametrize(
    ("j", "threshold", "share"),
    [(0.5, 0.5, 0.5), (0.6, 0.7, 0.010), (0.7, 0.7, 0.513), (0.8, 0.7, 0.997), (0.9, 0.7, 1.0)],
)
def test_exactly_what_the_formulas_say_is_found(j: float, threshold: float, share: float) -> None:
    made = signature_pairs(j, 3000)
    same = made[::2] == made[1::2]
    a_key = same.reshape(-1, 32, 4).all(2).any(1)
    assert a_key.mean() == pytest.approx(1 - (1 - j**4) ** 32, abs=0.025)
    expected = a_key & (same.mean(1) >= threshold)
    labels = near.clusters(made, threshold)
    assert (labels[::2] == np.arange(0, 6000, 2)).all()
    assert ((labels[1::2] == np.arange(0, 6000, 2)) == expected).all()
    assert expected.mean() == pytest.approx(share, abs=0.04)


def brute_force(made: NDArray[np.uint16], threshold: float) -> set[frozenset[int]]:
    labels = np.arange(len(made))
    for i in range(len(made)):
        for k in np.flatnonzero((made == made[i]).mean(1) >= threshold):
            labels[labels == labels[k]] = labels[i]
    return partition(labels)


def templates(seed: int, share: float, groups: int) -> NDArray[np.uint16]:
    """Groups of 1 to 5 near duplicates; all of them share a template that gives `share` of their places."""
    rng = np.random.default_rng(seed)
    heads = rng.integers(0, 1 << 16, (groups, 128), dtype=np.uint16)
    # A template's minimum wins in all texts or in none, rather than evenly: many texts have the same keys.
    wins = rng.random((groups, 128)) < rng.beta(0.5, 0.5 / share - 0.5, 128)
    heads = np.where(wins, rng.integers(0, 1 << 16, 128, dtype=np.uint16), heads)
    made = np.repeat(heads, rng.integers(1, 6, groups), axis=0)
    noise = rng.random(made.shape) < 0.06
    return np.where(noise, rng.integers(0, 1 << 16, made.shape, dtype=np.uint16), made)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_the_same_clusters_as_by_comparing_all_pairs(share: float) -> None:
    made = templates(1, share, 400)
    expected = brute_force(made, 0.7)
    assert partition(near.clusters(made)) == expected
    assert 350 < len(expected) <= 400 < len(made)


@given(st.integers(0, 1000), st.sampled_from([0.02, 0.5]), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(seed: int, share: float, rng: random.Random) -> None:
    made = templates(seed, share, 12)
    order = list(range(len(made)))
    rng.shuffle(order)
    labels, moved = near.clusters(made), near.clusters(made[order])
    assert {frozenset(order[i] for i in group) for group in partition(moved)} == partition(labels)
    assert all(label == min(np.flatnonzero(labels == label)) for label in labels)


def test_chains_are_one_cluster() -> None:
    made = np.repeat(signature_pairs(0.0, 1)[:1], 9, axis=0)
    for i in range(1, 9):
        made[i:, 14 * (i - 1) : 14 * i] += 1  # each shares 114 of 128 places with the one before it, 16 with the first
    assert near.clusters(made[[4, 0, 8, 2, 6, 1, 3, 5, 7]]).tolist() == [0] * 9
    assert near.clusters(made[[0, 8]]).tolist() == [0, 1]


def test_a_key_that_all_share_costs_no_square() -> None:
    """20,000 signatures with one band in common are 200 million pairs; a few for each are looked at."""
    made = signature_pairs(0.0, 10_000)
    made[:, :4] = 9
    looked_at = sum(len(a) for a, _ in near._candidates(made.view(np.uint64)[:, 0]))
    assert looked_at <= 2 * len(made)
    assert near.clusters(made).tolist() == list(range(len(made)))


def test_one_stranger_in_a_run_hides_nothing() -> None:
    """Two signatures that share 97 of 128 places, but a single key, and a third that has this key too."""
    keys = np.array([5, 9, 5, 7, 5], dtype=np.uint64)
    pairs = {(int(a), int(b)) for side in near._candidates(keys) for a, b in zip(*side, strict=True)}
    assert pairs == {(0, 2), (0, 4), (2, 4)}
    for seed in range(20):
        made = np.random.default_rng(seed).integers(0, 1 << 16, (3, 128), dtype=np.uint16)
        made[1, :4] = made[0, :4]
        made[2] = made[0]
        made[2, 4::4] += 1
        assert near.clusters(made).tolist() == [0, 1, 0]


def test_equal_is_what_is_equal_in_every_place() -> None:
    """Signatures of the same keys in another order, and such as differ in the last place of some keys only."""
    made = np.repeat(signature_pairs(0.0, 1)[:1], 3000, axis=0)
    assert near.clusters(np.stack([made[0], np.roll(made[0], 4)])).tolist() == [0, 1]
    made[:, 3:80:4] = np.random.default_rng(0).integers(0, 1 << 16, (3000, 20))
    assert near.clusters(made, 0.95).tolist() == list(range(3000))


def test_memory_is_a_few_numbers_a_row(tmp_path: Path) -> None:
    count = 100_000
    made = np.memmap(tmp_path / "s", np.uint16, "w+", shape=(count, 128))
    made[:] = signature_pairs(0.85, count // 2)
    near.clusters(made[:10])
    tracemalloc.start()
    try:
        labels = near.clusters(made)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (labels[1::2] == labels[::2]).mean() > 0.999
    assert peak < 40e6, peak


def test_no_rows_and_one() -> None:
    nothing = near.signatures([])
    assert near.clusters(nothing).tolist() == []
    assert near.clusters(near.signatures(["a"])).tolist() == [0]
    labels, pairs = row_clusters(np.empty(0, dtype=np.int64), nothing, nothing)
    assert (labels.tolist(), pairs.shape) == ([], (0, 2))


@pytest.mark.parametrize("threshold", [0.49, 1.01, float("nan")])
def test_a_threshold_without_sense_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"expected a similarity in \[0.5, 1\]"):
        near.clusters(near.signatures(["a", "b"]), threshold)


# ---- rows


Rows = list[tuple[str, str, str]]  # prompt, chosen, rejected


def row_clusters(prompts: Any, chosen: Any, rejected: Any) -> tuple[Any, Any]:
    """The first row that says what each row says, and pairs of rows that say the opposite (each with the first)."""
    sides = [*zip(*(side.tolist() for side in near.response_clusters(prompts, chosen, rejected)), strict=True)]
    firsts = {said: sides.index(said) for said in sides}
    pairs = {tuple(sorted((i, firsts[(r, c)]))) for i, (c, r) in enumerate(sides) if c != r and (r, c) in firsts}
    return np.array([firsts[said] for said in sides], dtype=int), np.array(sorted(pairs), dtype=int).reshape(-1, 2)


def of_rows(rows: Rows) -> tuple[list[int], list[tuple[int, int]]]:
    prompts, chosen, rejected = (near.signatures(column) for column in zip(*rows, strict=True))
    labels, pairs = row_clusters(near.clusters(prompts), chosen, rejected)
    assert pairs.shape == (len(pairs), 2)
    return labels.tolist(), [(a, b) for a, b in pairs.tolist()]


def row(seed: int) -> tuple[str, str, str]:
    rng = random.Random(seed)
    return sentence(rng, 40), sentence(rng, 40), sentence(rng, 40)


def changed(text: str, seed: int = 0) -> str:
    return replaced(1)(text, random.Random(seed))


def test_rows_that_say_the_same_and_the_opposite() -> None:
    (p, c, r), other = row(0), row(1)
    rows: Rows = [
        other,
        (p, c, r),
        (changed(p), changed(c), changed(r)),  # 2: a near duplicate of 1
        (p, other[1], r),  # 3: another chosen
        (p, c, other[2]),  # 4: another rejected
        (other[0], c, r),  # 5: another prompt
        (changed(p, 1), changed(r), changed(c)),  # 6: prefers the opposite of 1
        (p, r, c),  # 7: so does this; a near duplicate of 6
    ]
    labels, pairs = of_rows(rows)
    assert labels == [0, 1, 1, 3, 4, 5, 6, 6]
    assert pairs == [(1, 6), (1, 7), (2, 6)]


def test_either_side_may_be_changed() -> None:
    p, c, r = row(0)
    assert of_rows([(p, c, r), (p, c, changed(r))]) == ([0, 0], [])
    assert of_rows([(p, c, r), (p, changed(c), r)]) == ([0, 0], [])
    assert of_rows([(p, c, r), (p, changed(r), c)]) == ([0, 1], [(0, 1)])


def test_all_pairs_of_seven_responses_are_no_duplicates() -> None:
    rng = random.Random(0)
    rows: Rows = []
    for _ in range(20):
        prompt, ranked = sentence(rng, 30), [sentence(rng, 50) for _ in range(7)]
        rows += [(prompt, a, b) for a, b in itertools.combinations(ranked, 2)]
    labels, pairs = of_rows(rows)
    assert labels == list(range(420))
    assert pairs == []


def test_a_refusal_of_many_prompts_makes_no_duplicates() -> None:
    rng = random.Random(0)
    no = "I am sorry, but I cannot help you with that request."
    rows: Rows = [(sentence(rng, 20), no, "Sure, here it is.") for _ in range(300)]
    assert of_rows(rows) == (list(range(300)), [])


def test_responses_that_are_alike_contradict_nothing() -> None:
    p, c, _ = row(0)
    labels, pairs = of_rows([(p, c, changed(c)), (p, changed(c), c), (p, c, c)])
    assert labels == [0, 0, 0]
    assert pairs == []


def test_thousands_of_rows_with_one_prompt() -> None:
    made = signature_pairs(0.0, 6000)
    made[11_999] = made[0]  # row 5999: chosen and rejected exchanged with row 0, whose rejected it has as chosen
    made[5999] = made[6000]
    labels, pairs = row_clusters(np.zeros(6000, dtype=np.int64), made[:6000], made[6000:])
    assert labels.tolist() == list(range(6000))
    assert pairs.tolist() == [[0, 5999]]


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=12))
def test_rows_against_plain_python(rows: list[tuple[int, int, int]]) -> None:
    made = signature_pairs(0.0, 2)[:3]
    prompts, chosen, rejected = np.array(rows).T
    labels, pairs = row_clusters(prompts, made[chosen], made[rejected])
    assert labels.tolist() == [rows.index(one) for one in rows]
    against = {i: rows.index((p, r, c)) for i, (p, c, r) in enumerate(rows) if c != r and (p, r, c) in rows}
    assert {tuple(pair) for pair in pairs.tolist()} == {(min(pair), max(pair)) for pair in against.items()}


# ---- real texts


def real(file: str, column: str) -> list[str]:
    with (Path(DATA or "") / file).open(encoding="utf-8") as lines:
        return sorted({str(json.loads(line)[column]) for line in lines})


@needs_data
@pytest.mark.parametrize("name", CHANGES)
def test_planted_near_duplicates_of_real_texts(name: str) -> None:
    texts = [" ".join(text.split()[:40]) for text in real("ukpconvarg_benign.jsonl", "response_a")]
    texts = [text for text in texts if len(text.split()) == 40]
    found, together = planted(texts, CHANGES[name])
    assert found == len(texts) > 150
    assert together <= 2  # "I think school uniform is a good idea. Because ...", "I take the view that ... Because ..."


@needs_data
@pytest.mark.parametrize(
    ("file", "column", "count"),
    [("rt_polarity.jsonl", "text", 3), ("llmbar.jsonl", "prompt", 0), ("ukpconvarg_benign.jsonl", "response_a", 2)],
)
def test_unrelated_real_texts_are_not_flagged(file: str, column: str, count: int) -> None:
    """What is flagged was read: "a small movie with a big heart" and "... big impact", and the like."""
    texts = real(file, column)
    labels = near.clusters(near.signatures(texts))
    assert int((labels != np.arange(len(texts))).sum()) == count


@needs_data
def test_real_rows() -> None:
    """6,148 pairs of 391 arguments: rows share an argument all the time, and few are the same."""
    with (Path(DATA or "") / "ukpconvarg_benign.jsonl").open(encoding="utf-8") as lines:
        found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    rows: Rows = [(one["prompt"], one["response_a"], one["response_b"]) for one in found]
    labels, _ = of_rows(rows)
    flagged = [(rows[i], rows[label]) for i, label in enumerate(labels) if label != i]
    unequal = [(one, first) for one, first in flagged if one != first]
    assert (len(flagged), len(unequal)) == (117, 19)
    # All 19 have the argument that somebody posted twice, the second time in capitals.
    assert all(any("BOSS(RAFFLES)" in text for text in (*one, *first)) for one, first in unequal)
