"""A judge is one YAML: which model, and how it is asked; the same for commands, PPO's rewards and Python.

    # rlaif judge --pairs pairs.jsonl --judge judge.yaml --output runs/judged
    model:
      name: gpt-4.1-mini
      kind: api                     # local, api or function; told by the name and base_url where it is left out
      base_url: http://localhost:8000/v1
    template: helpful
    temperature: 0.0

`model: Qwen/Qwen3-8B` is short for `model: {name: Qwen/Qwen3-8B}`. On a command line `--judge` takes the name of a kind
(with `--judge_model`), a YAML file, or a model; settings given beside it win over the file.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import UsageError, read_mapping, redacted
from rlaif.errors.words import did_you_mean, meant, nearest, one_of, shown
from rlaif.files.reads import is_there
from rlaif.judging.pairwise import Pairwise
from rlaif.judging.prompts import (
    TEMPLATES,
    BaseTemplate,
    is_file,
    load_rating_template,
    load_template,
    parse_scale,
    rating_template,
)
from rlaif.judging.question import Question
from rlaif.judging.rating import RatingMethod
from rlaif.judging.values import LONGEST, check_text, checked_value, safe, secrets_in, unknown_setting, without_keys
from rlaif.models.access import check_address, check_headers, check_variable, key_in
from rlaif.models.base import Model
from rlaif.models.kinds import ROOM, answer_tokens
from rlaif.records import ORDERS, Order
from rlaif.secrets import keep_if_key, redacted_json
from rlaif.settings.declared import described
from rlaif.settings.functions import function_file

__all__ = [
    "AnyJudge",
    "JudgeConfig",
    "JudgeSettings",
    "ModelSettings",
    "endpoint_settings",
    "judge_settings",
    "load_judge",
    "load_rater",
    "model_of",
]

_KINDS = {"local": "local", "api": "api", "function": "function", "scripted": "function"}


@described(
    headings={
        "judge": "judge",
        "judge_revision": "local judge",
        "base_url": "judge behind an endpoint",
        "orders": "votes",
    },
    also={"max_tokens": ("max_completion_tokens",)},
)
@dataclass
class JudgeConfig:
    """Which judge, and how it is asked. What is not given is taken from the judge's YAML, or has its default."""

    judge: str | None = field(
        default=None,
        metadata={
            "help": "A judge's YAML file; or a model (folder, Hub id, package.module:function); or a kind, with "
            "--judge_model: 'local' (a transformers causal LM), 'api' (an OpenAI-compatible endpoint), 'scripted' (a "
            "Python function). Default: local."
        },
    )
    judge_model: str | None = field(
        default=None,
        metadata={
            "help": "local: folder or Hub id; api: the endpoint's model name; scripted: 'package.module:function' "
            "taking (prompt, first, second) and returning P(first is better)."
        },
    )
    template: str | None = field(
        default=None,
        metadata={
            "help": "Built-in template (helpful, harmless, reasoned, compact) or a YAML file of yours. Default: "
            "helpful."
        },
    )
    judge_revision: str | None = field(default=None, metadata={"help": "local: branch, tag or commit on the Hub."})
    judge_dtype: str | None = field(
        default=None, metadata={"help": "local: auto (as stored), float32, bfloat16 or float16. Default: auto."}
    )
    judge_load_in_4bit: bool | None = field(
        default=None, metadata={"help": "local: quantize with bitsandbytes (NF4). Default: false."}
    )
    judge_device_map: str | None = field(
        default=None, metadata={"help": "local: 'auto' spreads a large judge over all GPUs of one process."}
    )
    judge_tokens: int | None = field(
        default=None,
        metadata={
            "help": "local: tokens in one forward pass, padding included; fewer if memory runs out. Default: 16384."
        },
    )
    trust_remote_code: bool | None = field(
        default=None,
        metadata={"help": "Run the code that models' repositories hold; without it a model that needs it fails."},
    )
    base_url: str | None = field(
        default=None, metadata={"help": "api: the endpoint's address, ending in /v1. Default: OpenAI's own."}
    )
    served_as: str | None = field(
        default=None,
        metadata={
            "help": "api: a name for the model that is served, where several addresses serve it or its server comes "
            "back elsewhere. Replies are kept under it instead of the address."
        },
    )
    api_key_env: str | None = field(
        default=None,
        metadata={"help": "api: the environment variable that holds the key. Default: OPENAI_API_KEY."},
    )
    concurrency: int | None = field(
        default=None, metadata={"help": "api: calls in flight, in each process. Default: 32."}
    )
    max_retries: int | None = field(
        default=None,
        metadata={"help": "api: tries after a failed call, with back-off; rate limits are waited out. Default: 8."},
    )
    timeout: float | None = field(
        default=None,
        metadata={
            "help": "api: seconds for one call as a whole. Default: 120, or 600 where it may write 1024 tokens or more."
        },
    )
    patience: float | None = field(
        default=None, metadata={"help": "api: seconds for which a call waits out rate limits. Default: 900."}
    )
    logprobs: str | None = field(
        default=None,
        metadata={
            "help": "api: 'auto' asks for the labels' log-probabilities and reads them where they come, 'never' reads "
            "the text. Default: auto.",
            "choices": ["auto", "never"],
        },
    )
    temperature: float | None = field(
        default=None, metadata={"help": "api: sampling temperature of the verdict. Default: 0."}
    )
    max_tokens: int | None = field(
        default=None,
        metadata={
            "help": "api: longest answer, a thought before it included. Default: 16; 8192 for models known to think "
            "before they answer, and once more for one whose answer is cut off in a thought; 1024 for a template that "
            "asks for reasons and a marked last line."
        },
    )
    orders: str | None = field(
        default=None,
        metadata={
            "help": "'both' shows each pair in both orders; 'ab' and 'ba' in one only, at half the cost and with the "
            "judge's position bias in every z. Default: both.",
            "choices": ["both", "ab", "ba"],
        },
    )
    samples: int | None = field(
        default=None,
        metadata={"help": "Votes for each order. More than one needs a temperature above 0. Default: 1."},
    )
    combine: str | None = field(
        default=None,
        metadata={
            "help": "How votes become z: 'mean' of the probabilities (as RLAIF does), or the sigmoid of the mean "
            "'log_odds', in which a certain vote outweighs hesitant ones. Default: mean.",
            "choices": ["mean", "log_odds"],
        },
    )


