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
import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import CREDENTIAL, UsageError, read_mapping
from rlaif.judging.pairwise import Pairwise
from rlaif.judging.prompts import TEMPLATES, load_rating_template, load_template, parse_scale, rating_template
from rlaif.judging.question import Question
from rlaif.judging.rating import RatingMethod
from rlaif.models.base import Model
from rlaif.records import ORDERS, Order

__all__ = [
    "AnyJudge",
    "JudgeConfig",
    "JudgeSettings",
    "ModelSettings",
    "judge_settings",
    "load_judge",
    "load_rater",
    "model_of",
]

_KINDS = {"local": "local", "api": "api", "function": "function", "scripted": "function"}


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
        metadata={"help": "Built-in template (helpful, harmless, compact) or a YAML file of yours. Default: helpful."},
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
        default=None, metadata={"help": "api: seconds before a call counts as failed. Default: 120."}
    )
    logprobs: str | None = field(
        default=None,
        metadata={
            "help": "api: 'auto' reads the labels' log-probabilities where the endpoint gives them with its first "
            "answer, 'never' reads the text. Default: auto.",
            "choices": ["auto", "never"],
        },
    )
    temperature: float | None = field(
        default=None, metadata={"help": "api: sampling temperature of the verdict. Default: 0."}
    )
    max_tokens: int | None = field(
        default=None,
        metadata={"help": "api: longest answer. Judges that reason before they answer need more. Default: 16."},
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
        revision, dtype, load_in_4bit, device_map, tokens: local; as in `LocalModel`.
        base_url, served_as, api_key_env, concurrency, max_retries, timeout: api; as in `Endpoint` and `ApiModel`.
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
    base_url: str | None = None
    served_as: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int | None = None
    max_retries: int = 8
    timeout: float = 120.0
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
        temperature, max_tokens: of what an endpoint writes.
        scale: of ratings alone, as in "0-9"; None is the template's own, or 0-9.
    """

    model: ModelSettings
    template: str | None = None
    orders: str = "both"
    samples: int = 1
    combine: str = "mean"
    temperature: float = 0.0
    max_tokens: int = 16
    scale: str | None = None

    def row(self) -> dict[str, Any]:
        """The settings as a manifest keeps them: `JudgeConfig`'s names with their defaults filled in, no secrets."""
        model = self.model
        row: dict[str, Any] = {flat: getattr(model, name) for flat, name in _FLAT_MODEL.items()}
        row |= {name: getattr(self, name) for name in _TOP}
        row["concurrency"] = model.concurrency or 32
        row["judge"] = "scripted" if model.kind == "function" else model.kind
        row["judge_model"] = model.name if isinstance(model.name, str) else repr(model.name)
        row["template"] = self.template or ("compact" if model.kind == "function" else "helpful")
        for name in ("extra_body", "chat_template_kwargs", "reasoning_effort", "scale"):
            value = getattr(model, name, None) if name != "scale" else self.scale
            if value is not None:
                row[name] = _without_secrets(value)
        if model.extra_headers:
            row["extra_headers"] = sorted(model.extra_headers)  # their names: a value may be a key
        return row


AnyJudge = JudgeSettings | JudgeConfig | Mapping[str, Any] | str | Path | Callable[..., Any]

# The flat names of `JudgeConfig` and what they are called under `model:`.
_FLAT_MODEL = {
    "judge_revision": "revision",
    "judge_dtype": "dtype",
    "judge_load_in_4bit": "load_in_4bit",
    "judge_device_map": "device_map",
    "judge_tokens": "tokens",
    **{name: name for name in ("base_url", "served_as", "api_key_env", "concurrency", "max_retries", "timeout")},
    "logprobs": "logprobs",
}
_TOP = ("template", "orders", "samples", "combine", "temperature", "max_tokens")
# Which kinds use a setting; what is not here all of them do.
_USERS = {
    **dict.fromkeys(("revision", "dtype", "load_in_4bit", "device_map", "tokens"), ("local",)),
    **dict.fromkeys(("base_url", "api_key_env", "max_retries", "timeout"), ("api",)),
    **dict.fromkeys(("served_as", "concurrency"), ("api", "function")),
    **dict.fromkeys(("logprobs", "extra_body", "extra_headers", "reasoning_effort"), ("api",)),
    **dict.fromkeys(("temperature", "max_tokens"), ("api",)),
    **dict.fromkeys(("template", "chat_template_kwargs"), ("local", "api")),
}
_CHOICES = {
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "orders": ("both", "ab", "ba"),
    "combine": ("mean", "log_odds"),
    "logprobs": ("auto", "never"),
}
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("tokens", "concurrency", "max_retries", "samples", "max_tokens"), ((int,), "a whole number")),
    **dict.fromkeys(("timeout", "temperature"), ((int, float), "a number")),
    "load_in_4bit": ((bool,), "true or false"),
    **dict.fromkeys(("extra_body", "extra_headers", "chat_template_kwargs"), ((Mapping,), "a mapping")),
    **dict.fromkeys(
        ("revision", "dtype", "device_map", "base_url", "served_as", "api_key_env", "reasoning_effort", "template"),
        ((str,), "text"),
    ),
}
_LEAST: dict[str, float] = {
    "tokens": 1,
    "concurrency": 1,
    "max_retries": 0,
    "samples": 1,
    "max_tokens": 1,
    "temperature": 0.0,
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
    else:
        values, model, where = _of_word(str(judge), base_url)
    of_model = {f.name for f in dataclasses.fields(ModelSettings)}
    for name, value in settings.items():
        if name in _FLAT_MODEL or name in of_model:
            model[_FLAT_MODEL.get(name, name)] = value
        else:
            values[name] = value
    return _checked({**values, "model": model}, where)


def _of_word(word: str, base_url: str | None) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The mapping that `--judge` names, a YAML file's or that of a model alone; its model; what errors call it."""
    if Path(word).is_file() and Path(word).suffix in {".yaml", ".yml"}:
        values, where = _nested(read_mapping(word, word), word), word
    else:
        _refuse_misspelt_kind(word)
        values, where = {"model": word}, "the judge"
    # With a base_url given beside it, a model of no stated kind is an endpoint's.
    return values, _model_mapping(values["model"], where, base_url), where


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
            close = difflib.get_close_matches(word, _KINDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(_KINDS)}."
            raise UsageError(
                f"judge is {word!r} and judge_model {name!r}; beside a judge_model the judge is a kind: {hint}"
            )
        values, model, where = _of_word(word, given.get("base_url"))
        kind = model["kind"]
    model |= {_FLAT_MODEL[flat]: value for flat, value in given.items() if flat in _FLAT_MODEL}
    values = {**values, "model": model, **{flat: value for flat, value in given.items() if flat in _TOP}}
    return _checked(values, where, said=kind)


def _refuse_misspelt_kind(word: str) -> None:
    if Path(word).suffix in {".yaml", ".yml"}:
        raise UsageError(f"judge is {word!r}, which does not exist; expected a judge's YAML file.")
    close = difflib.get_close_matches(word, _KINDS, n=1, cutoff=0.7)
    if close and not Path(word).exists():
        raise UsageError(
            f"judge is {word!r}; expected one of {', '.join(name for name in _KINDS if name != 'function')}, a judge's "
            f"YAML file, or a model. Did you mean {close[0]!r}?"
        )


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A judge's mapping in its nested form; one of the older, flat form is translated."""
    if "model" in values:
        return dict(values)
    if "judge_model" not in values:
        close = difflib.get_close_matches("model", map(str, values), n=1)
        hint = f"did you misspell it as {close[0]!r}?" if close else "expected as in `model: Qwen/Qwen3-8B`."
        raise UsageError(f"{where} has no `model`; {hint}")
    known = [*(f.name for f in dataclasses.fields(JudgeConfig)), "scale"]
    if unknown := [name for name in values if name not in known]:
        raise UsageError(_unknown(where, str(unknown[0]), known))
    kind = values.get("judge") or "local"
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(f"{where}: judge is {kind!r}; expected one of local, api, scripted.")
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
        got = f"a mapping with {', '.join(map(str, value)) or 'nothing'}" if isinstance(value, Mapping) else repr(value)
        raise UsageError(f"{where}: model is {got:.80}; expected a model's name, or a mapping with its `name`.")
    model = dict(model)
    name, kind = model["name"], model.get("kind")
    if kind is None:
        if callable(name):
            kind = "function"
        elif model.get("base_url") or base_url:
            kind = "api"  # before functions: "llama3:latest" is a name at an endpoint
        else:
            kind = "function" if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name) else "local"
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(f"{where}: the model's kind is {kind!r}; expected one of local, api, function.")
    return {**model, "kind": _KINDS[kind]}


