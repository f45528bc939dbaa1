"""rlaif.commands.evaluate: what the command reports, from tiny real models."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support import forks, here, rows_of
from support.evaluation import (
    ASKED,
    PROMPTS,
    config_of,
    count_soap,
    judgment,
    make_world,
    not_drawn,
    save_lm,
    slow_kl,
    tiny_lm,
    tiny_tokenizer,
)
from transformers import LlamaForCausalLM

from rlaif.assess.length_controlled import length_controlled
from rlaif.assess.paired import holm, sign_flip_test
from rlaif.assess.truth import load_gold
from rlaif.commands.evaluate import evaluate
from rlaif.files.manifest import elapsed
from rlaif.files.sources import write_jsonl
from rlaif.models.rendering import Encoded, Rendering
from rlaif.models.reward_model import RewardModel

HOLM = "Holm, over the pairs of policies that have a p-value, each measure by itself"
SUPPORT = "support.evaluation"

# The whole command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def everything(world, tmp_path_factory):
    """The report of a run with every input, and its folder."""
    output = tmp_path_factory.mktemp("everything")
    report = evaluate(
        config_of(
            world,
            output,
            judge="scripted",
            judge_model=f"{SUPPORT}:prefers_soap",
            reward_model=f"{world}/rm",
            preferences=f"{world}/preferences.jsonl",
            judgments=f"{world}/judged",
            stages=[f"judge={world}/stage"],
        )
    )
    return report, output


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Plots are drawn in `everything`, which comes before; of the others only the files are there."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", not_drawn)


def test_report_numbers_follow_from_the_responses(everything):
    report, output = everything
    rows = [json.loads(line) for line in (output / "responses.jsonl").read_text().splitlines()]
    by = {name: [row for row in rows if row["policy"] == name] for name in ("sft", "dpo")}
    assert [row["prompt"] for row in by["dpo"]] == PROMPTS
    for name, mine in by.items():
        numbers = report["policies"][name]
        assert all(row["gold"] == count_soap(row["prompt"], row["response"]) for row in mine)
        for column, number in (("gold", "gold_reward"), ("reward", "reward"), ("kl", "kl"), ("tokens", "length")):
            assert numbers[number] == pytest.approx(np.mean([row[column] for row in mine])), number
        assert numbers["no_eos"] == np.mean([not row["ended"] for row in mine])
    wins = [0.5 * (1 + np.sign(d["gold"] - s["gold"])) for d, s in zip(by["dpo"], by["sft"], strict=True)]
    dpo = report["policies"]["dpo"]
    assert (dpo["win_rate"], dpo["win_rate_by"]) == (pytest.approx(np.mean(wins)), "gold")
    assert dpo["win_rate_low"] <= dpo["win_rate"] <= dpo["win_rate_high"]
    judged = [row["z"] for row in by["dpo"] if row.get("z") is not None]
    assert dpo["judge"]["judged"] == len(judged)
    assert dpo["judge"]["agreement"] == 1.0  # the judge looks at what gold counts, and the orders cancel its bias
    assert dpo["judge"]["first_rate"] == pytest.approx(0.6)
    both = [row for row in by["dpo"] if row.get("z") is not None]
    same = [np.sign(row["z_ab"] - 0.5) == np.sign(row["z_ba"] - 0.5) for row in both]
    assert dpo["judge"]["position_consistency"] == dpo["judge"]["order_consistency"] == np.mean(same)
    assert [dpo[name] for name in ("wins", "ties", "losses")] == [wins.count(value) for value in (1.0, 0.5, 0.0)]
    assert sum(dpo["judge"][name] for name in ("wins", "ties", "losses")) == len(PROMPTS) - dpo["judge"]["unjudged"]


def test_the_baseline_ties_with_itself(everything):
    """So that a reader of report.json finds the same keys under every policy."""
    report, _ = everything
    sft, dpo = report["policies"]["sft"], report["policies"]["dpo"]
    for row in (sft, sft["judge"]):
        assert [row[name] for name in ("win_rate", "win_rate_low", "win_rate_high")] == [0.5, 0.5, 0.5]
        assert (row["wins"], row["ties"], row["losses"]) == (0, len(PROMPTS), 0)
    assert (sft["judge"]["judged"], sft["judge"]["identical"], sft["judge"]["unjudged"]) == (0, len(PROMPTS), 0)
    assert sft["win_rate_by"] == "gold"
    assert sft["lc_win_rate"] == sft["judge"]["lc_mean_z"] == 0.5  # by construction
    at_equal_length = {"lc_win_rate", "lc_win_rate_low", "lc_win_rate_high", "lc_missing"}
    assert set(dpo) - at_equal_length == set(sft) - at_equal_length


def test_kl_of_the_report_is_that_of_the_responses(everything, world):
    report, output = everything
    assert report["policies"]["sft"]["kl"] == 0.0
    tokenizer, rendering = tiny_tokenizer(), Rendering.of(tiny_tokenizer())
    policy, reference = (LlamaForCausalLM.from_pretrained(world / name).eval() for name in ("dpo", "sft"))
    retokenized = 0
    for line in (output / "responses.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["policy"] == "dpo":
            encoded = rendering.encode(tokenizer, row["prompt"], row["response"])
            if not row["ended"]:
                encoded = Encoded(encoded.prompt_ids, encoded.response_ids[:-1])
            assert row["kl"] == pytest.approx(slow_kl(policy, reference, encoded), rel=1e-3, abs=1e-5)
            retokenized += len(encoded.response_ids) != row["tokens"]
    assert report["policies"]["dpo"]["kl_retokenized"] == retokenized


def test_sections_of_judge_reward_model_and_seconds(everything):
    report, _ = everything
    assert (report["judge"]["truth"], report["judge"]["agreement"]) == ("gold", 1.0)
    assert (report["judge"]["pairs"], report["judge"]["unjudged"]) == (3, 1)
    section = report["reward_model"]
    assert section["pairs"] == section["against_gold"]["pairs"] == section["against_label"]["pairs"] == len(PROMPTS)
    assert 0.0 <= section["against_gold"]["accuracy"] <= 1.0
    assert section["against_z"]["drawn"] == {"over": "prompts", "prompts": 24, "responses": 48, "effective": 24.0}
    assert report["seconds"]["judge"] == 12.5
    # Since this process started: more than the call alone has taken.
    assert 0 < report["seconds"]["evaluate"] <= round(elapsed(), 1)


def test_files_are_complete_and_hold_no_nan(everything):
    report, output = everything
    text = (output / "report.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"report.json holds {word}"))
    assert json.loads(text)["policies"]["dpo"]["kl"] == report["policies"]["dpo"]["kl"]
    page = (output / "report.md").read_text()
    for word in ("`sft`", "`dpo`", "## Judge", "## Reward model", "## Time", "## Responses side by side"):
        assert word in page
    for name in ("win_rates", "reward_kl", "judge_calibration", "reward_calibration"):
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({name}.png)" in page
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["command"] == "rlaif evaluate"
    assert manifest["config"]["max_new_tokens"] == 12


def test_a_second_run_asks_and_samples_nothing_again(world, tmp_path):
    config = config_of(world, tmp_path, judge="scripted", judge_model=f"{SUPPORT}:prefers_soap")
    first = evaluate(config)
    replies = sorted(path.read_bytes() for path in tmp_path.glob("replies/*.jsonl"))
    second = evaluate(config)
    assert replies == sorted(path.read_bytes() for path in tmp_path.glob("replies/*.jsonl"))
    assert len(replies) == 3  # of each policy, and of the judge
    assert first["policies"] == second["policies"]
    assert not (tmp_path / ".in-use").exists()


def test_the_manifest_says_how_the_judge_was_asked(world, tmp_path):
    """A judge's YAML file: what is in it and what it leaves out are both in the manifest, where `publish` looks."""
    (tmp_path / "judge.yaml").write_text(f"model: {SUPPORT}:prefers_soap\norders: ab\n")
    report = evaluate(config_of(world, tmp_path / "out", judge=str(tmp_path / "judge.yaml")))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["inputs"][str(tmp_path / "judge.yaml")].startswith("sha256:")
    written = manifest["config"]
    said = {name: written[name] for name in ("judge", "judge_model", "template", "orders", "samples", "combine")}
    assert said == {
        "judge": "scripted",
        "judge_model": f"{SUPPORT}:prefers_soap",
        "template": "compact",
        "orders": "ab",
        "samples": 1,
        "combine": "mean",
    }
    judge = report["policies"]["dpo"]["judge"]
    assert "position_consistency" not in judge  # one order says nothing of it
    assert judge["first_rate"] > 0.3
    rows = [json.loads(line) for line in (tmp_path / "out" / "responses.jsonl").read_text().splitlines()]
    assert all(row["z_ba"] is None for row in rows if row.get("z") is not None)

    alone = evaluate(config_of(world, tmp_path / "alone"))
    assert json.loads((tmp_path / "alone" / "manifest.json").read_text())["config"]["judge_model"] is None
    assert "judge" not in alone["policies"]["dpo"]


