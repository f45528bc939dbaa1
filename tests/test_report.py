"""The page says every number of the report, breaks on no text, and shows no plot without data."""

import copy
from pathlib import Path

import pytest

from rlaif.pages.evaluation import draw_plots, markdown, write_report
from rlaif.pages.evaluation_plots import _plot_reward_kl
from rlaif.pages.parts import decimal, half_width

REPORT = {
    "gold": "rlaif.sandbox:gold_reward",
    "prompts": {"source": "prompts.jsonl", "split": "test", "count": 1234, "too_long": 2},
    "sampling": {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64, "seed": 7},
    "baseline": "sft",
    "reference": "sft",
    "policies": {
        "sft": {"gold_reward": 1.25, "gold_reward_se": 0.1, "length": 20.0, "no_eos": 0.01, "kl": 0.0, "kl_se": 0.0},
        "dpo": {
            "gold_reward": 2.5,
            "gold_reward_se": 0.1,
            "reward": 0.75,
            "reward_se": 0.1,
            "length": 22.0,
            "no_eos": 0.0,
            "kl": 6.5,
            "kl_se": 0.5,
            "win_rate": 0.812,
            "win_rate_low": 0.77,
            "win_rate_high": 0.851,
            "wins": 1000,
            "ties": 4,
            "losses": 230,
            "win_rate_by": "gold",
            "judge": {
                "win_rate": 0.7,
                "win_rate_low": 0.6,
                "win_rate_high": 0.8,
                "judged": 90,
                "identical": 4,
                "unjudged": 6,
            },
        },
    },
    "judge": {
        "pairs": 100,
        "unjudged": 3,
        "reasons": {"no verdict in 'a | b'": 3},
        "unlabelled": 0,
        "tied": 10,
        "measured": 87,
        "truth": "gold",
        "agreement": 0.9,
        "agreement_low": 0.85,
        "agreement_high": 0.95,
        "position_consistency": 0.83,
        "first_rate": 0.55,
        "ece": 0.05,
        "ece_low": 0.03,
        "ece_high": 0.08,
        "reliability": [{"p": 0.6, "y": 0.5, "low": 0.3, "high": 0.7, "n": 43}, {"p": 1.0, "y": 1.0, "low": 0.9,
                         "high": 1.0, "n": 44}],
        "longer_wins": {"judge": 0.61, "truth": 0.52},
    },
    "seconds": {"judge": 33.25},
}  # fmt: skip


def test_every_policy_and_number_is_on_the_page():
    page = markdown(REPORT)
    for text in (
        "1,234 prompts",
        "2 prompts were left out",
        "| gold reward | 1.250 [1.054, 1.446] | 2.500 [2.304, 2.696] |",  # 1.96 standard errors
        "| – | 81.2 % [77.0 %, 85.1 %]; 1,000 / 4 / 230 |",
        "| – | 70.0 % [60.0 %, 80.0 %] |",
        "| … unjudged | – | 6 |",
        "| KL (nats) | 0.000 [0.000, 0.000] | 6.500 [5.520, 7.480] |",
        "| 90.0 % [85.0 %, 95.0 %] |",
        "| position consistency | 83.0 % | the same winner in both orders |",
        "61.0 % / 52.0 %",
        "| judge | 33.2 |",
    ):
        assert text in page, text
    assert "Reward model" not in page
    assert "](" not in page  # no plot was drawn


def test_a_report_of_an_older_version_has_its_position_consistency_too():
    report = copy.deepcopy(REPORT)
    report["judge"]["order_consistency"] = report["judge"].pop("position_consistency")
    assert "| position consistency | 83.0 % |" in markdown(report)
    del report["judge"]["order_consistency"]
    assert "| position consistency | – |" in markdown(report)


def test_what_is_missing_is_a_dash_and_never_zero_or_nan():
    report = copy.deepcopy(REPORT)
    del report["judge"]["agreement"]
    report["judge"]["ece"] = float("nan")
    report["judge"]["reliability"] = []
    page = markdown(report)
    assert "| agreement | – |" in page
    assert "| ECE | – |" in page
    assert "nan" not in page


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_page_says_when_the_kl_is_not_of_the_policys_own_samples(temperature):
    report = copy.deepcopy(REPORT)
    report["sampling"]["temperature"] = temperature
    assert "not an unbiased estimate" in markdown(report)
    assert "not an unbiased estimate" not in markdown(REPORT)


