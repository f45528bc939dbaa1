"""Policies of `rlaif evaluate` that are no local model: endpoints over HTTP, and responses that are there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Server, completion, rows_of, write_rows
from support.evaluation import PROMPTS, config_of, count_soap, make_world, not_drawn

from rlaif.commands.evaluate import evaluate
from rlaif.records import Prompt

SUPPORT = "support.evaluation"
FEW = PROMPTS[:6]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the plots only the files are there."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", not_drawn)


def run(world: Path, folder: Path, policies: list[str], **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    prompts = write_rows(folder / "few.jsonl", [{"prompt": prompt} for prompt in FEW])
    report = evaluate(config_of(world, folder / "out", policies=policies, **{"prompts": str(prompts), **changes}))
    return report, rows_of(folder / "out/responses.jsonl")


def policy_yaml(folder: Path, server: Server, **more: Any) -> str:
    path = folder / "policy.yaml"
    path.write_text(json.dumps({"name": "m", "base_url": server.url, **more}))  # JSON is YAML
    return str(path)


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def soap(body: dict[str, Any], number: int) -> dict[str, Any]:
    return completion("soap " * (1 + asked(body).count("soap")), "length" if asked(body) == FEW[1] else "stop")


# ----------------------------------------------------------------------------------------------------------- endpoints


def test_an_endpoint_stands_beside_a_local_policy(world: Path, tmp_path: Path, server: Server) -> None:
    server.answer = soap
    policy = policy_yaml(tmp_path, server, extra_body={"top_k": 0}, served_as="somewhere")
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap"}
    report, rows = run(world, tmp_path, [f"sft={world}/sft", f"api={policy}"], reward_model=f"{world}/rm", **judge)
    row = report["policies"]["api"]
    assert (row["path"], row["kind"], row["model"]) == (policy, "endpoint", "m")
    mine = [found for found in rows if found["policy"] == "api"]
    assert [found["prompt"] for found in mine] == FEW
    assert all(found["gold"] == 1 + found["prompt"].count("soap") for found in mine)
    assert row["gold_reward"] == pytest.approx(np.mean([found["gold"] for found in mine]))
    # What an endpoint does not tell is nothing: no number, and a reason.
    assert {"kl", "length"}.isdisjoint(row)
    assert "an endpoint does not tell" in row["kl_missing"]
    assert [found["tokens"] for found in mine] == [found["kl"] for found in mine] == [None] * 6
    assert row["characters"] == np.mean([len(found["response"]) for found in mine])
    assert [found["ended"] for found in mine] == [at != 1 for at in range(6)]
    assert row["no_eos"] == pytest.approx(1 / 6)
    assert row["usage"] == {"calls": 6, "prompt_tokens": 42, "completion_tokens": 6}
    (pair,) = report["comparisons"]
    assert {"kl", "length"}.isdisjoint(pair)
    assert pair["characters"] == pytest.approx(row["characters"] - report["policies"]["sft"]["characters"])
    assert pair["judge"]["judged"] + pair["judge"]["unjudged"] == 6
    # It was asked as everybody is: the settings of the sampling, and what its file says.
    assert {(body["temperature"], body["max_tokens"], body["top_k"], body["model"]) for body in server.bodies} == {
        (1.0, 12, 0, "m")
    }
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["config"]["policy_models"]["api"]["served_as"] == "somewhere"
    assert manifest["inputs"][policy].startswith("sha256:")
    page = (tmp_path / "out/report.md").read_text()
    assert "an endpoint does not tell" in page


def test_a_call_that_fails_leaves_its_prompt_out_for_all_until_it_is_answered(
    world: Path, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = True

    def answer(body: dict[str, Any], number: int) -> Any:
        return (500, "down", {}) if broken and asked(body) == FEW[2] else soap(body, number)

    server.answer = answer
    policies = [f"sft={world}/sft", f"api={policy_yaml(tmp_path, server, max_retries=1)}"]
    report, rows = run(world, tmp_path, policies)
    assert (report["prompts"]["count"], report["prompts"]["failed"]) == (5, 1)
    assert report["ledgers"]["prompts"] == {"read": 6, "used": 5, "left_out": {"call failed": 1}}
    assert FEW[2] not in {row["prompt"] for row in rows}
    said = capsys.readouterr().err
    assert "1 of 6 prompts have no response of api and are left out for all; the first," in said
    assert report["policies"]["api"]["usage"]["calls"] == 7  # the second try of it too
    # The next run pays for that one alone.
    broken, paid = False, len(server.bodies)
    report, _ = run(world, tmp_path, policies)
    assert (report["prompts"]["count"], report["prompts"]["failed"]) == (6, 0)
    assert [asked(body) for body in server.bodies[paid:]] == [FEW[2]]
    before = (tmp_path / "out/responses.jsonl").read_bytes()
    run(world, tmp_path, policies)
    assert len(server.bodies) == paid + 1
    assert (tmp_path / "out/responses.jsonl").read_bytes() == before


def test_an_endpoint_is_not_asked_what_a_local_policy_cannot_answer(
    world: Path, tmp_path: Path, server: Server
) -> None:
    server.answer = soap
    prompts = write_rows(tmp_path / "p.jsonl", [{"prompt": p} for p in (FEW[0], "soap " * 100, FEW[1])])
    policies = [f"api={policy_yaml(tmp_path, server)}", f"sft={world}/sft"]
    report, _ = run(world, tmp_path, policies, prompts=str(prompts))
    assert (report["prompts"]["count"], report["prompts"]["too_long"]) == (2, 1)
    assert sorted(map(asked, server.bodies)) == sorted(FEW[:2])
    assert (report["baseline"], report["reference"]) == ("api", "sft")  # the first that has probabilities
    assert report["policies"]["sft"]["kl"] == 0.0


def test_without_a_local_policy_there_is_no_reference(tmp_path: Path, server: Server, world: Path) -> None:
    server.answer = soap
    ready = write_rows(tmp_path / "ready.jsonl", [{"prompt": p, "response": "soap"} for p in FEW])
    report, _ = run(world, tmp_path, [f"ready={ready}", f"api={policy_yaml(tmp_path, server)}"])
    assert report["reference"] is None
    assert all("kl_missing" in row for row in report["policies"].values())
    assert "Reference of the KL" not in (tmp_path / "out/report.md").read_text()


# --------------------------------------------------------------------------------------------- responses that are there


def test_ready_responses_may_be_the_baseline(world: Path, tmp_path: Path) -> None:
    texts = [f"here is {'soap ' * at}" for at in range(6)]
    rows = [{"prompt": p, "response": text, "id": at} for at, (p, text) in enumerate(zip(FEW, texts, strict=True))]
    ready = write_rows(tmp_path / "ready.jsonl", [*reversed(rows), {"prompt": "another", "response": "x"}])
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap"}
    report, found = run(world, tmp_path, [f"ready={ready}", f"sft={world}/sft"], **judge)
    row = report["policies"]["ready"]
    assert (row["kind"], row["path"], row["win_rate"]) == ("responses", str(ready), 0.5)
    mine = [one for one in found if one["policy"] == "ready"]
    assert [one["response"] for one in mine] == texts
    assert [one["gold"] for one in mine] == [count_soap("", text) for text in texts]
    assert [(one["tokens"], one["ended"], one["kl"]) for one in mine] == [(None, None, None)] * 6
    assert {"length", "no_eos", "kl", "usage"}.isdisjoint(row)
    assert {"length_missing", "no_eos_missing", "kl_missing"} <= set(row)
    assert report["ledgers"]["responses of ready"] == {"read": 7, "used": 6, "left_out": {"prompt not asked": 1}}
    z = [one["z"] for one in found if one["policy"] == "sft" and one.get("z") is not None]
    assert report["policies"]["sft"]["judge"]["judged"] == len(z)


def talk(prompt: str, *before: dict[str, str]) -> Prompt:
    return [*before, {"role": "user", "content": prompt}]


SYSTEM = {"role": "system", "content": "be kind"}
ANSWER = {"role": "assistant", "content": "soap"}
ALPACA = [{"instruction": p, "output": "soap", "generator": "gpt4", "dataset": "helpful_base"} for p in FEW]


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": p, "completion": "soap"} for p in FEW],
        [{"prompt": talk(p), "response": [ANSWER]} for p in FEW],
        [{"messages": [*talk(p), ANSWER]} for p in FEW],
        ALPACA,
        [{"prompt": p, "response": "soap", "completion": "what the prompt's row said"} for p in FEW],
        [{"prompt": p, "response": "soap"} for p in FEW for _ in range(2)],
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "datasets"])
def test_rows_are_read_as_everywhere(world: Path, tmp_path: Path, rows: list[dict[str, Any]], kind: str) -> None:
    import datasets

    path = write_rows(tmp_path / "ready.jsonl", rows)
    if kind == "parquet":
        path = tmp_path / "ready.parquet"
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif kind == "datasets":
        path = tmp_path / "ready"
        datasets.Dataset.from_list(rows).save_to_disk(path)
    report, found = run(world, tmp_path, [f"a={path}"])
    assert [row["response"] for row in found] == ["soap"] * 6
    assert report["policies"]["a"]["kind"] == "responses"


def test_a_prompt_is_the_same_only_behind_the_same_system_turn(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = write_rows(tmp_path / "p.jsonl", [{"prompt": talk(p, SYSTEM)} for p in FEW[:3]])
    rows = [
        {"prompt": talk(FEW[0], SYSTEM), "response": "one"},
        {"system": "be kind", "prompt": FEW[1], "response": "two"},
        {"prompt": talk(FEW[2]), "response": "three"},
    ]
    ready = write_rows(tmp_path / "ready.jsonl", rows)
    report, found = run(world, tmp_path, [f"a={ready}", f"sft={world}/sft"], prompts=str(prompts))
    assert [row["response"] for row in found if row["policy"] == "a"] == ["one", "two"]
    assert report["prompts"]["no_response"] == 1
    assert report["ledgers"]["prompts"]["left_out"] == {"no response in a file": 1}
    said = capsys.readouterr().err
    assert "has no response to 1 of the 3 prompts; 1 of them stand there with another system turn" in said


def test_a_null_is_no_response_and_an_empty_text_is_one(world: Path, tmp_path: Path) -> None:
    rows = [{"prompt": p, "response": {0: None, 1: ""}.get(at, "soap")} for at, p in enumerate(FEW)]
    ready = write_rows(tmp_path / "ready.jsonl", rows)
    report, found = run(world, tmp_path, [f"a={ready}"])
    assert [row["response"] for row in found] == ["", "soap", "soap", "soap", "soap"]
    assert report["prompts"]["no_response"] == 1
    assert report["ledgers"]["responses of a"] == {"read": 6, "used": 5, "left_out": {"no response": 1}}


def test_what_was_evaluated_before_is_a_policy_again(world: Path, tmp_path: Path) -> None:
    """By its own name, by another behind a #, and by the folder; the numbers are those of the first run."""
    first, rows = run(world, tmp_path / "first", [f"sft={world}/sft", f"dpo={world}/dpo"])
    file = tmp_path / "first/out/responses.jsonl"
    policies = [f"dpo={file}", f"old={file}#sft", f"sft={tmp_path}/first/out", f"new={world}/sft"]
    second, again = run(world, tmp_path / "second", policies)
    for name, other in (("dpo", "dpo"), ("old", "sft"), ("sft", "sft"), ("new", "sft")):
        texts = [
            [row["response"] for row in found if row["policy"] == one] for found, one in ((again, name), (rows, other))
        ]
        assert texts[0] == texts[1]
        assert second["policies"][name]["gold_reward"] == first["policies"][other]["gold_reward"]
    assert second["policies"]["old"]["owner"] == "sft"
    assert second["ledgers"]["responses of old"] == {"read": 12, "used": 6, "left_out": {"of other policies": 6}}


