"""Which kind of server answers is told by its list of models, and what it is sent follows from that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import Server, completion, here, refused, write_rows

from rlaif.models.servers import kind_of


def listed(owner: Any, model: str = "m", **more: Any) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": model, "owned_by": owner, **more}]}).encode()


@pytest.mark.parametrize(
    ("body", "headers", "name"),
    [
        (listed("vllm"), {}, "vLLM"),
        (listed("llamacpp"), {}, "llama-server"),
        (b"", {"Server": "llama.cpp"}, "llama-server"),
        (listed("me"), {}, "llama-cpp-python"),
        (listed("sglang"), {}, "SGLang"),
        (listed("library"), {}, "Ollama"),
        (listed("local", status={"value": "loaded"}), {"Server": "uvicorn"}, "transformers serve"),
        (listed("local"), {}, None),
        (listed("openai"), {}, None),  # a proxy says so of everything
        (listed("somebody"), {}, None),
        (listed(None), {}, None),
        (listed(["vllm"]), {}, None),
        (b'{"data": [{"id": "a", "owned_by": "vllm"}, {"id": "b", "owned_by": "me"}]}', {}, None),
        (b'{"data": [{"id": "m", "owned_by": "vllm"}, {"id": "b", "owned_by": "me"}]}', {}, "vLLM"),
        (b'{"data": []}', {}, None),
        (b'{"data": {"id": 1}}', {}, None),
        (b"[1]", {}, None),
        (b"[" * 100_000, {}, None),
        (b"\xff", {}, None),
    ],
)
def test_a_server_is_known_by_its_list_of_models(body: bytes, headers: dict[str, str], name: str | None) -> None:
    found = kind_of(headers, body, "m")
    assert (found and found.name) == name


NEUTRAL = {"top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"}


@pytest.mark.parametrize("owner", ["me", "nobody"])
def test_neutral_values_are_sent_where_the_server_is_known_and_the_manifest_says_so(
    owner: str, server: Server, tmp_path: Path
) -> None:
    """What it refuses of them is left out; a policy's own settings win."""
    server.models = json.loads(listed(owner))

    def answer(body: dict[str, Any], number: int) -> Any:
        if "min_p" in body:
            return 400, "Unknown parameter: min_p", {}
        return completion(f"answer {body['seed']}")

    server.answer = answer
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"Question {i}"} for i in range(3)])
    where = ["--policy", "m", "--base_url", server.url, "--output", tmp_path / "out"]
    done = here("sample", "--prompts", prompts, *where, "--top_p", "0.9")
    assert done.returncode == 0, done.stderr
    served = json.loads((tmp_path / "out" / "manifest.json").read_text())["served"]["m"]
    last = server.bodies[-1]
    assert last["top_p"] == 0.9
    if owner == "me":
        assert NEUTRAL - last.keys() == {"min_p"}
        assert (last["top_k"], last["repeat_penalty"]) == (0, 1.0)
        assert served["server"] == "llama-cpp-python"
        assert served["left_out"] == {"min_p": "Unknown parameter: min_p"}
        assert served["neutral"] == {name: last[name] for name in NEUTRAL - {"min_p", "top_p"}} | {"top_p": 1.0}
    else:
        assert not (NEUTRAL - {"top_p"}) & last.keys()
        assert served == {"server": "not known", "keeps": "not known: a server may have sampling settings of its own"}
    asked = len(server.bodies)
    assert here("sample", "--prompts", prompts, *where, "--top_p", "0.9").returncode == 0
    assert len(server.bodies) == asked
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["served"]["m"] == served


def test_what_a_policy_behind_a_proxy_is_told(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: completion(f"answer {body['seed']} {body.get('top_k')}")
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": "Question"}])
    where = ["sample", "--prompts", prompts, "--policy", "m", "--base_url", server.url, "--output", tmp_path / "out"]
    assert here(*where, "--extra_body", '{"top_k": 0, "min_p": 0}').returncode == 0
    assert [(body["top_k"], body["min_p"]) for body in server.bodies] == [(0, 0)] * 2
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["config"]["extra_body"]
    assert here(*where).returncode == 0  # another policy: it is asked anew
    assert [body.get("top_k") for body in server.bodies] == [0, 0, None, None]
    assert "extra_body has 'seed', which each call sets itself" in refused(here(*where, "--extra_body", "{seed: 3}"), 2)
    assert "expected a mapping" in refused(here(*where, "--extra_body", "top_k"), 2)


def test_a_server_that_does_not_sample_is_told_apart_from_alike_answers(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: "always the same" if "never" in str(body["messages"]) else f"answer {number}"

    def sampled(name: str, texts: list[str]) -> Any:
        prompts = write_rows(tmp_path / f"{name}.jsonl", [{"prompt": text} for text in texts])
        where = ["--policy", "m", "--base_url", server.url, "--output", tmp_path / name]
        return here("sample", "--prompts", prompts, *where)

    none = sampled("none", [f"Question {i}: never" for i in range(6)])
    assert none.returncode == 1
    assert "what answers does not sample" in none.stderr
    some = sampled("some", [f"Question {i}: never" for i in range(6)] + ["Question 7"])
    assert some.returncode == 0, some.stderr
    assert "does not sample" not in some.stderr
    report = json.loads((tmp_path / "some" / "report.json").read_text())
    assert (report["alike"], report["duplicates"], report["pairs"]) == (6, 6, 1)


def test_half_an_answer_is_no_response(server: Server, tmp_path: Path) -> None:
    """What a filter stopped, or the server broke off, is left out with its reason; what was cut off is counted."""

    def answer(body: dict[str, Any], number: int) -> Any:
        for words, finish in (("filtered", "content_filter"), ("broken", "error"), ("cut", "length")):
            if words in str(body["messages"]):
                return completion(f"half of it {body['seed']}", finish)
        return completion(f"answer {body['seed']}")

    server.answer = answer
    prompts = write_rows(
        tmp_path / "prompts.jsonl", [{"prompt": word} for word in ("filtered", "broken", "cut", "fine")]
    )
    where = ["--policy", "m", "--base_url", server.url, "--max_retries", 0]
    done = here("sample", "--prompts", prompts, *where, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["failed"], report["cut"], report["pairs"], report["prompts_without_pair"]) == (4, 2, 2, 2)
    assert "2 of 8 responses were cut off at" in done.stderr
    assert sorted(report["failures"].values()) == [2, 2]
    none = write_rows(tmp_path / "none.jsonl", [{"prompt": "filtered"}])
    line = refused(here("sample", "--prompts", none, *where, "--output", tmp_path / "none"), 1)
    assert "failed 2" in line
    assert "Most that failed: stopped by the server's content filter" in line
