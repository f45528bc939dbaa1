"""`rlaif evaluate`: policies side by side on the same prompts, the judge and the reward model against the truth.

    rlaif evaluate --policies sft=runs/mine/sft dpo=runs/mine/dpo --prompts held_out.jsonl --output runs/mine/report

    policies        one response a prompt from each: gold reward, reward-model score, win rate over the first policy by
                    gold and by judge, raw and at equal length, KL to the reference, length
    comparisons     every pair of policies: differences prompt by prompt and wins, each with a test
    trained_on      how many of the prompts each model was trained on, as far as manifests tell
    judge           judgments that `rlaif judge` wrote, against gold rewards or labels
    reward model    its accuracy and calibration on the held-out split of a preference dataset
    seconds         what each stage took, from the start of its process

A policy is one of these, and one run compares any of them:

    --policies sft=runs/sft             a folder or Hub id of a causal LM
               gpt=policy.yaml          an OpenAI-compatible endpoint: name, base_url, ..., as a judge's `model:`
               ready=responses.jsonl    rows with prompt and response (or instruction and output), one a prompt
               old=runs/before#sft      a policy of an earlier report

Every section is there when its inputs are. Into the output folder go report.json (key by key in
rlaif/evaluating/measure.py), report.md and its plots, report.html, responses.jsonl (every response with its numbers, so
that each mean can be checked, and the place and the other columns of its prompt), and replies/: what was sampled and
judged, which a later run finds and does not pay for again.

Under `accelerate launch -m rlaif evaluate ...` sampling, KL and judging are split over the processes; the main process
does the rest and writes.
"""

from __future__ import annotations

from typing import Any

from rlaif.evaluating.config import EvaluateConfig
from rlaif.evaluating.judged import judge_policies
from rlaif.evaluating.measure import measure
from rlaif.evaluating.plan import Plan
from rlaif.evaluating.respond import respond
from rlaif.evaluating.trained import look_up
from rlaif.evaluating.written import write
from rlaif.files.ownership import claim
from rlaif.files.reads import Rows
from rlaif.models.parallel import is_main, wait_for_everyone

__all__ = ["SETTINGS", "EvaluateConfig", "evaluate"]

READS = {
    "prompts": "rows",
    "policies": "named",
    "reference": "model",
    "gold": "function",
    "judgments": "folder",
    "reward_model": "model",
    "preferences": "rows",
    "judge": "judge",
    "judge_model": "judge",
    "template": "judge",
}
MEASURES = (
    Rows("prompts", "split", "config_name"),
    Rows("preferences", "preferences_split", "preferences_config_name"),
)

SETTINGS = (EvaluateConfig,)


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Runs `rlaif evaluate`, writes `config.output`, and returns what report.json holds ({} but in the main process).

    Raises:
        ValueError: a setting, a source or a gold reward is not as expected. Whatever can be known before the first
            model is loaded is checked before.
    """
    plan = Plan.of(config)
    report: dict[str, Any] = {}
    with claim(plan.output, "rlaif evaluate", plan.reads):
        trained_on = look_up(plan) if config.compare_training and is_main() else None
        prompts, responses = respond(plan)
        judged = judge_policies(plan, prompts, responses)
        if is_main():
            report = measure(plan, prompts, responses, judged, trained_on)
            write(plan, report, prompts, responses, judged, trained_on)
        wait_for_everyone()
    return report
