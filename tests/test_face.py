"""`import rlaif` in a script and in a notebook cell: the README's lines, dicts as pairs, kept and in memory."""

from __future__ import annotations

import functools
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, Server, completion, forks, rlaif_env, rows_of, some_pairs, write_rows
from support.files import content

import rlaif
from rlaif.files.pairs import pair_of
from rlaif.files.sources import fingerprint

PAIRS = [{**row, "id": f"p{i}", "subset": i % 2} for i, row in enumerate(some_pairs(8))]


def longer(prompt: Any, first: str, second: str) -> float:
    return 0.9 if len(first) > len(second) else 0.1


def test_importing_it_loads_nothing() -> None:
    watch = (
        "import sys, rlaif; assert rlaif.__version__; assert 'judge' in dir(rlaif)\n"
        "print([name for name in ('numpy', 'torch', 'trl', 'pyarrow', 'aiohttp', 'rlaif.face') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, env=rlaif_env())
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = rlaif.nothing
    for name in rlaif.__all__:
        assert getattr(rlaif, name) is not None


def test_in_memory_and_kept_are_the_same(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "pairs.jsonl", PAIRS)
    memory = rlaif.judge(PAIRS, longer, by="subset")
    kept = rlaif.judge(PAIRS, longer, store=tmp_path / "kept", by="subset")
    read = rlaif.judge(source, longer, store=tmp_path / "read")
    objects = rlaif.judge([pair_of(row) for row in PAIRS], longer)
    assert list(memory) == list(kept) == list(read) == list(objects)
    assert [j.pair.id for j in memory] == [row["id"] for row in PAIRS]
    assert memory[0].pair.extra == {"subset": 0}
    assert (len(kept), kept[3], kept[-1], kept[1:3]) == (8, memory[3], memory[-1], memory[1:3])
    with pytest.raises(IndexError):
        kept[8]
    assert {k: v for k, v in kept.report.items() if k != "seconds"} == memory.report
    assert kept.report["by"]["1"]["pairs"] == 4
    assert repr(memory) == "<8 judgments in memory, 0 unjudged>"
    written = {path.name for path in (tmp_path / "kept").iterdir()}
    assert written == {"judgments.jsonl", "votes.jsonl", "report.json", "manifest.json", "replies"}
    again = rlaif.judge(PAIRS, longer, store=tmp_path / "kept")
    assert (again.report["votes_asked"], again.report["votes_reused"]) == (0, 16)
    # A command goes on where Python was: the same address for the same call.
    rlaif.judge(source, "rlaif.models.function:longer", store=tmp_path / "both")
    command = ["judge", "--pairs", source, "--judge", "rlaif.models.function:longer", "--output", tmp_path / "both"]
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", *map(str, command)], capture_output=True, text=True, env=rlaif_env()
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "both" / "report.json").read_text())["votes_asked"] == 0


def test_a_dataset_from_judgments_kept_or_not(tmp_path: Path) -> None:
    memory = rlaif.judge(PAIRS, longer)
    kept = rlaif.judge(PAIRS, longer, store=tmp_path / "kept")
    for number, judgments in enumerate((memory, kept, list(memory), str(tmp_path / "kept"))):
        report = rlaif.build(judgments, tmp_path / f"{number}", test=0.0, validation=0.0)
        assert report["preferences"] == 8
        rows = rlaif.load_preferences(tmp_path / f"{number}", "train")
        assert list(rows["z"]) == [0.9] * 8
    with pytest.raises(ValueError, match=r"'tests' is not a setting of rlaif\.build"):
        rlaif.build(memory, tmp_path / "x", tests=0.1)


def test_a_function_with_other_captured_values_is_another_judge(tmp_path: Path) -> None:
    def judge_of(p: float) -> Callable[..., float]:
        return lambda prompt, first, second: p

    z = [rlaif.judge(PAIRS[:1], judge_of(p), store=tmp_path)[0].z_ab for p in (0.2, 0.7, 0.2)]
    assert z == [0.2, 0.7, 0.2]
    rows = [row for path in (tmp_path / "replies").glob("*.jsonl") for row in rows_of(path)]
    assert len(rows) == 4  # two judges, two orders; the third time nothing was asked


WEIGHT = 0.25
TABLE: Any = None


def weighs(prompt: Any, first: str, second: str) -> float:
    return WEIGHT if TABLE is None else float(TABLE[0])