def test_two_responses_to_a_prompt_are_a_bad_row(world: Path, tmp_path: Path) -> None:
    rows = [{"prompt": p, "response": "soap"} for p in FEW]
    ready = write_rows(tmp_path / "ready.jsonl", [*rows, {"prompt": FEW[0], "response": "rope"}])
    with pytest.raises(ValueError, match=r"ready\.jsonl:7: the row has another response to the prompt of .*:1;"):
        run(world, tmp_path / "stop", [f"a={ready}"])
    report, found = run(world, tmp_path / "skip", [f"a={ready}"], on_bad_row="skip")
    assert [row["response"] for row in found] == ["soap"] * 6
    assert report["ledgers"]["responses of a"] == {"read": 7, "used": 6, "left_out": {"bad rows": 1}}


def test_files_without_a_prompt_in_common_are_refused(world: Path, tmp_path: Path) -> None:
    for name, prompts in (("a", FEW[:3]), ("b", FEW[3:])):
        write_rows(tmp_path / f"{name}.jsonl", [{"prompt": p, "response": "soap"} for p in prompts])
    with pytest.raises(ValueError, match="has a response of each of a and b"):
        run(world, tmp_path, [f"a={tmp_path}/a.jsonl", f"b={tmp_path}/b.jsonl"])