@dataclass(frozen=True)
class ModelSettings:
    """The `model:` part of a judge's YAML.

    Attributes:
        name: folder or Hub id (local), the endpoint's name for it (api), or "package.module:function" (function); in
            Python also the function itself.
        kind: "local", "api" or "function".
        revision, dtype, load_in_4bit, device_map, tokens, trust_remote_code: local; as in `LocalModel`.
        base_url, served_as, api_key_env, concurrency, max_retries, timeout, patience: api; as in `Endpoint` and
            `ApiModel`.
        logprobs: api; "auto" or "never".
        extra_body, extra_headers, reasoning_effort: api; sent with every call, and part of its address.
        chat_template_kwargs: local and api; what the chat template is told, and part of the address.
    """

    name: str | Callable[..., Any]
    kind: str
    revision: str | None = None
    dtype: str = "auto"
    load_in_4bit: bool = False
    device_map: str | None = None
    tokens: int = 16384
    trust_remote_code: bool = False
    base_url: str | None = None
    served_as: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int | None = None
    max_retries: int = 8
    timeout: float | None = None
    patience: float = 900.0
    logprobs: str = "auto"
    extra_body: Mapping[str, Any] | None = None
    extra_headers: Mapping[str, str] | None = None
    chat_template_kwargs: Mapping[str, Any] | None = None
    reasoning_effort: str | None = None


