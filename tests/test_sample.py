"""Candidate pairs: nothing left out uncounted, sides drawn fairly, and the policy's own distribution sampled."""

from __future__ import annotations

import json
import math
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import (
    ROOT,
    Server,
    byte_tokenizer,
    completion,
    forks,
    here,
    refused,
    rows_of,
    save_model,
    tiny_llama,
    write_rows,
)

from rlaif.commands.sample import SampleConfig, form_pairs, sample
from rlaif.files.store import Store
from rlaif.judging.sampling import Completion, Sampling, complete, completions_of, local_policy
from rlaif.models.drawing import draw, nucleus
from rlaif.models.loading import quiet
from rlaif.models.rendering import Rendering
from rlaif.sandbox import model_path
from rlaif.sandbox import prompts as sandbox_prompts

PROMPTS = [f"Say {i}." + " Please." * (i % 3) for i in range(8)]


def row(text: str | None, complete: bool = True) -> Completion:
    return Completion("0" * 32, text, complete=complete, reason="no text" if text is None else None)


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


def sampling(folder: Path, samples: int = 1, batch_tokens: int = 200, **settings: Any) -> Sampling:
    policy = local_policy(str(folder), batch_tokens=batch_tokens)
    return Sampling(policy, samples, **{"max_new_tokens": 8, **settings})