def test_two_commands_in_one_folder_are_kept_apart(world, tmp_path):
    from rlaif.files.occupied import occupied

    with occupied(tmp_path, "rlaif sample"), pytest.raises(ValueError, match="in use by another command"):
        evaluate(config_of(world, tmp_path))
    assert not (tmp_path / "replies").exists()


def test_without_gold_the_win_rate_is_the_judges(world, tmp_path):
    report = evaluate(
        config_of(world, tmp_path, gold=None, judge="scripted", judge_model="rlaif.models.function:longer")
    )
    dpo = report["policies"]["dpo"]
    assert dpo["win_rate_by"] == "judge"
    assert all(dpo[name] == dpo["judge"][name] for name in ("win_rate", "wins", "ties", "losses"))
    sft = report["policies"]["sft"]
    assert (sft["win_rate"], sft["win_rate_by"], sft["ties"]) == (0.5, "judge", len(PROMPTS))
    assert "gold_reward" not in dpo
    assert not (tmp_path / "judge_calibration.png").exists()


def test_greedy_is_deterministic_and_the_same_policy_twice_ties(world, tmp_path):
    policies = [f"one={world}/sft", f"two={world}/sft"]
    report = evaluate(
        config_of(
            world,
            tmp_path,
            policies=policies,
            policy_temperature=0.0,
            judge="scripted",
            judge_model=f"{SUPPORT}:prefers_soap",
        )
    )
    two = report["policies"]["two"]
    assert (two["win_rate"], two["win_rate_low"], two["win_rate_high"], two["kl"]) == (0.5, 0.5, 0.5, 0.0)
    assert two["judge"]["identical"] == len(PROMPTS)
    assert two["judge"]["win_rate"] == 0.5