@dataclass(frozen=True)
class JudgeSettings:
    """A judge's YAML, checked.

    Attributes:
        model: who judges.
        template: a built-in template's name, or a YAML file of one.
        orders: "both", "ab" or "ba"; of comparisons alone.
        samples: votes in each order; of comparisons alone.
        combine: "mean" or "log_odds"; of comparisons alone.
        temperature: of what an endpoint writes.
        max_tokens: of what an endpoint writes; None is by the kind of model, see `tokens`.
        salt: goes into the marks of a template that asks for them, so that nobody can guess one; of an endpoint.
        scale: of ratings alone, as in "0-9"; None is the template's own, or 0-9.
    """

    model: ModelSettings
    template: str | None = None
    orders: str = "both"
    samples: int = 1
    combine: str = "mean"
    temperature: float = 0.0
    max_tokens: int | None = None
    salt: str = ""
    scale: str | None = None

    @property
    def reads(self) -> list[str]:
        """The files and folders that the judge is made of: its template's file, the folder of a local model."""
        named = (self.model.name if self.model.kind == "local" else None, self.template)
        return [name for name in named if isinstance(name, str) and is_there(name)]

    def tokens(self, marked: bool = False) -> int:
        """The longest answer; `marked` where the template asks for reasons and a marked last line."""
        if self.max_tokens is not None:
            return self.max_tokens
        model = self.model
        if model.kind != "api":
            return answer_tokens("")  # nothing is written
        told = {name: getattr(model, name) for name in _TOLD if getattr(model, name) is not None}
        return answer_tokens(str(model.name), told, marked=marked)

    def row(self, marked: bool = False) -> dict[str, Any]:
        """The settings as a manifest keeps them: `JudgeConfig`'s names with their defaults filled in, no secrets."""
        model = self.model
        row: dict[str, Any] = {flat: getattr(model, name) for flat, name in _FLAT_MODEL.items()}
        row |= {name: getattr(self, name) for name in _TOP}
        row["max_tokens"] = self.tokens(marked)
        row["concurrency"] = model.concurrency or 32
        row["judge"] = "scripted" if model.kind == "function" else model.kind
        row["judge_model"] = model.name if isinstance(model.name, str) else repr(model.name)
        row["template"] = self.template or ("compact" if model.kind == "function" else "helpful")
        told = {name: getattr(model, name) for name in _TOLD} | {"salt": self.salt or None, "scale": self.scale}
        row |= {name: without_keys(value) for name, value in told.items() if value is not None}
        if model.extra_headers:
            row["extra_headers"] = sorted(model.extra_headers)  # their names: a value may be a key
        return {name: redacted_json(value) for name, value in row.items()}


AnyJudge = JudgeSettings | JudgeConfig | Mapping[str, Any] | str | Path | Callable[..., Any]

# The flat names of `JudgeConfig` and what they are called under `model:`.
_FLAT_MODEL = {
    "judge_revision": "revision",
    "judge_dtype": "dtype",
    "judge_load_in_4bit": "load_in_4bit",
    "judge_device_map": "device_map",
    "judge_tokens": "tokens",
    "trust_remote_code": "trust_remote_code",
    **{name: name for name in ("base_url", "served_as", "api_key_env", "concurrency", "max_retries", "timeout")},
    "patience": "patience",
    "logprobs": "logprobs",
}
# What a model is told with every call.
_TOLD = ("extra_body", "chat_template_kwargs", "reasoning_effort")
_TOP = ("template", "orders", "samples", "combine", "temperature", "max_tokens")
# Which kinds use a setting; what is not here all of them do.
_USERS = {
    **dict.fromkeys(("revision", "dtype", "load_in_4bit", "device_map", "tokens", "trust_remote_code"), ("local",)),
    **dict.fromkeys(("base_url", "api_key_env", "max_retries", "timeout", "patience"), ("api",)),
    **dict.fromkeys(("served_as", "concurrency"), ("api", "function")),
    **dict.fromkeys(("logprobs", "extra_body", "extra_headers", "reasoning_effort"), ("api",)),
    **dict.fromkeys(("temperature", "max_tokens", "salt"), ("api",)),
    **dict.fromkeys(("template", "chat_template_kwargs"), ("local", "api")),
}


