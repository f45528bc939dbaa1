"""Candidate pairs: nothing left out uncounted, sides drawn fairly, and the policy's own distribution sampled."""

from __future__ import annotations

import json
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import Server, byte_tokenizer, completion, refused, rlaif, rows_of, save_model, tiny_llama, write_rows

from rlaif.commands.sample import SampleConfig, form_pairs, sample
from rlaif.files.store import Store
from rlaif.judging.sampling import LocalPolicy, complete
from rlaif.models.loading import quiet

PROMPTS = [f"Say {i}." + " Please." * (i % 3) for i in range(8)]


def row(text: str | None, complete: bool = True) -> dict[str, Any]:
    return {"text": text, "complete": complete}


def test_by_hand() -> None:
    rows = [[row("x"), row("x"), row(""), row(None), row("y", complete=False)], [row("x"), row("x")]]
    pairs, counts = form_pairs(["p", "q"], {"m": rows}, 5, seed=0)
    assert [(p.prompt, p.response_a, p.response_b, p.model_a, p.model_b) for p in pairs] == [("p", "x", "y", "m", "m")]
    assert (counts.prompts, counts.responses, counts.pairs, counts.prompts_without_pair) == (2, 7, 1, 1)
    assert (counts.duplicates, counts.empty, counts.failed, counts.cut) == (2, 1, 1, 1)


TEXTS = st.lists(st.sampled_from(["x", "y", "z", "", None]), min_size=3, max_size=3)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=10), st.booleans(), st.integers(1, 4))
def test_pairs_differ_and_everything_is_counted(
    answers: list[tuple[list[str | None], list[str | None]]], two: bool, per_prompt: int
) -> None:
    prompts = [f"p{i}" for i in range(len(answers))]
    by_policy = {"m": [[row(t) for t in first] for first, _ in answers]}
    if two:
        by_policy["n"] = [[row(t) for t in second] for _, second in answers]
    pairs, counts = form_pairs(prompts, by_policy, per_prompt, seed=0)
    kept = {policy: sum(len(texts) for texts in rows) for policy, rows in by_policy.items()}
    assert counts.responses == sum(kept.values())
    assert counts.pairs == len(pairs)
    assert len({pair.prompt for pair in pairs}) + counts.prompts_without_pair == len(prompts)
    assert max(Counter(pair.prompt for pair in pairs).values(), default=0) <= per_prompt
    for pair in pairs:
        assert pair.problem() is None
        assert {pair.model_a, pair.model_b} == ({"m", "n"} if two else {"m"})
    assert len({(p.prompt, frozenset((p.response_a, p.response_b))) for p in pairs}) == len(pairs)


def test_a_side_says_nothing_about_the_policy() -> None:
    prompts = [f"p{i}" for i in range(400)]
    pairs, _ = form_pairs(prompts, {"m": [[row("x")]] * 400, "n": [[row("y")]] * 400}, 1, seed=0)
    assert 150 < sum(pair.model_a == "m" for pair in pairs) < 250
    again, _ = form_pairs(prompts[::-1], {"m": [[row("x")]] * 400, "n": [[row("y")]] * 400}, 1, seed=0)
    assert {p.prompt: p.model_a for p in again} == {p.prompt: p.model_a for p in pairs}  # by the prompt alone
    other, _ = form_pairs(prompts, {"m": [[row("x")]] * 400, "n": [[row("y")]] * 400}, 1, seed=1)
    assert other != pairs


def policy(folder: Path, **settings: Any) -> LocalPolicy:
    return LocalPolicy(str(folder), **{"max_new_tokens": 8, "batch_tokens": 200, **settings})