@pytest.fixture(scope="module")
def three(world, tmp_path_factory):
    """A report of three policies, each judged with each other, and the rows by policy."""
    output = tmp_path_factory.mktemp("three")
    save_lm(output / "models/ppo", 5)
    policies = [f"sft={world}/sft", f"dpo={world}/dpo", f"ppo={output}/models/ppo"]
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap", "judge_pairs": "all"}
    report = evaluate(config_of(world, output / "out", policies=policies, reward_model=f"{world}/rm", **judge))
    rows = rows_of(output / "out/responses.jsonl")
    return report, {name: [row for row in rows if row["policy"] == name] for name in ("sft", "dpo", "ppo")}, output


PAIRS = [("dpo", "sft"), ("ppo", "sft"), ("ppo", "dpo")]


def z_over(ours, theirs):
    """z of each row over another policy's, as responses.jsonl has it: NaN where it is unjudged (an empty response)."""

    def z(row, other):
        if row["response"] == other["response"]:
            return 0.5
        judged = row if other["policy"] == "sft" else row["z_over"][other["policy"]]
        return math.nan if judged["z"] is None else judged["z"]

    return np.array([z(row, other) for row, other in zip(ours, theirs, strict=True)])


def test_every_two_policies_are_held_against_each_other(three):
    """Their differences and tests follow from the responses, prompt by prompt."""
    report, by, output = three
    assert [(row["policy"], row["other"]) for row in report["comparisons"]] == PAIRS
    columns = [("gold", "gold_reward"), ("reward", "reward"), ("kl", "kl"), ("tokens", "length")]
    for row in report["comparisons"]:
        ours, theirs = by[row["policy"]], by[row["other"]]
        for column, number in (*columns, ("characters", "characters")):
            d = np.array([p[column] - q[column] for p, q in zip(ours, theirs, strict=True)])
            assert row[number] == pytest.approx(d.mean()), number
            assert row[f"{number}_se"] == pytest.approx(math.sqrt(np.sum((d - d.mean()) ** 2) / (len(d) - 1) / len(d)))
            means = [report["policies"][row[name]][number] for name in ("policy", "other")]
            assert row[number] == pytest.approx(means[0] - means[1])
            if number in ("kl", "length"):
                assert f"{number}_p" not in row
            else:
                assert row[f"{number}_p"] == sign_flip_test(d)
        won = [np.sign(p["gold"] - q["gold"]) for p, q in zip(ours, theirs, strict=True)]
        assert (row["wins"], row["losses"], row["win_rate_by"]) == (won.count(1), won.count(-1), "gold")
        assert row["wins_p"] == pytest.approx(stats.binomtest(row["wins"], row["wins"] + row["losses"]).pvalue)
        lengths = [[r["characters"] for r in rows] for rows in (ours, theirs)]
        lc = length_controlled((np.array(won) + 1) / 2, *lengths, samples=50)
        assert lc == (lc if isinstance(lc, str) else tuple(row[f"lc_win_rate{end}"] for end in ("", "_low", "_high")))
    page = (output / "out/report.md").read_text()
    assert "| `ppo` − `dpo` |" in page
    assert "| prompt | `sft` | `dpo` | `ppo` |" in page


