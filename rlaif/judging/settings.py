"""Judges: who compares two responses or rates one, and how they are asked.

`load_judge` makes a judge of pairs from settings, `load_rater` one of single responses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypeVar

from rlaif.judging.base import AnyJudge, Judge, PairQuestion, Question, Rater, ask
from rlaif.judging.prompts import BaseTemplate, load_rating_template, load_template

__all__ = ["Judge", "JudgeConfig", "PairQuestion", "Question", "Rater", "ask", "load_judge", "load_rater"]

T = TypeVar("T", bound=BaseTemplate)


@dataclass
class JudgeConfig:
    """Which judge, and how it is asked."""

    judge: str = field(
        default="local",
        metadata={
            "help": "Kind of judge: 'local' (a transformers causal LM), 'api' (an OpenAI-compatible endpoint), "
            "'scripted' (a Python function).",
            "choices": ["local", "api", "scripted"],
        },
    )
    judge_model: str | None = field(
        default=None,
        metadata={
            "help": "local: folder or Hub id; api: the endpoint's model name; scripted: 'package.module:function' "
            "taking (prompt, first, second) and returning P(first is better), or to rate (prompt, response) from 1 to "
            "10."
        },
    )
    template: str = field(
        default="helpful", metadata={"help": "Built-in template (helpful, harmless, compact) or a YAML file of yours."}
    )
    judge_revision: str | None = field(default=None, metadata={"help": "local: branch, tag or commit on the Hub."})
    judge_dtype: str = field(
        default="auto", metadata={"help": "local: auto (as stored), float32, bfloat16 or float16."}
    )
    judge_load_in_4bit: bool = field(default=False, metadata={"help": "local: quantize with bitsandbytes (NF4)."})
    judge_device_map: str | None = field(
        default=None, metadata={"help": "local: 'auto' spreads a large judge over all GPUs of one process."}
    )
    judge_tokens: int = field(
        default=16384,
        metadata={"help": "local: tokens in one forward pass, padding included; fewer if memory runs out."},
    )
    base_url: str | None = field(
        default=None, metadata={"help": "api: the endpoint's address, ending in /v1. Default: OpenAI's own."}
    )
    api_key_env: str = field(
        default="OPENAI_API_KEY", metadata={"help": "api: the environment variable that holds the key."}
    )
    concurrency: int = field(default=32, metadata={"help": "api: calls in flight, in each process."})
    max_retries: int = field(
        default=8, metadata={"help": "api: tries after a failed call, with back-off; rate limits are waited out."}
    )
    timeout: float = field(default=120.0, metadata={"help": "api: seconds before a call counts as failed."})
    logprobs: str = field(
        default="auto",
        metadata={
            "help": "api: 'auto' reads the labels' log-probabilities where the endpoint gives them with its first "
            "answer, 'never' reads the text.",
            "choices": ["auto", "never"],
        },
    )
    temperature: float = field(default=0.0, metadata={"help": "api: sampling temperature of the verdict."})
    max_tokens: int = field(
        default=16, metadata={"help": "api: longest answer. Judges that reason before they answer need more."}
    )


# Which settings each kind of judge uses, besides `judge` and `judge_model`.
_USES = {
    "local": {"template", "judge_revision", "judge_dtype", "judge_load_in_4bit", "judge_device_map", "judge_tokens"},
    "api": {
        *("template", "base_url", "api_key_env", "concurrency", "max_retries", "timeout"),
        *("logprobs", "temperature", "max_tokens"),
    },
    "scripted": set(),
}


def load_judge(config: JudgeConfig) -> Judge:
    """The judge of pairs that `config` describes. A local model's weights are loaded when there is something to ask.

    Raises:
        ValueError: there is no such judge, or a setting was given that this kind of judge would not use.
    """
    return _load(config, load_template)


def load_rater(config: JudgeConfig) -> Rater:
    """The judge of single responses that `config` describes; as `load_judge`, with a rating template."""
    return _load(config, load_rating_template)


def _load(config: JudgeConfig, load: Callable[[str], T]) -> AnyJudge[T]:
    if not config.judge_model:
        raise ValueError("judge_model is not set; expected a model (local, api) or a function (scripted).")
    if config.judge not in _USES:
        raise ValueError(f"judge is {config.judge!r}; expected local, api or scripted.")
    for setting in fields(JudgeConfig):
        value, users = getattr(config, setting.name), [kind for kind, names in _USES.items() if setting.name in names]
        if users and config.judge not in users and value != setting.default:
            raise ValueError(
                f"{setting.name} is {value!r}, which judge {config.judge!r} does not use; leave it out, or set --judge "
                f"to {' or '.join(users)}."
            )
    if config.judge == "scripted":
        from rlaif.judging.scripted import ScriptedJudge

        return ScriptedJudge(config.judge_model, load("compact"))
    template = load(config.template)
    if config.judge == "api":
        from rlaif.judging.api import ApiJudge
        from rlaif.models.endpoint import Endpoint

        endpoint = Endpoint(
            model=config.judge_model,
            base_url=config.base_url,
            api_key_env=config.api_key_env,
            concurrency=config.concurrency,
            max_retries=config.max_retries,
            timeout=config.timeout,
        )
        return ApiJudge(
            endpoint,
            template,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            logprobs=config.logprobs == "auto",
        )
    from rlaif.judging.local import LocalJudge

    return LocalJudge(
        config.judge_model,
        template,
        revision=config.judge_revision,
        dtype=config.judge_dtype,
        load_in_4bit=config.judge_load_in_4bit,
        device_map=config.judge_device_map,
        tokens=config.judge_tokens,
    )