@pytest.mark.parametrize("kind", ["chat_model", "plain_model"])
def test_greedy_is_the_likeliest_token_each_time(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Against a loop that takes the argmax, one prompt at a time, without padding or cache."""
    folder = request.getfixturevalue(kind)
    greedy = sampling(folder, temperature=0.0)
    policy: Any = greedy.policy
    rendering = Rendering.of(policy.tokenizer)
    rows = complete(greedy, PROMPTS, tmp_path, "sampling")
    for prompt, (found,) in zip(PROMPTS, rows, strict=True):
        ids = rendering.encode_prompt(policy.tokenizer, prompt)
        new: list[int] = []
        while len(new) < 8 and new[-1:] != [258]:
            with torch.no_grad():
                new.append(int(policy.model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert found.tokens == len(new)
        assert found.complete is (new[-1] == 258)
        text = policy.tokenizer.decode([t for t in new if t < 256]).strip()
        assert found.text == text


def test_what_is_sampled_is_the_policys_own_distribution(tmp_path: Path) -> None:
    """A generation_config that narrows it (top-k, repetition penalty, temperature) is not obeyed."""
    from transformers import GenerationConfig

    model = tiny_llama()
    narrow = GenerationConfig(do_sample=True, top_k=1, temperature=0.1, repetition_penalty=3.0, eos_token_id=258)
    model.generation_config = narrow
    folder = save_model(tmp_path / "m", model, byte_tokenizer(chat=True))
    method = sampling(folder, 600, max_new_tokens=1, batch_tokens=100_000)
    wide: Any = method.policy

    def distribution(prompt: str) -> torch.Tensor:
        ids = torch.tensor([Rendering.of(wide.tokenizer).encode_prompt(wide.tokenizer, prompt)])
        with torch.no_grad():
            return wide.model(input_ids=ids).logits[0, -1].softmax(-1)

    # The prompt whose own letter is likeliest to come again, which a penalty on repetition would prevent.
    letters = string.ascii_letters + string.digits
    token = {letter: wide.tokenizer.convert_tokens_to_ids(letter) for letter in letters}
    letter = max(letters, key=lambda c: float(distribution(c * 8)[token[c]]))
    rows = complete(method, [letter * 8], tmp_path / "out", "sampling")[0]
    p = float(distribution(letter * 8)[token[letter]])
    assert p > 0.03
    assert sum(r.text == letter for r in rows) / 600 == pytest.approx(p, abs=4 * (p * (1 - p) / 600) ** 0.5)
    assert len({r.text for r in rows}) > 20


def test_samples_depend_on_the_seed_and_on_nothing_else(chat_model: Path, tmp_path: Path) -> None:
    def texts(out: str, **settings: Any) -> list[list[str | None]]:
        rows = complete(sampling(chat_model, 2, **settings), PROMPTS, tmp_path / out, "sampling")
        return [[r.text for r in each] for each in rows]

    first = texts("a")
    torch.manual_seed(1)
    assert texts("b") == first
    assert texts("c", seed=1) != first
    # A run that was killed after the first batch: what it had stays, and the rest comes out the same.
    whole = sampling(chat_model, 2)
    with Store(tmp_path / "a") as store, Store(tmp_path / "d") as begun:
        batches = whole.policy.plan([whole.call(prompt, number) for prompt in PROMPTS for number in range(2)])
        assert len(batches) > 2
        begun.append([store.get(call.key) or {} for call in batches[0]])
    assert texts("d") == first


def test_what_is_stored_is_read_without_a_model(chat_model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Fewer samples are the first of more; what is missing says so, and nothing is asked."""
    rows = complete(sampling(chat_model, 3), PROMPTS[:4], tmp_path, "sampling")

    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("a policy was loaded")

    monkeypatch.setattr("rlaif.models.local.load_causal_lm", loaded)
    assert list(completions_of(sampling(chat_model, 3), PROMPTS[:4], tmp_path)) == rows
    few = list(completions_of(sampling(chat_model, 2), PROMPTS, tmp_path))
    assert few[:4] == [row[:2] for row in rows]
    assert {(c.text, c.reason) for each in few[4:] for c in each} == {
        (None, "not asked: no reply to this call is stored")
    }
    whole = sampling(chat_model, 3, temperature=1, top_p=1)  # as a YAML file may say it
    assert list(completions_of(whole, PROMPTS[:4], tmp_path)) == rows
    other = completions_of(sampling(chat_model, 1, seed=1), PROMPTS[:4], tmp_path)
    assert all(c.text is None for each in other for c in each)
    assert complete(sampling(chat_model, 3, batch_tokens=999), PROMPTS[:4], tmp_path, "sampling") == rows


def test_a_prompt_too_long_fails_with_its_reason(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", tiny_llama(context=64), byte_tokenizer(chat=False))
    rows = complete(sampling(folder, 2), ["short", "x" * 100_000], tmp_path / "out", "sampling")
    assert [r.text is None for r in rows[1]] == [True, True]
    assert rows[1][0].reason == "the prompt has 100000 tokens; with the response it exceeds 64"
    assert all(r.text is not None for r in rows[0])


def test_a_batch_that_does_not_fit_is_halved(chat_model: Path, tmp_path: Path) -> None:
    method = sampling(chat_model, 2, batch_tokens=100_000)
    small: Any = method.policy
    inner, sizes = small.model.generate, []

    def generate(*, input_ids: torch.Tensor, **settings: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 5:
            raise RuntimeError("CUDA out of memory")
        return inner(input_ids=input_ids, **settings)

    small.model.generate = generate
    rows = complete(method, PROMPTS, tmp_path / "halved", "sampling")
    assert sizes[:3] == [16, 8, 4]
    assert all(r.text is not None for each in rows for r in each)
    small.model.generate = inner
    assert complete(method, PROMPTS, tmp_path / "whole", "sampling") == rows  # each response has noise of its own


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
    report = sample(config)
    assert (report["responses"], report["failed"], report["pairs"]) == (32, 4, 7 * 4)
    answered = [body for body in server.bodies if "Say 3." not in body["messages"][-1]["content"]]
    assert report["cut"] == sum(body["seed"] % 2 for body in answered) > 0
    assert {body["top_p"] for body in server.bodies} == {1.0}
    calls = len(server.bodies)
    assert calls == 32
    again = sample(config)  # all of it stored, the refused ones too
    assert len(server.bodies) == calls
    assert {**again, "seconds": 0} == {**report, "seconds": 0}


def test_an_endpoint_is_sent_a_seed_for_each_response(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one seed for all, a server draws the same noise for every prompt. Where it comes back, so do the seeds."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.answer = lambda body, number: f"{body['seed']}"
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])

    def seeds(out: str, **settings: Any) -> set[tuple[str, int]]:
        server.bodies.clear()
        config = {"prompts": str(prompts), "policy": "m", "base_url": server.url, "samples": 3, **settings}
        sample(SampleConfig(output=str(tmp_path / out), **config))
        return {(body["messages"][-1]["content"], body["seed"]) for body in server.bodies}

    first = seeds("a")
    assert len({seed for _, seed in first}) == len(first) == 3 * len(PROMPTS)
    assert all(0 <= seed < 2**31 for _, seed in first)
    assert seeds("b") == first
    assert seeds("b") == set()
    numbers = {seed for _, seed in first}
    for out, change in (("c", {"seed": 1}), ("d", {"policy": "n"}), ("e", {"temperature": 0.5})):
        assert not {seed for _, seed in seeds(out, **change)} & numbers
    assert {seed for _, seed in seeds("f", samples=4)} >= numbers  # more samples: those that were there, and others


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": None}, "prompts, policy and output must be set"),
        ({"samples": 1}, "samples is 1; a pair needs 2 responses"),
        ({"temperature": 0.0}, "samples > 1 at temperature 0"),
        ({"policy_b": "m"}, "policy and policy_b are both 'm'"),
        ({"policy": str(ROOT / "tests"), "policy_b": f"{ROOT}/tests/"}, "policy and policy_b are both"),
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
    rows: list[dict[str, Any]] = [
        {"prompt": prompt, "topic": prompt[:5], "id": at} for at, prompt in enumerate(PROMPTS)
    ]
    rows += [{**rows[1], "id": 99}, {**rows[2], "tools": ["x"]}, rows[2]]  # the first says something else of its prompt
    rows = [{**row, "system": "Be kind."} for row in rows]
    prompts = write_rows(tmp_path / "prompts.jsonl", rows)
    command = ["sample", "--prompts", prompts, "--policy", f"{chat_model}/", "--output", tmp_path / "out"]
    assert f"{prompts}:10: the row has tools" in refused(here(*command))
    assert not (tmp_path / "out").exists()
    command += ["--on_bad_row", "skip"]
    done = here(*command, "--max_new_tokens", 8, "--samples", 3, "--pairs_per_prompt", 2)
    assert done.returncode == 0, done.stderr
    pairs = rows_of(tmp_path / "out" / "pairs.jsonl")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["prompts"], report["responses"], report["pairs"]) == (8, 24, len(pairs))
    assert {pair["model_a"] for pair in pairs} == {str(chat_model)}  # "policy/" is the folder "policy"
    assert [pair["prompt"] for pair in pairs[:1]] == [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": PROMPTS[0]}]
    ]
    known = {pair["prompt"][1]["content"]: (pair["topic"], pair["source_id"]) for pair in pairs}
    assert known == {prompt: (prompt[:5], at) for at, prompt in enumerate(PROMPTS) if prompt in known}
    assert (report["repeated_prompts"], report["repeated_with_other_columns"]) == (2, 1)
    assert report["prompt_rows"] == {"read": 11, "used": 8, "left_out": {"prompt stood before": 2, "bad rows": 1}}
    assert [row["place"] for row in rows_of(tmp_path / "out" / "bad_rows.jsonl")] == [f"{prompts}:10"]
    assert "1 of 2 rows with a prompt that stood before have other columns" in done.stderr
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["command"] == "rlaif sample"

    mixed = write_rows(tmp_path / "mixed.jsonl", [{"prompt": "p"}, {"prompt": [{"role": "user", "content": "q"}]}])
    line = refused(here("sample", "--prompts", mixed, "--policy", chat_model, "--output", tmp_path / "no"))
    assert f"{mixed}:2: the prompt is messages, but the one at {mixed}:1 is a string" in line


@pytest.fixture(autouse=True, scope="module")
def quiet_loading() -> Any:
    with quiet():
        yield


def test_a_response_becomes_the_tokens_that_were_sampled(tmp_path: Path) -> None:
    """Without a chat template a reply starts with a space; stripped, it would be trained on as other tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path("policy"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "plain")
    AutoModelForCausalLM.from_pretrained(model_path("policy")).save_pretrained(tmp_path / "plain")
    rendering = Rendering.of(tokenizer)
    assert rendering.kind == "plain"
    asked = sandbox_prompts(30, seed=5)
    method = sampling(tmp_path / "plain", max_new_tokens=16, batch_tokens=32768)
    rows = [row for (row,) in complete(method, asked, tmp_path / "run", "sampling")]
    assert any((row.text or "").startswith(" ") for row in rows)
    for prompt, row in zip(asked, rows, strict=True):
        assert row.text is not None
        assert row.tokens is not None
        encoded = rendering.encode(tokenizer, prompt, row.text)
        # A response that was cut gets the EOS that it lacks.
        assert len(encoded.response_ids) == row.tokens + (not row.complete)


# Noise of its own -----------------------------------------------------------------------------------------------------


def test_batches_and_processes_change_no_response(tmp_path: Path) -> None:
    """Padding changes probabilities in the last digit, and a token only where its number falls just there."""
    asked = sandbox_prompts(20, seed=11)
    path = write_rows(tmp_path / "prompts.jsonl", [{"prompt": prompt} for prompt in asked])
    policy = model_path("policy")

    def texts(folder: str) -> list[str | None]:
        rows = completions_of(sampling(policy, 2, max_new_tokens=24), asked, tmp_path / folder)
        return [c.text for each in rows for c in each]

    for folder, tokens in (("one", 32768), ("small", 150)):
        complete(sampling(policy, 2, tokens, max_new_tokens=24), asked, tmp_path / folder, "sampling")
    command = ["sample", "--prompts", path, "--policy", policy, "--output", tmp_path / "two", "--max_new_tokens", 24]
    for process in forks.side_by_side(*command):
        assert process.returncode == 0, process.stderr
    # Both took part, each with a file of its own, and nothing was asked twice.
    files = [[row["key"] for row in rows_of(path) if "key" in row] for path in (tmp_path / "two/replies").iterdir()]
    assert len(files) == 2
    assert min(map(len, files)) > 4
    assert not set(files[0]) & set(files[1])
    one = texts("one")
    assert all(text is not None for text in one)
    assert len(set(one)) > 30
    for folder in ("small", "two"):
        differ = sum(a != b for a, b in zip(one, texts(folder), strict=True))
        print(f"{folder}: {differ} of {len(one)} responses differ")
        assert differ <= 1


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.7, 0.95, 1.0])
def test_the_nucleus_is_that_of_transformers(top_p: float) -> None:
    from transformers import TopPLogitsWarper

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 50, generator=generator, dtype=torch.float64) * 3
    p = logits.softmax(-1)
    kept = nucleus(p, top_p) > 0
    theirs = TopPLogitsWarper(top_p)(None, logits) > -torch.inf if top_p < 1.0 else torch.ones_like(kept)
    assert torch.equal(kept, theirs)
    assert torch.equal(nucleus(p, top_p)[kept], p[kept])
    assert bool(kept.any(-1).all())


def test_of_equal_tokens_the_nucleus_keeps_the_first_that_fill_it() -> None:
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.1, 0.6, 0.1, 0.2]], dtype=torch.float64)
    assert nucleus(p, 0.5).tolist() == [[0.25, 0.25, 0.0, 0.0], [0.0, 0.6, 0.0, 0.0]]
    assert nucleus(p, 0.51).tolist() == [[0.25, 0.25, 0.25, 0.0], [0.0, 0.6, 0.0, 0.0]]
    assert nucleus(p, 1e-9).tolist() == [[0.25, 0.0, 0.0, 0.0], [0.0, 0.6, 0.0, 0.0]]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.8), (1.0, 0.3)])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float, top_p: float) -> None:
    """Evenly spaced numbers: each token has its share of them but for the two at its borders."""
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, -3.0, 1.5])
    p = nucleus((logits.double() / temperature).softmax(-1)[None], top_p)[0]
    n = 20_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    drawn = draw(logits.expand(n, -1), u, temperature, top_p)
    share = torch.bincount(drawn, minlength=6).double() / n
    assert torch.allclose(share, p / p.sum(), atol=1.01 / n)
    assert torch.equal(drawn, drawn.sort().values)  # by inversion, in the vocabulary's order


def test_a_rows_draw_is_its_own() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(40, 30, generator=generator) * 4
    u = torch.rand(40, generator=generator, dtype=torch.float64)
    together = draw(logits, u, 0.9, 0.9)
    assert len(set(together.tolist())) > 10
    alone = [int(draw(logits[i : i + 1], u[i : i + 1], 0.9, 0.9)) for i in range(40)]
    assert together.tolist() == alone
    order = torch.randperm(40, generator=generator)
    assert torch.equal(draw(logits[order], u[order], 0.9, 0.9), together[order])


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True), st.data())
def test_a_token_without_probability_is_never_drawn(logits: list[float], u: float, data: st.DataObject) -> None:
    """Masked tokens, at either end of the vocabulary, and numbers next to 0 and 1."""
    masked = data.draw(st.sets(st.integers(0, len(logits) - 1), max_size=len(logits) - 1))
    values = [-math.inf if i in masked else logit for i, logit in enumerate(logits)]
    top_p = data.draw(st.sampled_from([0.1, 0.5, 1.0]))
    for number in (u, 0.0, math.nextafter(1.0, 0.0)):
        token = int(draw(torch.tensor([values]), torch.tensor([number], dtype=torch.float64), 1.0, top_p))
        assert token not in masked


def test_a_prompt_that_the_template_refuses_is_not_counted_as_used(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(chat=True)
    refuses = "{% for m in messages if m['content'] == 'Bad.' %}{{ raise_exception('no') }}{% endfor %}"
    tokenizer.chat_template = refuses + tokenizer.chat_template
    policy = save_model(tmp_path / "policy", tiny_llama(), tokenizer)
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": prompt} for prompt in ("Good?", "Bad.", "Well?")])
    words = ["--prompts", prompts, "--policy", policy, "--output", tmp_path / "out", "--max_new_tokens", 8]
    done = here("sample", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["prompt_rows"] == {"read": 3, "used": 2, "left_out": {"refused by the chat template": 1}}
    assert (report["refused"], report["unanswered"]) == (1, 0)