def test_every_number_of_the_judge_follows_from_the_rows(three):
    report, by, _ = three
    assert report["judge_pairs"] == "all"
    for row in report["comparisons"]:
        ours, theirs, judge = by[row["policy"]], by[row["other"]], row["judge"]
        every = z_over(ours, theirs)
        known = ~np.isnan(every)
        assert judge["unjudged"] == sum(~known) < len(known)
        z = every[known]
        assert judge["mean_z"] == pytest.approx(z.mean())
        assert judge["mean_z_low"] < judge["mean_z"] < judge["mean_z_high"]
        assert judge["win_rate"] == pytest.approx(np.mean(0.5 * (1 + np.sign(z - 0.5))))
        assert judge["mean_z"] != judge["win_rate"]
        lengths = [np.array([r["characters"] for r in rows])[known] for rows in (ours, theirs)]
        lc = length_controlled(z, *lengths, samples=50)
        assert lc == pytest.approx(tuple(judge[f"lc_mean_z{end}"] for end in ("", "_low", "_high")))
        assert judge["mean_z_p"] == sign_flip_test(z - 0.5)
        assert "judge_over_baseline" not in row
        if row["other"] == "sft":
            of_policy = report["policies"][row["policy"]]["judge"]
            assert {key: of_policy[key] for key in judge if key in of_policy} == {
                key: value for key, value in judge.items() if key in of_policy
            }
    assert report["policies"]["sft"]["judge"]["mean_z"] == report["policies"]["sft"]["judge"]["lc_mean_z"] == 0.5


def test_p_values_are_adjusted_over_all_pairs(three):
    report, _, _ = three
    assert report["tests"] == {"pairs": 3, "adjusted": HOLM, "flips": 9999, "all_flips_up_to": 14}
    for section, names in ((None, ("gold_reward", "reward", "characters", "wins")), ("judge", ("mean_z", "wins"))):
        rows = [row[section] if section else row for row in report["comparisons"]]
        for name in names:
            assert [row[f"{name}_p_holm"] for row in rows] == holm([row[f"{name}_p"] for row in rows])