def judge_settings(judge: AnyJudge, **settings: Any) -> JudgeSettings:
    """A judge from its command line, its YAML file, the mapping that the file holds, its model's name, or a function.

    Args:
        judge: in any of these forms.
        settings: what else would stand in the YAML, of the judge or of its model (`dtype`, `extra_body`, ...); they win
            over it.

    Raises:
        ValueError: a setting is unknown, is no such value, or is one that this kind of judge would not use.
    """
    if isinstance(judge, JudgeSettings):
        return judge
    if isinstance(judge, JudgeConfig):
        return _of_config(judge)
    if isinstance(judge, str) and judge in _KINDS:
        return _of_config(JudgeConfig(judge=judge))  # which lacks its model, and says so
    base_url = settings.get("base_url")
    values: dict[str, Any]
    if callable(judge) or isinstance(judge, Mapping):
        where = "the judge"
        values = _nested(judge, where) if isinstance(judge, Mapping) else {"model": judge}
        model = _model_mapping(values["model"], where, base_url)
    elif isinstance(judge, str | Path):
        values, model, where = _of_word(str(judge), base_url)
    else:
        raise UsageError(
            f"judge is {shown(judge, 40)}; expected a model (folder, Hub id or an endpoint's name), a judge's YAML "
            "file or the mapping in one, or a function."
        )
    of_model = {f.name for f in dataclasses.fields(ModelSettings)}
    values, model = _spelled(values, where), _spelled(model, where)
    for name, value in _spelled(settings, "the judge").items():
        if name in _FLAT_MODEL or name in of_model:
            model[_FLAT_MODEL.get(name, name)] = value
        else:
            values[name] = value
    return _checked({**values, "model": model}, where)


def endpoint_settings(path: str) -> ModelSettings:
    """The endpoint's model that a YAML file describes: what stands under `model:` in a judge's, at the top or there.

    Raises:
        UsageError: it cannot be read, a setting is unknown or no such value, or it is no endpoint's.
    """
    try:
        values = read_mapping(path, path)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if "model" in values:
        if beside := [str(name) for name in values if name != "model"]:
            raise UsageError(
                f"{path} has {redacted(beside[0])!r:.60} beside `model`, which is a judge's; expected the model alone "
                f"(name, base_url, ...). {_SAMPLED}"
            )
        values = values["model"]
    model = _model_mapping(values, path)
    known = [f.name for f in dataclasses.fields(ModelSettings) if f.name != "logprobs"]
    if unknown := [str(name) for name in model if name not in known]:
        of_judge = {f.name for f in dataclasses.fields(JudgeSettings)}
        hint = _SAMPLED if unknown[0] in (*of_judge, "top_p") else did_you_mean(unknown[0], known, known_as="known are")
        raise UsageError(f"{path}: {redacted(unknown[0])!r:.60} is not a setting of a policy's endpoint; {hint}")
    if model["kind"] != "api":
        raise UsageError(
            f"{path} names the {model['kind']} model {safe('name', model['name'])}; expected an endpoint's: give its "
            "base_url, or `kind: api` for OpenAI's own. A folder or Hub id is named without a YAML file."
        )
    try:
        return _checked({"model": model}, path).model
    except UsageError as error:
        raise error if path in str(error) else UsageError(f"{path}: {error}") from None


_SAMPLED = "How responses are sampled is said on the command line, for all policies: --policy_temperature and so on."