@pytest.mark.parametrize("kind", ["chat_model", "plain_model"])
def test_greedy_is_the_likeliest_token_each_time(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Against a loop that takes the argmax, one prompt at a time, without padding or cache."""
    folder = request.getfixturevalue(kind)
    greedy = policy(folder, temperature=0.0)
    rows = complete(greedy, PROMPTS, 1, tmp_path, "sampling")
    for prompt, (found,) in zip(PROMPTS, rows, strict=True):
        ids = greedy.rendering.encode_prompt(greedy.tokenizer, prompt)
        new: list[int] = []
        while len(new) < 8 and new[-1:] != [258]:
            with torch.no_grad():
                new.append(int(greedy.model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert found["tokens"] == len(new)
        assert found["complete"] is (new[-1] == 258)
        text = greedy.tokenizer.decode([t for t in new if t < 256]).strip()
        assert found["text"] == text


def test_what_is_sampled_is_the_policys_own_distribution(tmp_path: Path) -> None:
    """A generation_config that narrows it (top-k, repetition penalty, temperature) is not obeyed."""
    from transformers import GenerationConfig

    model = tiny_llama()
    narrow = GenerationConfig(do_sample=True, top_k=1, temperature=0.1, repetition_penalty=3.0, eos_token_id=258)
    model.generation_config = narrow
    folder = save_model(tmp_path / "m", model, byte_tokenizer(chat=True))
    wide = policy(folder, max_new_tokens=1, batch_tokens=100_000)

    def distribution(prompt: str) -> torch.Tensor:
        ids = torch.tensor([wide.rendering.encode_prompt(wide.tokenizer, prompt)])
        with torch.no_grad():
            return wide.model(input_ids=ids).logits[0, -1].softmax(-1)

    # The prompt whose own letter is likeliest to come again, which a penalty on repetition would prevent.
    letters = string.ascii_letters + string.digits
    token = {letter: wide.tokenizer.convert_tokens_to_ids(letter) for letter in letters}
    letter = max(letters, key=lambda c: float(distribution(c * 8)[token[c]]))
    rows = complete(wide, [letter * 8], 600, tmp_path / "out", "sampling")[0]
    p = float(distribution(letter * 8)[token[letter]])
    assert p > 0.03
    assert sum(r["text"] == letter for r in rows) / 600 == pytest.approx(p, abs=4 * (p * (1 - p) / 600) ** 0.5)
    assert len({r["text"] for r in rows}) > 20


def test_samples_depend_on_the_seed_and_on_nothing_else(chat_model: Path, tmp_path: Path) -> None:
    def texts(out: str, **settings: Any) -> list[list[str]]:
        rows = complete(policy(chat_model, **settings), PROMPTS, 2, tmp_path / out, "sampling")
        return [[r["text"] for r in each] for each in rows]

    first = texts("a")
    torch.manual_seed(1)
    assert texts("b") == first
    assert texts("c", seed=1) != first
    # A run that was killed after the first batch: what it had stays, and the rest comes out the same.
    whole = policy(chat_model)
    with Store(tmp_path / "a", "completions") as store, Store(tmp_path / "d", "completions") as begun:
        from rlaif.judging.sampling import Completion
        from rlaif.records import content_hash

        work = [
            Completion(content_hash(whole.parameters, prompt, number), prompt, whole.name, number)
            for prompt in PROMPTS
            for number in range(2)
        ]
        batches = whole.plan(work)
        assert len(batches) > 2
        begun.append([store.rows[item.key] for item in batches[0]])
    assert texts("d") == first


def test_a_prompt_too_long_fails_with_its_reason(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", tiny_llama(context=64), byte_tokenizer(chat=False))
    rows = complete(policy(folder), ["short", "x" * 100_000], 2, tmp_path / "out", "sampling")
    assert [r["text"] is None for r in rows[1]] == [True, True]
    assert rows[1][0]["reason"] == "the prompt has 100000 tokens; with the response it exceeds 64"
    assert all(r["text"] is not None for r in rows[0])


def test_a_batch_that_does_not_fit_is_halved(chat_model: Path, tmp_path: Path) -> None:
    small = policy(chat_model, batch_tokens=100_000)
    inner, sizes = small.model.generate, []

    def generate(*, input_ids: torch.Tensor, **settings: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 5:
            raise RuntimeError("CUDA out of memory")
        return inner(input_ids=input_ids, **settings)

    small.model.generate = generate
    rows = complete(small, PROMPTS, 2, tmp_path, "sampling")
    assert sizes[:3] == [16, 8, 4]
    assert all(r["text"] is not None for each in rows for r in each)


def test_an_endpoint_is_a_policy(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def answer(body: dict[str, Any], number: int) -> Any:
        if "Say 3." in body["messages"][-1]["content"]:
            return 400, "maximum context length is 8", {}
        return completion(f"{body['model']} {body['seed']}", "length" if body["seed"] % 2 else "stop")

    server.answer = answer
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    config = SampleConfig(
        str(prompts), "m", "n", str(tmp_path / "out"), base_url=server.url, samples=2, pairs_per_prompt=9, seed=4
    )
    counts = sample(config)
    assert (counts.responses, counts.failed, counts.cut, counts.pairs) == (32, 4, 14, 7 * 4)
    assert {body["top_p"] for body in server.bodies} == {1.0}
    assert sorted({body["seed"] for body in server.bodies}) == [400012, 400013]
    calls = len(server.bodies)
    assert sample(config) == counts  # all of it stored, the refused ones too
    assert len(server.bodies) == calls


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": None}, "prompts, policy and output must be set"),
        ({"samples": 1}, "samples is 1; a pair needs 2 responses"),
        ({"temperature": 0.0}, "samples > 1 at temperature 0"),
        ({"policy_b": "m"}, "policy and policy_b are both 'm'"),
        ({"limit": 0}, "limit is 0"),
        ({"pairs_per_prompt": 0}, "pairs_per_prompt is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": "p"}])
    with pytest.raises(ValueError, match=message):
        sample(SampleConfig(**{"prompts": str(prompts), "policy": "m", "output": str(tmp_path / "out"), **settings}))
    assert not (tmp_path / "out").exists()


def test_the_real_program(chat_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": prompt}]} for prompt in [*PROMPTS, PROMPTS[0]]]
    prompts = write_rows(tmp_path / "prompts.jsonl", rows)
    command = ["sample", "--prompts", prompts, "--policy", chat_model, "--output", tmp_path / "out"]
    done = rlaif(*command, "--max_new_tokens", 8, "--samples", 3, "--pairs_per_prompt", 2)
    assert done.returncode == 0, done.stderr
    pairs = rows_of(tmp_path / "out" / "pairs.jsonl")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["prompts"], report["responses"], report["pairs"]) == (8, 24, len(pairs))
    assert {pair["model_a"] for pair in pairs} == {str(chat_model)}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["command"] == "rlaif sample"

    mixed = write_rows(tmp_path / "mixed.jsonl", [{"prompt": "p"}, {"prompt": [{"role": "user", "content": "q"}]}])
    line = refused(rlaif("sample", "--prompts", mixed, "--policy", chat_model, "--output", tmp_path / "no"))
    assert f"the prompt at {mixed}:2 is messages, but the one at {mixed}:1 is a string" in line


@pytest.fixture(autouse=True, scope="module")
def quiet_loading() -> Any:
    with quiet():
        yield


def test_a_response_becomes_the_tokens_that_were_sampled(tmp_path: Path) -> None:
    """Without a chat template a reply starts with a space; stripped, it would be trained on as other tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlaif.sandbox import model_path, prompts

    tokenizer = AutoTokenizer.from_pretrained(model_path("policy"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "plain")
    AutoModelForCausalLM.from_pretrained(model_path("policy")).save_pretrained(tmp_path / "plain")
    policy = LocalPolicy(str(tmp_path / "plain"), max_new_tokens=16)
    assert policy.rendering.kind == "plain"
    asked = prompts(30, seed=5)
    rows = [row for (row,) in complete(policy, asked, 1, tmp_path / "run", "sampling")]
    assert any(row["text"].startswith(" ") for row in rows)
    for prompt, row in zip(asked, rows, strict=True):
        encoded = policy.rendering.encode(policy.tokenizer, prompt, row["text"])
        # A response that was cut gets the EOS that it lacks.
        assert len(encoded.response_ids) == row["tokens"] + (not row["complete"])