def test_policies_that_were_judged_with_the_baseline_alone_are_compared_over_it(three, world):
    """What all pairs were asked is in the store: of it the baseline's is found again."""
    _, by, output = three
    policies = [f"sft={world}/sft", f"dpo={world}/dpo", f"ppo={output}/models/ppo"]
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap"}
    replies = {path: path.read_bytes() for path in (output / "out").glob("replies/*.jsonl")}
    alone = evaluate(config_of(world, output / "out", policies=policies, **judge))
    assert {path: path.read_bytes() for path in (output / "out").glob("replies/*.jsonl")} == replies
    assert [("judge" in row, "judge_over_baseline" in row) for row in alone["comparisons"]] == [
        (True, False), (True, False), (False, True),
    ]  # fmt: skip
    found = alone["comparisons"][2]["judge_over_baseline"]
    d = z_over(by["ppo"], by["sft"]) - z_over(by["dpo"], by["sft"])
    assert found["z"] == pytest.approx(np.nanmean(d))
    assert (found["prompts"], found["z_p"]) == (sum(~np.isnan(d)), sign_flip_test(d))
    rows = [alone["comparisons"][0]["judge"], alone["comparisons"][1]["judge"]]
    p = [rows[0]["mean_z_p"], rows[1]["mean_z_p"], found["z_p"]]  # one test of the judge a pair
    assert [rows[0]["mean_z_p_holm"], rows[1]["mean_z_p_holm"], found["z_p_holm"]] == holm(p)
    assert not any("z_over" in row for row in rows_of(output / "out/responses.jsonl"))


def test_all_pairs_say_what_they_cost_before_anything_is_asked(world, tmp_path, capsys, monkeypatch):
    def asked(*_, **__):
        raise RuntimeError("asked")

    monkeypatch.setattr("rlaif.evaluating.respond.complete", asked)
    policies = [f"{name}={world}/sft" for name in "abcd"]
    judge = {"judge": "scripted", "judge_model": f"{SUPPORT}:prefers_soap", "judge_pairs": "all"}
    with pytest.raises(RuntimeError, match="asked"):
        evaluate(config_of(world, tmp_path / "out", policies=policies, **judge))
    said = capsys.readouterr().err
    assert "6 pairs of policies on 24 prompts are up to 288 votes of the judge, 2 for each two responses" in said
    assert "with baseline alone, 144." in said


def test_a_policy_by_itself_has_no_other_to_be_held_against(world, tmp_path):
    report = evaluate(config_of(world, tmp_path, policies=[f"sft={world}/sft"]))
    assert "comparisons" not in report
    assert "Against each other" not in (tmp_path / "report.md").read_text()


def test_reference_may_be_no_policy_of_the_comparison(world, tmp_path):
    report = evaluate(config_of(world, tmp_path, policies=[f"dpo={world}/dpo"], reference=f"{world}/sft"))
    assert report["policies"]["dpo"]["kl"] > 0
    assert report["reference"] == f"{world}/sft"


def test_another_tokenizer_has_no_kl_and_the_page_says_why(world, tmp_path):
    other = save_lm(tmp_path / "other", 3, extra=("more", "words"))
    report = evaluate(config_of(world, tmp_path / "out", policies=[f"sft={world}/sft", f"other={other}"]))
    assert "kl" not in report["policies"]["other"]
    assert "vocabularies of 19 and 17" in (tmp_path / "out" / "report.md").read_text()


def test_a_prompt_that_is_too_long_is_left_out_for_all_and_counted(world, tmp_path):
    write_jsonl(tmp_path / "p.jsonl", ({"prompt": p} for p in [PROMPTS[0], "soap " * 100, PROMPTS[1]]))
    report = evaluate(config_of(world, tmp_path / "out", prompts=str(tmp_path / "p.jsonl")))
    assert (report["prompts"]["count"], report["prompts"]["too_long"]) == (2, 1)
    assert "1 prompt was left out" in (tmp_path / "out" / "report.md").read_text()