def test_text_cannot_break_a_table():
    nasty = "a | b\n<script>\r\nc"
    page = markdown(REPORT, [(nasty, {"sft": nasty, "dpo": ""}, {"sft": 1.0, "dpo": None})])
    row = page.rstrip().splitlines()[-1]
    assert row == (
        "| a \\| b<br>&lt;script><br>c | a \\| b<br>&lt;script><br>c<br>*gold 1* | *(empty)* |"
    )  # one line, three cells
    assert "no verdict in 'a \\| b'" in page


def test_conversations_are_shown_with_their_roles():
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    page = markdown(REPORT, [(prompt, {"sft": "x", "dpo": "y"}, {})])
    assert "system: Be kind.<br>user: Hello" in page


def test_plots_are_drawn_where_there_is_data_and_old_ones_go(tmp_path: Path):
    stale = tmp_path / "reward_calibration.png"
    stale.write_bytes(b"of an earlier run")
    write_report(tmp_path, REPORT)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "judge_calibration.png",
        "reward_kl.png",
        "win_rates.png",
    ]
    page = (tmp_path / "report.md").read_text()
    assert all(f"]({path.name})" in page for path in tmp_path.glob("*.png"))


def test_the_baseline_is_the_line_and_no_point(tmp_path: Path):
    """A win rate of 0.5 against itself is on the page and is nothing to plot."""
    itself = {"win_rate": 0.5, "win_rate_low": 0.5, "win_rate_high": 0.5, "wins": 0, "ties": 9, "losses": 0}
    report = {**REPORT, "policies": {"sft": {**REPORT["policies"]["sft"], **itself, "win_rate_by": "gold"}}}
    assert "| 50.0 % [50.0 %, 50.0 %]; 0 / 9 / 0 |" in markdown(report)
    assert "win_rates.png" not in draw_plots(tmp_path, report)


def test_what_no_comparison_has_is_no_column():
    row = {"policy": "ppo", "other": "dpo", "gold_reward": 0.5, "gold_reward_se": 0.1, "kl": -1.0, "kl_se": 0.5}
    page = markdown({**REPORT, "comparisons": [row]})
    assert "|  | gold reward | KL (nats) |\n" in page
    assert "| `ppo` − `dpo` | 0.500 [0.304, 0.696] | -1.000 [-1.980, -0.020] |" in page


def test_policies_that_lie_together_stay_apart_on_the_plot():
    """Three policies, two of them at one place: each has its own entry in the legend, and error bars on both axes."""
    report = copy.deepcopy(REPORT)
    report["policies"]["ppo"] = {**report["policies"]["dpo"], "kl": 6.6}
    figure = _plot_reward_kl(report)
    gold, score = figure.axes
    assert [text.get_text() for text in gold.get_legend().get_texts()] == [
        "sft (KL 0.0)",
        "dpo (KL 6.5)",
        "ppo (KL 6.6)",
    ]
    styles = [(bars.lines[0].get_color(), bars.lines[0].get_marker()) for bars in gold.containers]
    assert len(set(styles)) == 3
    assert all(bars.has_xerr and bars.has_yerr for bars in gold.containers)
    # Without the reward model's score of sft the others keep their looks.
    assert [(bars.lines[0].get_color(), bars.lines[0].get_marker()) for bars in score.containers] == styles[1:]
    figure.draw_without_rendering()
    legend = gold.get_legend().get_window_extent()
    assert legend.x0 >= gold.get_window_extent().x1  # beside the points, not over them
    assert legend.x1 <= figure.bbox.x1


def test_means_have_the_interval_of_the_report_or_none_where_prompts_are_few():
    ends = {"characters": 8.0, "characters_se": 1.0, "characters_low": 5.7, "characters_high": 10.3}
    page = markdown({**REPORT, "policies": {"sft": ends, "dpo": ends}})
    assert "| 8.0 [5.7, 10.3] | 8.0 [5.7, 10.3] |" in page
    assert "Student's t for means" in page
    assert "no interval" not in page
    few = ends | {"characters_low": None, "characters_high": None}
    page = markdown({**REPORT, "policies": {"sft": few, "dpo": few}})
    assert "| 8.0 | 8.0 |" in page
    assert "- Means and win rates have no interval: so few prompts" in page
    assert half_width(ends, "characters") == pytest.approx(2.3)
    assert half_width(few, "characters") == 0.0