def test_a_prompts_own_columns_are_no_verdicts(world: Path, tmp_path: Path) -> None:
    """A row without a judgment has no z, also where the prompts come from a file that has one."""
    prompts = write_rows(tmp_path / "p.jsonl", [{"prompt": p, "z": 0.9, "trained_on": ["x"]} for p in FEW])
    rows = [{"prompt": p, "response": "rope" if at else ""} for at, p in enumerate(FEW)]
    policies = [f"a={write_rows(tmp_path / 'a.jsonl', rows)}", f"b={tmp_path}/a.jsonl"]
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap"}
    report, found = run(world, tmp_path, policies, prompts=str(prompts), **judge)
    assert report["policies"]["b"]["judge"]["identical"] == 6
    assert all({"z", "reason", "trained_on"}.isdisjoint(row) for row in found)
    assert {(row["source_z"], *row["source_trained_on"]) for row in found} == {(0.9, "x")}


def test_a_response_whose_prompt_is_left_out_later_is_not_used(world: Path, tmp_path: Path) -> None:
    asked = [*FEW, "soap " * 100]
    prompts = write_rows(tmp_path / "p.jsonl", [{"prompt": p} for p in asked])
    ready = write_rows(tmp_path / "ready.jsonl", [{"prompt": p, "response": "soap"} for p in asked])
    report, _ = run(world, tmp_path, [f"a={ready}", f"sft={world}/sft"], prompts=str(prompts))
    unused = {"prompt that another policy does not answer": 1}
    assert report["ledgers"]["responses of a"] == {"read": 7, "used": 6, "left_out": unused}