def test_what_became_of_the_rows_of_each_source_is_in_the_report(world, tmp_path):
    """Ties of preferences without z, bad rows, repeated prompts, unjudged pairs: by source, and none of them twice."""
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0], 5, PROMPTS[2], "soap " * 100]
    write_jsonl(tmp_path / "p.jsonl", ({"prompt": p} for p in prompts))
    pair = {"prompt": PROMPTS[0], "chosen": "here is soap", "rejected": "no"}
    scored = [{**pair, "score_chosen": 2, "score_rejected": low} for low in (1, 2, 1)]
    write_jsonl(tmp_path / "preferences.jsonl", [*scored, {**pair, "chosen": 5}])
    files = {"prompts": f"{tmp_path}/p.jsonl", "preferences": f"{tmp_path}/preferences.jsonl"}
    more = {"reward_model": f"{world}/rm", "judgments": f"{world}/judged", "limit": 3, "on_bad_row": "skip"}
    report = evaluate(config_of(world, tmp_path / "out", policies=[f"sft={world}/sft"], **files, **more))
    assert report["ledgers"] == {
        "prompts": {"read": 6, "used": 3, "left_out": {"prompt stood before": 1, "beyond limit": 1, "bad rows": 1}},
        "judgments": {"read": 3, "used": 2, "left_out": {"no verdict": 1}},
        "preferences": {"read": 4, "used": 2, "left_out": {"a tie": 1, "bad rows": 1}},
    }
    places = [row["place"].rpartition("/")[2] for row in rows_of(tmp_path / "out/bad_rows.jsonl")]
    assert places == ["p.jsonl:4", "preferences.jsonl:4"]
    page = (tmp_path / "out/report.md").read_text()
    assert "2 of 4 preferences were left out (a tie 1; bad rows 1)." in page


def test_responses_carry_what_their_prompts_say_and_equal_ones_are_scored_once(world, tmp_path, monkeypatch, capsys):
    """Two policies of the same weights; a prompt that is too long in front, and one that stands twice."""
    rows = [{"prompt": p, "id": f"q{at}", "reward": 7} for at, p in enumerate(["soap " * 100, *PROMPTS[:3]])]
    source = tmp_path / "p.jsonl"
    write_jsonl(source, [*rows, {**rows[1], "id": "again"}])
    pair = {"prompt": PROMPTS[0], "chosen": "here is soap", "rejected": "no"}
    write_jsonl(tmp_path / "preferences.jsonl", [pair, {**pair, "rejected": "no thanks"}])
    scored, score = [], RewardModel.score

    def counted(self, *args, **more):
        found = score(self, *args, **more)
        scored.append(self.distinct)
        return found

    monkeypatch.setattr(RewardModel, "score", counted)
    files = {"prompts": str(source), "preferences": f"{tmp_path}/preferences.jsonl", "reward_model": f"{world}/rm"}
    twins = [f"sft={world}/sft", f"twin={world}/sft"]
    report = evaluate(config_of(world, tmp_path / "out", policies=twins, policy_temperature=0.0, **files))
    found = rows_of(tmp_path / "out/responses.jsonl")
    assert [(row["policy"], row["id"], row["source_reward"], row["place"]) for row in found] == [
        (name, f"q{at}", 7, f"{source}:{at + 1}") for at in (1, 2, 3) for name in ("sft", "twin")
    ]
    said = capsys.readouterr().err
    assert "1 of 1 rows with a prompt that stood before have other columns than its first row" in said
    conversations = {(row["prompt"], row["response"]) for row in found}
    conversations |= {(PROMPTS[0], text) for text in ("here is soap", "no", "no thanks")}
    assert scored == [len(conversations)]
    model = RewardModel.load(world / "rm")
    rewards = model.score([row["prompt"] for row in found], [row["response"] for row in found]) - model.zero
    assert [row["reward"] for row in found] == pytest.approx(rewards, abs=1e-5)
    assert report["reward_model"]["pairs"] == 2


# Bad input ------------------------------------------------------------------------------------------------------------