def _of_word(word: str, base_url: str | None) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The mapping that `--judge` names, a YAML file's or that of a model alone; its model; what errors call it."""
    if is_file(word) and Path(word).suffix in {".yaml", ".yml"}:
        try:
            values, where = _nested(read_mapping(word, word), word), word
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(str(error)) from None
    else:
        _refuse_misspelt_kind(word)
        values, where = {"model": word}, "the judge"
    # With a base_url given beside it, a model of no stated kind is an endpoint's.
    return _spelled(values, where), _spelled(_model_mapping(values["model"], where, base_url), where), where


def _of_config(config: JudgeConfig) -> JudgeSettings:
    given = {
        f.name: value
        for f in dataclasses.fields(JudgeConfig)
        if f.name not in ("judge", "judge_model") and (value := getattr(config, f.name)) is not None
    }
    word, name = config.judge, config.judge_model
    values: dict[str, Any] = {}
    where = "the judge"
    if word in _KINDS or word is None:
        if not name:
            raise UsageError(
                "judge_model is not set; expected a model (local, api) or a function (scripted), or --judge with a "
                "judge's YAML file or a model."
            )
        model: dict[str, Any] = {"name": name, "kind": _KINDS[word or "local"]}
        kind = word or "local"
    else:
        if name:
            raise UsageError(
                f"judge is {word!r} and judge_model {name!r}; beside a judge_model the judge is a kind: "
                f"{one_of(word, _KINDS)}"
            )
        values, model, where = _of_word(word, given.get("base_url"))
        kind = model["kind"]
    model |= {_FLAT_MODEL[flat]: value for flat, value in given.items() if flat in _FLAT_MODEL}
    values = {**values, "model": model, **{flat: value for flat, value in given.items() if flat in _TOP}}
    return _checked(values, where, said=kind)


def _refuse_misspelt_kind(word: str) -> None:
    if len(word) < LONGEST and Path(word).suffix in {".yaml", ".yml"}:
        what = "is a folder" if Path(word).is_dir() else "does not exist"
        raise UsageError(f"judge is {redacted(word)!r}, which {what}; expected a judge's YAML file.")
    close = meant(word, _KINDS, cutoff=0.7)
    if close and not Path(word).exists():
        raise UsageError(
            f"judge is {word!r}; expected one of {', '.join(name for name in _KINDS if name != 'function')}, a judge's "
            f"YAML file, or a model.{close}"
        )


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A judge's mapping in its nested form; one of the older, flat form is translated."""
    if "model" in values:
        return dict(values)
    if "judge_model" not in values:
        close = nearest("model", map(str, values), 0.6)
        hint = f"did you misspell it as {close[0]!r}?" if close else "expected as in `model: Qwen/Qwen3-8B`."
        raise UsageError(f"{where} has no `model`; {hint}")
    known = [*(f.name for f in dataclasses.fields(JudgeConfig)), "scale"]
    if unknown := [name for name in values if name not in known]:
        raise UsageError(unknown_setting(where, str(unknown[0]), known))
    kind = values.get("judge") or "local"
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(f"{where}: judge is {kind!r}; {one_of(kind, ('local', 'api', 'scripted'))}")
    model = {"name": values["judge_model"], "kind": _KINDS[kind]}
    model |= {_FLAT_MODEL[flat]: value for flat, value in values.items() if flat in _FLAT_MODEL and value is not None}
    top = {name: values[name] for name in (*_TOP, "scale") if values.get(name) is not None}
    return {"model": model, **top}