def test_what_a_function_uses_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook a constant is changed and the cell is run again."""
    import numpy as np

    def z() -> float | None:
        return rlaif.judge(PAIRS[:1], weighs, store=tmp_path)[0].z_ab

    assert z() == 0.25
    monkeypatch.setattr(f"{__name__}.WEIGHT", 0.75)
    assert z() == 0.75
    for first in (0.1, 0.2):  # arrays whose repr is the same
        table = np.full(2000, 0.5)
        table[0] = first
        monkeypatch.setattr(f"{__name__}.TABLE", table)
        assert z() == first
    assert rlaif.judge(PAIRS[:1], weighs, store=tmp_path).report["votes_asked"] == 0


class Scorer:
    """A judge with a state."""

    __slots__ = ("p",)

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, prompt: Any, first: str, second: str) -> float:
        return self.p

    def score(self, prompt: Any, first: str, second: str) -> float:
        return self.p


def weigh(p: float, prompt: Any, first: str, second: str) -> float:
    return p


def inverted(function: Callable[..., float]) -> Callable[..., float]:
    @functools.wraps(function)
    def inner(*args: Any) -> float:
        return round(1.0 - function(*args), 6)

    return inner


low, high = (lambda prompt, first, second: 0.1), (lambda prompt, first, second: 0.9)
JUDGES: dict[str, list[Callable[..., float]]] = {
    "an object": [Scorer(0.9), Scorer(0.1)],
    "its method": [Scorer(0.9).score, Scorer(0.1).score],
    "a partial": [functools.partial(weigh, 0.9), functools.partial(weigh, 0.1)],
    "two on one line": [high, low],
    "a wrapper": [high, inverted(high)],
}


@pytest.mark.parametrize("kind", JUDGES)
def test_judges_that_say_something_else_are_two(kind: str, tmp_path: Path) -> None:
    judges = JUDGES[kind]
    assert [rlaif.judge(PAIRS[:1], judge, store=tmp_path)[0].z_ab for judge in judges] == [0.9, 0.1]
    assert [rlaif.judge(PAIRS[:1], judge, store=tmp_path).report["votes_asked"] for judge in judges] == [0, 0]


def test_a_function_changes_nothing_but_its_own_copies_and_ends_nothing() -> None:
    def meddles(prompt: Any, first: str, second: str) -> float:
        prompt.append({"role": "user", "content": "Forged."})
        prompt[0]["content"] = "changed"
        if first == "b":
            sys.exit(0)
        return 0.7

    pair = {"prompt": [{"role": "user", "content": "p"}], "response_a": "a", "response_b": "b"}
    (judgment,) = rlaif.judge([pair], meddles)
    assert judgment.pair.prompt == [{"role": "user", "content": "p"}]
    assert (judgment.z, judgment.z_ab, judgment.reason) == (None, 0.7, "order ba: SystemExit: 0")


def test_one_judge_in_two_threads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.latency = 0.02
    judge = rlaif.load_judge("m", base_url=server.url, template="compact")
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda pairs: [j.z for j in rlaif.judge(pairs, judge)], (PAIRS[:4], PAIRS[4:])))
    assert both == [[0.5] * 4, [0.5] * 4]


def test_a_function_that_cannot_be_known_again_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = object()

    def asks(prompt: Any, first: str, second: str) -> float:
        return 0.5 if client else 0.0

    rlaif.judge(PAIRS[:1], asks)
    assert "warning" not in capsys.readouterr().err
    rlaif.judge(PAIRS[:1], asks, store=tmp_path / "a")
    assert "uses `client` (object), whose value cannot be known again" in capsys.readouterr().err
    for asked in (2, 0):
        named = rlaif.load_judge(asks, served_as="coin-v1")
        assert rlaif.judge(PAIRS[:1], named, store=tmp_path / "b").report["votes_asked"] == asked
    assert "warning" not in capsys.readouterr().err


def test_kept_judgments_stay_what_they_were(tmp_path: Path) -> None:
    before = rlaif.judge(PAIRS[:4], longer, store=tmp_path)
    ids = [judgment.pair.id for judgment in before]
    after = rlaif.judge(PAIRS[4:], longer, store=tmp_path)
    assert [judgment.pair.id for judgment in before] == ids
    assert before[3].pair.id == ids[3] != after[3].pair.id


def test_a_folder_of_an_earlier_version_is_not_paid_for_again(tmp_path: Path) -> None:
    for name in ("votes", "ratings", "completions"):
        write_rows(tmp_path / name / name / "a.jsonl", [{"key": "0" * 32}])
        with pytest.raises(ValueError, match=f"holds {name} of an earlier version"):
            rlaif.judge(PAIRS, longer, store=tmp_path / name)
        with pytest.raises(ValueError, match="expected a new folder"):
            rlaif.rate([("p", "r")], lambda prompt, response: 1, store=tmp_path / name)


TWO_PROCESSES = """
import json, sys
import rlaif
from rlaif.files.pairs import pair_of
from rlaif.models.parallel import process_index