def test_a_call_that_was_made_again_has_a_response(world: Path, tmp_path: Path) -> None:
    rows = [{"prompt": FEW[0], "response": text} for text in (None, "soap", None)]
    report, found = run(world, tmp_path, [f"a={write_rows(tmp_path / 'ready.jsonl', rows)}"])
    assert [row["response"] for row in found] == ["soap"]
    assert report["ledgers"]["responses of a"] == {"read": 3, "used": 1, "left_out": {"no response": 2}}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": p + "\n", "response": "soap"} for p in FEW[1:]], "; 5 of them stand there with other white space"),
        ([{"prompt": p, "response": None} for p in FEW[1:]], "; 5 rows hold none"),
        ([{"prompt": p, "response": 5} for p in FEW[1:]], "; 5 rows cannot be used, the first: "),
    ],
    ids=("spaces", "null", "bad"),
)
def test_why_prompts_have_no_response_is_said_once(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], said: str
) -> None:
    ready = write_rows(tmp_path / "ready.jsonl", [{"prompt": FEW[0], "response": "soap"}, *rows])
    report, _ = run(world, tmp_path, [f"a={ready}"], on_bad_row="skip")
    assert report["prompts"]["no_response"] == 5
    warned = capsys.readouterr().err
    assert f"has no response to 5 of the 6 prompts{said}" in warned
    assert warned.count("left out 5 rows that cannot be used") == ("cannot be used" in said)