def _model_mapping(value: Any, where: str, base_url: str | None = None) -> dict[str, Any]:
    """`model:` as a mapping with its kind filled in; `base_url` is one that was given elsewhere."""
    model = {"name": value} if isinstance(value, str) or callable(value) else value
    named = model.get("name") if isinstance(model, Mapping) else None
    if not callable(named) and not (isinstance(named, str) and named.strip()):
        # A mapping's values are not shown: a header's may be a key.
        names = ", ".join(redacted(str(name)) for name in value) if isinstance(value, Mapping) else ""
        got = f"a mapping with {names or 'nothing'}" if isinstance(value, Mapping) else safe("model", value)
        if isinstance(value, Mapping) and named is not None:
            quote = ", a number: quote it" if isinstance(named, int | float) else ""
            got = f"a mapping whose name is {safe('name', named)}{quote}"
        raise UsageError(f"{where}: model is {got:.120}; expected a model's name, or a mapping with its `name`.")
    model = dict(model)
    name, kind = model["name"], model.get("kind")
    if isinstance(name, str):
        check_text("name", name, where, called="the model's name")
    if kind is None:
        if callable(name):
            kind = "function"
        elif model.get("base_url") or base_url:
            kind = "api"  # before functions: "llama3:latest" is a name at an endpoint
        else:
            kind = "function" if _is_function(name) else "local"
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(
            f"{where}: the model's kind is {safe('kind', kind)}; {one_of(kind, ('local', 'api', 'function'))}"
        )
    return {**model, "kind": _KINDS[kind]}


def _is_function(name: str) -> bool:
    """Whether a model's name is a function's: "module:function", or "module.function" of a module that is there."""
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        return True
    dotted = re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", name)
    return bool(dotted) and not Path(name).exists() and function_file(name) is not None


def _checked(values: Mapping[str, Any], where: str, said: str | None = None) -> JudgeSettings:
    """The settings of a nested mapping; `said` is the word that named the kind."""
    model = _spelled(_model_mapping(values.get("model"), where), where)
    top = _spelled({name: value for name, value in values.items() if name != "model"}, where)
    of_model = [f.name for f in dataclasses.fields(ModelSettings)]
    of_judge = [f.name for f in dataclasses.fields(JudgeSettings) if f.name != "model"]
    for names, own, other, place in ((model, of_model, of_judge, "beside"), (top, of_judge, of_model, "under")):
        if unknown := [str(name) for name in names if name not in own]:
            if unknown[0] in other:
                raise UsageError(f"{where}: {unknown[0]!r} belongs {place} `model:`.")
            raise UsageError(unknown_setting(where, unknown[0], own))
    kind = model["kind"]
    said = said or kind
    for part in (model, top):
        for name, value in part.items():
            if value is None or name in ("name", "kind"):
                continue
            users = _USERS.get(name)
            if users is not None and kind not in users:
                flat = next((flat for flat, own in _FLAT_MODEL.items() if own == name), name)
                raise UsageError(
                    f"{flat} is {safe(name, value)}, which judge {said!r} does not use; leave it out, or set --judge "
                    f"to {' or '.join(users)}."
                )
            part[name] = checked_value(name, value, where)
    settings = JudgeSettings(
        ModelSettings(**{name: value for name, value in model.items() if value is not None}),
        **{name: value for name, value in top.items() if value is not None},
    )
    if kind == "api":
        _check_access(settings.model)
    if settings.samples > 1 and kind != "api":
        raise UsageError(f"samples is {settings.samples}; a {said} judge gives the same vote every time, use 1.")
    if settings.samples > 1 and settings.temperature == 0.0:
        raise UsageError("samples > 1 at temperature 0 asks the same thing again; set --temperature above 0.")
    return settings


# Other names of a judge's settings: what the same thing is called elsewhere in this package and in TRL.
_ALSO = {
    **dict.fromkeys(("max_new_tokens", "max_completion_tokens", "max_completion_length"), "max_tokens"),
    "torch_dtype": "dtype",
    "model_revision": "revision",
}