pairs = [{"id": str(i), "prompt": f"p{i}", "response_a": "a" * (i % 5 + 1), "response_b": "bbb"} for i in range(39)]

def longer(prompt, first, second):
    return 0.9 if len(first) > len(second) else 0.1

memory = rlaif.judge(pairs, longer)
kept = rlaif.judge(pairs, longer, store=sys.argv[1])
report = rlaif.build(kept, sys.argv[1] + "/preferences", test=0.0, validation=0.0)
ratings = rlaif.rate([("p", "r" * (i % 9)) for i in range(40)], lambda prompt, response: len(response))
row = {"memory": [j.z for j in memory], "kept": [j.z for j in kept], "ratings": [r.rating for r in ratings]}
open(f"{sys.argv[1]}-{process_index()}.json", "w").write(json.dumps(row))
"""


def test_every_process_has_every_value(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO_PROCESSES)
    for done in forks.side_by_side(tmp_path / "out", program=tmp_path / "two.py"):
        assert done.returncode == 0, done.stderr
    rows = [json.loads((tmp_path / f"out-{rank}.json").read_text()) for rank in range(2)]
    assert rows[0] == rows[1]
    assert rows[0]["memory"] == rows[0]["kept"] == [[0.1, 0.1, 0.5, 0.9, 0.9][i % 5] for i in range(39)]
    assert rows[0]["ratings"] == [i % 9 for i in range(40)]
    assert (tmp_path / "out" / "preferences" / "report.json").is_file()


def test_an_async_function_is_a_judge(tmp_path: Path) -> None:
    import asyncio

    flying = peak = 0

    async def slow(prompt: Any, first: str, second: str) -> float:
        nonlocal flying, peak
        flying += 1
        peak = max(peak, flying)
        await asyncio.sleep(0.02)
        flying -= 1
        return longer(prompt, first, second)

    assert [j.z for j in rlaif.judge(PAIRS, slow)] == [j.z for j in rlaif.judge(PAIRS, longer)]
    assert peak == 16


def test_an_endpoint_and_its_settings(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.answer = lambda body, number: completion("1")
    judge = rlaif.load_judge("m", base_url=server.url, template="compact", orders="ab", extra_body={"top_k": 1})
    assert [j.z for j in rlaif.judge(PAIRS[:2], judge)] == [1.0, 1.0]
    assert [body["top_k"] for body in server.bodies] == [1, 1]
    with pytest.raises(ValueError, match="'tempelate' is not a setting of a judge; did you mean 'template'"):
        rlaif.load_judge("m", base_url=server.url, tempelate="compact")


def test_ratings() -> None:
    rows: list[Any] = [("p", "four"), {"prompt": "p", "response": "seven.."}, rlaif.Response("p", "x" * 12)]
    ratings = rlaif.rate(rows, lambda prompt, response: len(response))
    assert [r.rating for r in ratings] == [4.0, 7.0, None]
    assert ratings[2].reason == "the function returned 12.0, not a rating from 0 to 9"
    rater = rlaif.load_rater(lambda prompt, response: len(response), scale="1-20")
    assert rlaif.rate(rows, rater)[2].rating == 12.0
    with pytest.raises(ValueError, match="response 0: the row has no 'response'; expected a prompt"):
        rlaif.rate([{"prompt": "p", "text": "r"}], rater)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([{"prompt": "p", "response_a": "a"}], "pair 0: the row has no 'response_b'; expected a prompt"),
        ([{**PAIRS[0]}, {**PAIRS[1], "id": "p0"}], "pair 1: the id is 'p0', which an earlier one has already"),
        ([{**PAIRS[0], "label": "x"}], "pair 0: label is .x"),
        (["p"], "pair 0: it is a text .'p'.; expected a Pair or a dict"),
    ],
)
def test_pairs_that_are_none(pairs: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rlaif.judge(pairs, longer)


def test_pairs_that_are_none_are_left_out_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [PAIRS[0], {**PAIRS[1], "label": "x"}, PAIRS[2], PAIRS[2]]
    source = write_rows(tmp_path / "pairs.jsonl", rows)
    for pairs, store in ((rows, None), (rows, tmp_path / "kept"), (source, tmp_path / "read"), (source, None)):
        found = rlaif.judge(pairs, longer, store=store, on_bad_row="skip")
        assert [j.pair.id for j in found] == ["p0", "p2"]
        assert found.report["ledger"] == {"read": 4, "used": 2, "left_out": {"bad rows": 2}}
        said = re.findall(r"left out 2 rows .*the first.* (pair 1|.*pairs.jsonl:2): label is", capsys.readouterr().err)
        assert len(said) == 1
    with pytest.raises(ValueError, match="no pair is left; the first bad one: pair 0: label is"):
        rlaif.judge([{**PAIRS[1], "label": "x"}], longer, on_bad_row="skip")


POLICY = str(ROOT / "rlaif" / "sandbox" / "models" / "policy")
ASKED: list[Any] = [
    {"prompt": "I need bread.", "x": 1},
    {"prompt": "I need bread.", "x": 2},
    {"prompt": None},
    "Send oil.",
]


def test_prompts_that_are_none_and_columns_that_are_not_kept_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = rlaif.sample(ASKED, POLICY, on_bad_row="skip", max_new_tokens=8)
    assert {pair.prompt for pair in pairs} <= {"I need bread.", "Send oil."}
    assert all(pair.extra == {"x": 1} for pair in pairs if pair.prompt == "I need bread.")
    said = capsys.readouterr().err
    assert "left out 1 row that cannot be used; the first: prompt 2: prompt is null" in said
    assert "1 of 1 rows with a prompt that stood before have other columns" in said
    with pytest.raises(ValueError, match="prompt 2: prompt is null"):
        rlaif.sample(ASKED, POLICY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "limit is 0; expected at least 1"),
        ({"limit": -1}, "limit is -1; expected at least 1"),
        ({"temperature": "1"}, "temperature is '1'; expected a number"),
        ({"temperature": float("nan")}, "temperature is nan; expected"),
        ({"samples": 2.0}, "samples is 2.0; expected a whole number"),
        ({"samples": True}, "samples is True; expected a whole number"),
        ({"limit": "3"}, "limit is '3'; expected a whole number or None"),
        ({"output": "x"}, "'output' is not a setting of rlaif.sample"),
        ({"temprature": 1.0}, "did you mean 'temperature'"),
        ({"on_bad_row": "jump"}, "on_bad_row is 'jump'; expected one of stop, skip"),
        ({"split": "train"}, "the prompts are in memory"),
    ],
)
def test_settings_of_functions_are_held_to_what_the_command_line_takes(settings: dict[str, Any], message: str) -> None:
    """A negative limit is no slice from the end, and a text no TypeError."""
    with pytest.raises(ValueError, match=message):
        rlaif.sample(["I need bread."], POLICY, **settings)


def test_a_text_is_neither_true_nor_false() -> None:
    with pytest.raises(ValueError, match="retry_unjudged is 'no'; expected True or False"):
        rlaif.judge([], lambda prompt, first, second: 1.0, retry_unjudged="no")


def test_numpys_numbers_are_numbers_and_nan_is_none(tmp_path: Path) -> None:
    import numpy as np

    judged = rlaif.judge(PAIRS, longer)
    assert rlaif.build(judged, tmp_path / "d", test=np.float32(0.0), validation=0, seed=np.int64(1))["preferences"] == 8
    with pytest.raises(ValueError, match=r"test is '0\.1'; expected a number"):
        rlaif.build(judged, tmp_path / "text", test="0.1")
    with pytest.raises(ValueError, match=r"pair 0: k holds nan; expected finite numbers"):
        rlaif.judge([rlaif.Pair("p", "a", "b", extra={"k": float("nan")})], longer)


def test_prompts_of_two_kinds_are_refused_in_memory_too() -> None:
    messages = [{"role": "user", "content": "p"}]
    with pytest.raises(ValueError, match="pair 1: the prompt is messages, but the one at pair 0 is a string"):
        rlaif.judge([PAIRS[0], {**PAIRS[1], "prompt": messages}], longer)
    with pytest.raises(ValueError, match="response 1: the prompt is a string, but the one at response 0 is messages"):
        rlaif.rate([(messages, "r"), ("p", "r")], lambda prompt, response: 1)
    with pytest.raises(ValueError, match="prompt 1: the prompt is messages"):
        rlaif.sample(["p", messages], POLICY)


def test_judgments_in_memory_take_the_place_of_a_dataset_only_when_all_is_built(tmp_path: Path) -> None:
    """What cannot be built leaves the older dataset and its judgments as they were."""
    rlaif.build(rlaif.judge(PAIRS, longer), tmp_path / "d", test=0.0, validation=0.0)
    before = content(tmp_path / "d")
    with pytest.raises(ValueError, match=r"no preference is left of 2 judgments \(2 tie\); nothing written"):
        rlaif.build(rlaif.judge(PAIRS[:2], lambda prompt, first, second: 0.5), tmp_path / "d")
    with pytest.raises(ValueError, match="judgment 1 is a mapping"):
        rlaif.build([rlaif.judge(PAIRS[:1], longer)[0], {"z": 0.5}], tmp_path / "d")  # type: ignore[list-item]
    assert content(tmp_path / "d") == before
    kept = tmp_path / "d" / "judgments.jsonl"
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["inputs"] == {str(kept): fingerprint(kept)}
    assert manifest["config"]["judgments"] == str(kept)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda given: rlaif.judge(given, longer), "pairs"),
        (lambda given: rlaif.rate(given, longer), "responses"),
        (lambda given: rlaif.sample(given, POLICY), "prompts"),
        (lambda given: rlaif.build(given, "nowhere"), "judgments"),
    ],
    ids=["judge", "rate", "sample", "build"],
)
def test_one_row_or_none_is_not_a_list_of_them(call: Callable[[Any], Any], message: str) -> None:
    """The keys of a single row are no rows."""
    for given in (None, {"prompt": "p"}, 3):
        with pytest.raises(ValueError, match=f"got (nothing|a mapping|a number) .*; expected .*{message}"):
            call(given)


def readme_lines() -> str:
    """The Python at the top of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split("```python\n", 1)[1].split("```", 1)[0]