def test_many_policies_look_each_like_no_other():
    few = {"gold_reward": 1.0, "gold_reward_se": 0.1, "kl": 1.0, "kl_se": 0.1}
    (gold,) = _plot_reward_kl({**REPORT, "policies": {f"p{i}": few for i in range(20)}}).axes
    assert len({(bars.lines[0].get_color(), bars.lines[0].get_marker()) for bars in gold.containers}) == 20


def test_a_long_text_is_begun_in_the_table_of_responses():
    page = markdown(REPORT, [("p" * 9_000, {"sft": "s" * 1_000_000, "dpo": "d" * 8_000}, {"sft": 1.0, "dpo": None})])
    assert f"{'s' * 8_000} …<br>*the first 8,000 of 1,000,000 characters*<br>*gold 1*" in page
    assert f"| {'p' * 8_000} …<br>*the first 8,000 of 9,000 characters* |" in page
    assert f"| {'d' * 8_000} |" in page


def test_a_number_that_rounds_to_nothing_has_no_sign():
    assert [decimal(value) for value in (-0.0001, -0.0, -0.0006, 0.0001)] == ["0.000", "0.000", "-0.001", "0.000"]


def test_nothing_to_draw(tmp_path: Path):
    report = {**REPORT, "policies": {"sft": {"length": 3.0, "no_eos": 0.0}}, "judge": {}}
    assert draw_plots(tmp_path, report) == {}


def test_a_prompt_that_is_left_out_is_said_once_and_how_p_comes_about_as_it_does():
    ledgers = {"prompts": {"read": 1242, "used": 1234, "left_out": {"call failed": 5, "no response in a file": 3}}}
    tests = {"pairs": 1, "adjusted": "Holm, over the pairs", "flips": 9999, "all_flips_up_to": 14}
    row = {"policy": "dpo", "other": "sft", "gold_reward": 1.0, "gold_reward_se": 0.1, "gold_reward_p": 0.25}
    prompts = {**REPORT["prompts"], "failed": 5, "no_response": 3}
    page = markdown({**REPORT, "prompts": prompts, "ledgers": ledgers, "comparisons": [row], "tests": tests})
    assert "5 prompts were left out: an endpoint" in page
    assert "3 prompts were left out: a file" in page
    assert "1,242 prompts" not in page
    assert "9,999 random flips of the differences' signs (all of them, where at most 14 are not 0)" in page


def test_ready_responses_alone_were_not_sampled_and_what_is_missing_is_named():
    ready = {"kind": "responses", "no_eos_missing": "no share without EOS: a file does not say.", "lc_missing": "few"}
    both = {"old": {**ready, "judge": {"win_rate": 0.5, "identical": 0, "unjudged": 0, "lc_missing": "few"}}}
    ledgers = {"responses of old": {"read": 1500, "used": 500, "left_out": {"of other policies": 1000}}}
    page = markdown({**REPORT, "policies": both, "baseline": "old", "ledgers": ledgers})
    assert "1,234 prompts from `prompts.jsonl`, split `test`; ready responses, as they came.\n" in page
    assert "1,000 of 1,500 responses of old were left out (of other policies 1,000)." in page
    assert "`old`: no win rate by gold at equal length: few.\n\n`old`: no mean z at equal length: few.\n" in page


def test_two_policies_without_a_rate_at_equal_length_have_the_reason_below_their_row():
    by_judge = {"win_rate": 0.5, "identical": 0, "unjudged": 0, "lc_missing": "all lengths differ alike"}
    row = {"policy": "dpo", "other": "ppo", "characters": 1.0, "judge": by_judge}
    page = markdown({**REPORT, "comparisons": [row], "tests": None})
    assert "- `dpo` − `ppo`: no mean z at equal length: all lengths differ alike.\n" in page