def _spelled(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings under their own names, dashes for underscores and other names understood."""
    found: dict[str, Any] = {}
    first: dict[str, str] = {}
    for given, value in values.items():
        name = _ALSO.get(str(given).replace("-", "_"), str(given).replace("-", "_"))
        if name in found and found[name] != value:
            raise UsageError(
                f"{where}: {first[name]} is {safe(name, found[name])} and {given} {safe(name, value)}, which are two "
                "names of one setting; expected one of them."
            )
        found[name], first[name] = value, str(given)
    return found


def _check_access(model: ModelSettings) -> None:
    """Where and with what an endpoint is reached; what may be a key is kept out of every line from now on."""
    check_variable(model.api_key_env)
    key_in(model.api_key_env)
    if model.extra_headers:
        check_headers(model.extra_headers, model.api_key_env)
    keep_if_key(*secrets_in(model.extra_body))
    if model.base_url is not None:
        check_address(model.base_url, model.api_key_env)
    elif address := os.environ.get("OPENAI_BASE_URL"):
        check_address(address, model.api_key_env, called="the environment variable OPENAI_BASE_URL")


def model_of(settings: ModelSettings) -> Model:
    """The model that `settings` describe. A local one's weights are loaded when there is something to ask."""
    if settings.kind == "function":
        from rlaif.models.function import function_model

        return function_model(settings.name, settings.concurrency, settings.served_as)
    assert isinstance(settings.name, str)
    if settings.kind == "api":
        from rlaif.models.api import ApiModel
        from rlaif.models.endpoint import Endpoint

        endpoint = Endpoint(
            settings.name,
            settings.base_url,
            settings.api_key_env,
            settings.concurrency or 32,
            settings.max_retries,
            settings.timeout,
            settings.extra_headers,
            settings.patience,
        )
        more = {name: getattr(settings, name) for name in _TOLD}
        return ApiModel(endpoint, served_as=settings.served_as, settings=more)
    from rlaif.models.local import LocalModel

    return LocalModel(
        settings.name,
        revision=settings.revision,
        dtype=settings.dtype,
        load_in_4bit=settings.load_in_4bit,
        device_map=settings.device_map,
        tokens=settings.tokens,
        trust_remote_code=settings.trust_remote_code,
    )


def load_judge(judge: AnyJudge, *, retry: bool = False, **settings: Any) -> Pairwise:
    """The judge of pairs that `judge` describes (see `judge_settings`).

    Args:
        judge, settings: as in `judge_settings`.
        retry: ask once more for what was answered but could not be read.

    Raises:
        ValueError: there is no such judge.
    """
    of_judge = judge_settings(judge, **settings)
    orders: dict[str, tuple[Order, ...]] = {"both": ORDERS, "ab": ("ab",), "ba": ("ba",)}
    function = of_judge.model.kind == "function"
    template = TEMPLATES["compact"] if function else load_template(of_judge.template or "helpful")
    question = _question(of_judge, template, retry)
    return Pairwise(
        question, orders[of_judge.orders], of_judge.samples, of_judge.combine, about=of_judge.row(template.has_mark)
    )


def load_rater(judge: AnyJudge, **settings: Any) -> RatingMethod:
    """The judge of single responses that `judge` describes; as `load_judge`, with a rating template.

    Raises:
        ValueError: there is no such judge, setting or scale.
    """
    of_judge = judge_settings(judge, **settings)
    scale = None if of_judge.scale is None else parse_scale(of_judge.scale, "the judge")
    if of_judge.model.kind == "function":
        template = rating_template("compact", scale or (0, 9))
    else:
        template = load_rating_template(of_judge.template or "helpful", scale)
    return RatingMethod(_question(of_judge, template, False))


def _question(settings: JudgeSettings, template: BaseTemplate, retry: bool) -> Question:
    model = settings.model
    kwargs = model.chat_template_kwargs
    return Question(
        model_of(model),
        template,
        settings.temperature,
        settings.tokens(template.has_mark),
        model.logprobs == "auto",
        # An endpoint has them in its identity; a local model reads them from the call.
        (("chat_template_kwargs", dict(kwargs)),) if kwargs and model.kind == "local" else (),
        retry,
        room=ROOM if settings.max_tokens is None else None,
        salt=settings.salt,
    )