@pytest.fixture
def quickstart_reward_model(tmp_path: Path, plain_model: Path) -> Path:
    """A reward model where the README's lines look for one."""
    from support import byte_tokenizer, save_model
    from support.models import SCORING, tiny

    from rlaif.models.rendering import Rendering
    from rlaif.models.reward_model import RewardModelCard

    folder = tmp_path / "runs" / "quickstart" / "reward_model"
    tokenizer = byte_tokenizer(chat=False)
    save_model(folder, tiny(SCORING, vocab_size=259, num_labels=1, pad_token_id=256), tokenizer)
    RewardModelCard(Rendering.of(tokenizer).row(), 512, "none", zero=0.0).write(folder)
    (tmp_path / "rlaif").symlink_to(ROOT / "rlaif")
    return tmp_path


def test_the_readmes_lines_in_a_script(
    quickstart_reward_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That they need nothing loaded before is seen in the kernel below, which is a process of its own."""
    script = quickstart_reward_model / "script.py"
    script.write_text(readme_lines(), encoding="utf-8")
    monkeypatch.chdir(quickstart_reward_model)
    runpy.run_path(str(script), run_name="__main__")
    assert "z" in capsys.readouterr().out
    assert (quickstart_reward_model / "runs" / "first" / "votes.jsonl").is_file()


def test_the_readmes_lines_in_a_notebook_cell(quickstart_reward_model: Path) -> None:
    """A real kernel, whose event loop is running while the cell does."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable  # type: ignore[union-attr]
    manager.start_kernel(cwd=str(quickstart_reward_model), env=rlaif_env(PYTHONPATH=str(ROOT)))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        asynchronous = (
            "import asyncio; assert asyncio.get_running_loop().is_running()\n"
            "async def fair(prompt, first, second):\n    await asyncio.sleep(0.01); return 0.5\n"
            "assert rlaif.judge(pairs, fair)[0].z == 0.5"
        )
        for code in (readme_lines(), asynchronous):
            reply = client.execute_interactive(code, timeout=100, output_hook=lambda message: None)
            assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