def _checked(values: Mapping[str, Any], where: str, said: str | None = None) -> JudgeSettings:
    """The settings of a nested mapping; `said` is the word that named the kind."""
    model = _model_mapping(values.get("model"), where)
    top = {name: value for name, value in values.items() if name != "model"}
    of_model = [f.name for f in dataclasses.fields(ModelSettings)]
    of_judge = [f.name for f in dataclasses.fields(JudgeSettings) if f.name != "model"]
    for names, own, other, place in ((model, of_model, of_judge, "beside"), (top, of_judge, of_model, "under")):
        if unknown := [str(name) for name in names if name not in own]:
            if unknown[0] in other:
                raise UsageError(f"{where}: {unknown[0]!r} belongs {place} `model:`.")
            raise UsageError(_unknown(where, unknown[0], own))
    kind = model["kind"]
    said = said or kind
    for name, value in [*model.items(), *top.items()]:
        if value is None or name in ("name", "kind"):
            continue
        users = _USERS.get(name)
        if users is not None and kind not in users:
            flat = next((flat for flat, own in _FLAT_MODEL.items() if own == name), name)
            raise UsageError(
                f"{flat} is {_shown(name, value)}, which judge {said!r} does not use; leave it out, or set --judge to "
                f"{' or '.join(users)}."
            )
        _check_value(name, value, where)
    settings = JudgeSettings(
        ModelSettings(**{name: value for name, value in model.items() if value is not None}),
        **{name: value for name, value in top.items() if value is not None},
    )
    if settings.samples > 1 and kind != "api":
        raise UsageError(f"samples is {settings.samples}; a {said} judge gives the same vote every time, use 1.")
    if settings.samples > 1 and settings.temperature == 0.0:
        raise UsageError("samples > 1 at temperature 0 asks the same thing again; set --temperature above 0.")
    return settings