def bad(world: Path, tmp_path: Path) -> dict[str, tuple[dict[str, object], str]]:
    """Changes to a good configuration, and what the error says."""
    (tmp_path / "bare").mkdir()
    tiny_lm(0).save_pretrained(tmp_path / "bare")
    (tmp_path / "unlabelled").mkdir()
    row = judgment(0.9, 0.7, None).row()
    write_jsonl(tmp_path / "unlabelled" / "judgments.jsonl", [row])
    sft = f"sft={world}/sft"
    return {
        "twice": ({"policies": [sft, f"sft={world}/dpo"]}, "has the name 'sft' twice"),
        "nameless": ({"policies": [f"{world}/sft"]}, "expected name=value"),
        "no tokenizer": ({"policies": [sft, f"bare={tmp_path}/bare"]}, "holds no tokenizer"),
        "no model": ({"policies": [f"a={world}/judged"]}, "a folder with neither a model"),
        "gold's form": (
            {"gold": "rlaif.sandbox"},
            "names no function; it is a module: expected 'package.module:function'",
        ),
        "gold's module": ({"gold": "no_such_module:f"}, "cannot be imported"),
        "gold's name": ({"gold": "rlaif.sandbox:no_such_function"}, "has no 'no_such_function'"),
        "gold is NaN": ({"gold": f"{SUPPORT}:nan_gold"}, "returned nan"),
        "no truth": ({"gold": None, "judgments": f"{tmp_path}/unlabelled"}, "nothing to hold the judge against"),
        "no stage": ({"stages": [f"judge={tmp_path}"]}, "holds a number `seconds`"),
        "no model to measure": ({"preferences": f"{world}/preferences.jsonl"}, "no reward_model"),
        "no reward model": ({"reward_model": f"{world}/sft"}, "has no rlaif.json"),
        "no judge": ({"judge": "api"}, "judge_model is not set"),
        "nothing to judge": ({"policies": [sft], "judge_model": "x"}, "there is only one"),
        "temperature": ({"policy_temperature": -1.0}, "policy_temperature is -1.0"),
        "limit": ({"limit": 0}, "limit is 0"),
        "no output": ({"output": None}, "output, policies and prompts must be set"),
    }


BAD = (
    "twice", "nameless", "no tokenizer", "no model", "gold's form", "gold's module", "gold's name", "gold is NaN",
    "no truth", "no stage", "no reward model", "no judge", "nothing to judge", "no model to measure", "temperature",
    "limit", "no output",
)  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(world, tmp_path, case):
    cases = bad(world, tmp_path)
    assert set(cases) == set(BAD)
    changes, words = cases[case]
    with pytest.raises(ValueError, match=words) as caught:
        evaluate(config_of(world, tmp_path / "out", **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "report.json").exists()


def test_gold_must_be_a_function_of_numbers():
    with pytest.raises(ValueError, match="is a list; expected a function"):
        load_gold("rlaif.sandbox.world:ITEMS")
    gold = load_gold(f"{SUPPORT}:count_soap")
    assert gold("q", "soap soap") == 2.0


def test_gold_is_asked_once_for_each_response():
    ASKED.clear()
    gold = load_gold(f"{SUPPORT}:counted_gold")
    messages = [{"role": "user", "content": "q"}]
    for _ in range(3):
        assert [gold(prompt, text) for prompt in ("q", messages) for text in ("a", "bb")] == [1.0, 2.0, 1.0, 2.0]
    assert len(ASKED) == 4


# The program ----------------------------------------------------------------------------------------------------------


def arguments(world: Path, output: Path) -> list[str]:
    return [
        "evaluate",
        *("--policies", f"sft={world}/sft", f"dpo={world}/dpo"),
        *("--prompts", f"{world}/prompts.jsonl", "--output", str(output)),
        *("--gold", "support.evaluation:count_soap", "--judge", "scripted"),
        *("--judge_model", "support.evaluation:prefers_soap", "--max_new_tokens", "12", "--batch_tokens", "100"),
    ]


def test_two_processes_give_the_report_of_one(world, tmp_path):
    one = here(*arguments(world, tmp_path / "one"))
    assert one.returncode == 0, one.stderr
    for process in forks.side_by_side(*arguments(world, tmp_path / "two")):
        assert process.returncode == 0, process.stderr
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    assert reports[0]["policies"] == reports[1]["policies"]
    first, second = ((tmp_path / name / "responses.jsonl").read_bytes() for name in ("one", "two"))
    assert first == second
    # What was asked of each of the two policies, and of the judge, is in a file of its own, of each process.
    files = {name: len(list((tmp_path / name).glob("replies/*.jsonl"))) for name in ("one", "two")}
    assert files == {"one": 3, "two": 6}