def test_a_folder_with_several_splits_is_told_which_to_give(world: Path, tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    one = Dataset.from_list([{"prompt": p, "response": "soap"} for p in FEW])
    DatasetDict({"train": one, "test": one}).save_to_disk(tmp_path / "ready")
    with pytest.raises(ValueError, match=r"holds the splits train, test; expected the folder of one of them.*/test\."):
        run(world, tmp_path, [f"a={tmp_path}/ready"])
    report, _ = run(world, tmp_path, [f"a={tmp_path}/ready/test"])
    assert report["policies"]["a"]["gold_reward"] == 1.0


def test_comparisons_without_a_verdict_are_said(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a judge was not asked, or did not answer, is in no rate: nobody should learn that from a count alone."""
    for name, response in (("a", "rope"), ("b", "soap")):
        rows = [{"prompt": p, "response": "" if name == "b" and at < 2 else response} for at, p in enumerate(FEW)]
        write_rows(tmp_path / f"{name}.jsonl", rows)
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap"}
    report, _ = run(world, tmp_path, [f"a={tmp_path}/a.jsonl", f"b={tmp_path}/b.jsonl"], **judge)
    assert (report["policies"]["b"]["judge"]["win_rate"], report["policies"]["b"]["judge"]["unjudged"]) == (1.0, 2)
    said = capsys.readouterr().err
    assert "2 of 6 comparisons of two responses have no verdict and are in no rate (b and a: 2)" in said
    assert "2 times: response_a is empty. An empty response is not judged, so it is no loss." in said


def test_a_bad_row_of_two_policies_file_is_one_row(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": p, "response": owner, "policy": owner} for p in FEW for owner in ("a", "b")]
    ready = write_rows(tmp_path / "ready.jsonl", [*rows, {"prompt": FEW[0], "response": 5, "policy": "a"}])
    report, _ = run(world, tmp_path, [f"a={ready}", f"b={ready}"], on_bad_row="skip")
    assert [row["place"] for row in rows_of(tmp_path / "out/bad_rows.jsonl")] == [f"{ready}:13"]
    assert capsys.readouterr().err.count("left out 1 row that cannot be used") == 1
    left_out = {"of other policies": 6, "bad rows": 1}
    for name in ("a", "b"):  # whose the row is cannot be known of every bad one
        assert report["ledgers"][f"responses of {name}"] == {"read": 13, "used": 6, "left_out": left_out}


def test_a_null_of_an_endpoint_is_an_empty_response(world: Path, tmp_path: Path, server: Server) -> None:
    """Cut off in its thoughts, one server sends null and another "": neither is a call that failed."""

    def answer(body: dict[str, Any], number: int) -> Any:
        at = FEW.index(asked(body))
        found = completion((None, "", "soap")[min(at, 2)], "length" if at < 2 else "stop")
        found["choices"][0]["message"]["reasoning_content"] = "hm"
        return found

    server.answer = answer
    report, rows = run(world, tmp_path, [f"api={policy_yaml(tmp_path, server)}"])
    assert [(row["response"], row["ended"]) for row in rows] == [("", False)] * 2 + [("soap", True)] * 4
    assert report["prompts"]["failed"] == 0


def test_thoughts_in_responses_are_counted_and_said(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_one = ["<think>\nsoap soap\n</think>\n\nrope", "<think>cut off", "the template opened it</think>rope"]
    texts = [*with_one, "I think </so>", "soap", ""]
    rows = [{"prompt": p, "response": texts[i % 6]} for i, p in enumerate(PROMPTS)]
    ready = write_rows(tmp_path / "ready.jsonl", rows)
    report, _ = run(world, tmp_path, [f"x={ready}", f"sft={world}/sft"])
    many = report["prompts"]["count"] // 2
    assert (report["policies"]["x"]["thoughts"], report["policies"]["sft"]["thoughts"]) == (many, 0)
    assert f"responses hold a thought, as in <think>...</think> ({many} of x)" in capsys.readouterr().err
    assert f"| with a thought | {many} | – |" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("value", ["hf://datasets/me/answers", "https://example.org/answers", "no/such-answers"])
def test_a_dataset_on_the_hub_is_told_to_be_a_file(world: Path, tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=r"on the Hub .*file: datasets\.load_dataset\(\.\.\.\)\.to_json"):
        run(world, tmp_path, [f"sft={world}/sft", f"x={value}"])