def _check_value(name: str, value: Any, where: str) -> None:
    types, wanted = _TYPES.get(name, ((object,), ""))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
        raise UsageError(f"{where}: {name} is {_shown(name, value)}; expected {wanted}.")
    if isinstance(value, Mapping):
        _check_mapping(name, value, where)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UsageError(f"{where}: {name} is {value!r}; expected one of {', '.join(_CHOICES[name])}.")
    number: Any = value
    if name in _LEAST and not _LEAST[name] <= number < float("inf"):
        raise UsageError(f"{name} is {value}; expected at least {_LEAST[name]}.")
    if name == "timeout" and not 0.0 < number < float("inf"):
        raise UsageError(f"timeout is {value}; expected a number of seconds above 0.")
    if name == "scale":
        parse_scale(value, where)


def _check_mapping(name: str, value: Mapping[Any, Any], where: str) -> None:
    """Headers are text; what goes into a call's body, or into its address, is JSON."""
    if name == "extra_headers":
        for header, text in value.items():
            if not isinstance(header, str) or not isinstance(text, str):
                raise UsageError(
                    f"{where}: {name} has {header!r} of type {type(text).__name__}; expected text for text: quote it."
                )
        return
    if name == "chat_template_kwargs" and (taken := _RENDERING.intersection(value)):
        raise UsageError(
            f"{where}: {name} has {min(taken)!r}, which is set by how a question is rendered; leave it out."
        )
    try:
        json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{where}: {name} is {value!r:.80}, which is no JSON ({error}); expected text, numbers, true or false, and "
            "lists and mappings of them. Quote dates."
        ) from None


_RENDERING = {"add_generation_prompt", "conversation", "messages", "tokenize", "continue_final_message"}


def _without_secrets(value: Any) -> Any:
    """A JSON value without what stands under a name that is a key's."""
    if isinstance(value, Mapping):
        return {
            name: "(not shown)" if CREDENTIAL.search(str(name)) and isinstance(inner, str) else _without_secrets(inner)
            for name, inner in value.items()
        }
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def _shown(name: str, value: Any) -> str:
    """A value as an error shows it; not a header's, which may be a key."""
    return f"a {type(value).__name__}" if name == "extra_headers" else f"{value!r:.80}"


def _unknown(where: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
    return f"{where}: {name!r} is not a setting of a judge; {hint}"


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
        )
        more = {name: getattr(settings, name) for name in ("extra_body", "chat_template_kwargs", "reasoning_effort")}
        return ApiModel(endpoint, served_as=settings.served_as, settings=more)
    from rlaif.models.local import LocalModel

    return LocalModel(
        settings.name,
        revision=settings.revision,
        dtype=settings.dtype,
        load_in_4bit=settings.load_in_4bit,
        device_map=settings.device_map,
        tokens=settings.tokens,
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
    return Pairwise(question, orders[of_judge.orders], of_judge.samples, of_judge.combine, about=of_judge.row())


def load_rater(judge: AnyJudge, **settings: Any) -> RatingMethod:
    """The judge of single responses that `judge` describes; as `load_judge`, with a rating template."""
    of_judge = judge_settings(judge, **settings)
    scale = None if of_judge.scale is None else parse_scale(of_judge.scale, "the judge")
    if of_judge.model.kind == "function":
        template = rating_template("compact", scale or (0, 9))
    else:
        template = load_rating_template(of_judge.template or "helpful", scale)
    return RatingMethod(_question(of_judge, template, False))


def _question(settings: JudgeSettings, template: Any, retry: bool) -> Question:
    model = settings.model
    kwargs = model.chat_template_kwargs
    return Question(
        model_of(model),
        template,
        settings.temperature,
        settings.max_tokens,
        model.logprobs == "auto",
        # An endpoint has them in its identity; a local model reads them from the call.
        (("chat_template_kwargs", dict(kwargs)),) if kwargs and model.kind == "local" else (),
        retry,
    )
