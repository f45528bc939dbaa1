"""Numbers in settings: what each of them can be, wherever it comes from, whichever library has named it.

A number that is NaN or infinite is none, and most settings have a range: a negative beta learns the opposite, a
temperature that is NaN draws anything. Here it is refused by name when it is read, before anything is loaded. A
setting's own default is right whatever the range: it stands for "not used" in places.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from rlaif.errors.words import bare_word, one_of, shown
from rlaif.settings.declared import Setting, settings_of_class
from rlaif.settings.spelled import Names

__all__ = ["check_number", "check_settings", "check_values", "settings_of"]

Settings = TypeVar("Settings")

LARGEST = 2**31 - 1  # of a whole number: beyond it libraries overflow, each in its own way
_SEEDS = 2**32 - 1  # NumPy's


class _Range(NamedTuple):
    """Numbers from `low` to `high`; an open end is left out. `words` say it in errors."""

    words: str
    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    unit: str = ""

    def holds(self, value: float) -> bool:
        """Whether `value` is within."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below


_ABOVE_0 = _Range("a number above 0", 0.0, low_open=True)
_FROM_0 = _Range("0 or more", 0.0)
_FROM_1 = _Range("at least 1", 1.0)
_SHARE = _Range("a number in [0, 1]", 0.0, 1.0)
_MASS = _Range("a number in (0, 1]", 0.0, 1.0, low_open=True)
_DECAY = _Range("a number in [0, 1)", 0.0, 1.0, high_open=True)
_UNDER_1 = _Range("a share in [0, 1)", 0.0, 1.0, high_open=True)
_WRONG = _Range("a share of wrong labels in [0, 0.5)", 0.0, 0.5, high_open=True)
_TEMPERATURE = _Range("at least 0", 0.0)
_TIMEOUT = _Range("a number of seconds above 0", 0.0, 1e6, low_open=True, unit=" seconds")
_PATIENCE = _TIMEOUT._replace(high=1e7)
_SEED = _Range(f"a whole number from 0 to {_SEEDS:,}", 0, _SEEDS)
_PORT = _Range("a port from 1 to 65,535", 1, 65_535)

_RANGES: dict[str, _Range] = {
    **dict.fromkeys(("learning_rate", "critic_learning_rate"), _ABOVE_0),
    **dict.fromkeys(("beta", "kl_target", "adam_epsilon", "num_train_epochs", "discopop_tau", "lora_alpha"), _ABOVE_0),
    **dict.fromkeys(("repetition_penalty", "epsilon", "epsilon_high", "reward_clip", "value_clip"), _ABOVE_0),
    **dict.fromkeys(("vllm_importance_sampling_clip_min", "vllm_importance_sampling_clip_max"), _ABOVE_0),
    **dict.fromkeys(("kl_coef", "kl_gain", "value_coef", "missing_eos_penalty", "critic_warmup_steps"), _FROM_0),
    **dict.fromkeys(("weight_decay", "max_grad_norm", "warmup_steps", "eval_delay", "dataloader_num_workers"), _FROM_0),
    **dict.fromkeys(("center_rewards_coefficient", "router_aux_loss_coef", "neftune_noise_alpha"), _FROM_0),
    **dict.fromkeys(("entropy_coef", "f_alpha_divergence_coef", "loss_weights"), _FROM_0),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps", "price_input", "price_output", "examples"), _FROM_0),
    **dict.fromkeys(("gamma", "gae_lambda", "ld_alpha", "min_p", "top_entropy_quantile"), _SHARE),
    **dict.fromkeys(("coverage", "similarity", "ref_model_mixup_alpha"), _SHARE),
    **dict.fromkeys(("top_p", "policy_top_p", "vllm_gpu_memory_utilization"), _MASS),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor"), _DECAY),
    "label_smoothing": _WRONG,
    **dict.fromkeys(("validation", "test"), _UNDER_1),
    "tie_band": _Range("a number in [0, 0.5)", 0.0, 0.5, high_open=True),
    "min_confidence": _Range("a number in [0.5, 1]", 0.5, 1.0),
    "flip_rate": _Range("a share in [0, 0.5]", 0.0, 0.5),
    "cliprange": _ABOVE_0,
    **dict.fromkeys(("temperature", "policy_temperature"), _TEMPERATURE),
    **dict.fromkeys(("timeout", "vllm_server_timeout", "ddp_timeout"), _TIMEOUT),
    "patience": _PATIENCE,
    **dict.fromkeys(("seed", "data_seed"), _SEED),
    **dict.fromkeys(("vllm_server_port", "vllm_group_port", "port"), _PORT),
    **dict.fromkeys(("lora_r", "per_device_train_batch_size", "per_device_eval_batch_size", "limit", "n"), _FROM_1),
    "steps": _FROM_1,
    **dict.fromkeys(("gradient_accumulation_steps", "max_length", "max_completion_length", "max_new_tokens"), _FROM_1),
    **dict.fromkeys(("batch_tokens", "score_batch_size", "num_generations", "num_iterations"), _FROM_1),
    **dict.fromkeys(("steps_per_generation", "generation_batch_size", "held_out_limit", "bootstrap_samples"), _FROM_1),
    **dict.fromkeys(("precompute_ref_batch_size", "dataloader_prefetch_factor", "eval_accumulation_steps"), _FROM_1),
    **dict.fromkeys(("torch_empty_cache_steps", "save_total_limit", "vllm_tensor_parallel_size"), _FROM_1),
    **dict.fromkeys(("vllm_max_model_length", "ref_model_sync_steps", "num_generations_eval"), _FROM_1),
    **dict.fromkeys(("ddp_bucket_cap_mb", "pad_to_multiple_of", "samples", "pairs_per_prompt"), _FROM_1),
    **dict.fromkeys(("jobs", "threads", "pairs", "rows", "batch", "minibatches", "epochs", "checkpoints"), _FROM_1),
    **dict.fromkeys(("response_length", "judge_tokens", "max_tokens"), _FROM_1),
    **dict.fromkeys(("local_rank", "num_completions_to_print", "processes", "seeds"), _FROM_0),
    **dict.fromkeys(("prompts", "evaluation", "demonstrations"), _FROM_0),
}


def check_settings(values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """A ValueError that names the first setting whose number is none that it can have.

    Args:
        values: settings by name: numbers, lists and mappings of them, or anything else, which is let through.
        defaults: what each is where nothing was given.
    """
    for name, value in values.items():
        if defaults is None or name not in defaults or not _same(value, defaults[name]):
            check_number(name, value)


def check_values(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> None:
    """A ValueError for the first value that a program's settings, by name, say that it is none of theirs.

    Only what is declared is looked at: choices, numbers and their ranges. A null is left to the program.
    """
    for name, value in values.items():
        setting = settings[name]
        called = setting.spellings[0]
        if value is None or isinstance(value, list | Mapping):
            continue
        if setting.choices and not setting.several and str(value) not in setting.choices:
            hint = one_of(value, setting.choices) + bare_word(value)
            raise ValueError(f"{called} is {shown(value)}; {hint}")
        read = {"int": int, "float": float}.get(setting.kind)
        if read is not None and isinstance(value, str):
            try:
                value = read(value)
            except ValueError:
                raise ValueError(f"{called} is {shown(value)}; expected {_WORDS[read]}.") from None
        check_settings({called: value}, {called: setting.default})


def settings_of(
    kind: type[Settings], values: Mapping[str, Any], called: str, set_here: Mapping[str, Any] | None = None
) -> Settings:
    """A dataclass of settings from Python values, held to what its program takes on the command line.

    Args:
        kind: the dataclass.
        values: settings by name.
        called: the function that takes them, for messages.
        set_here: settings that the function gives itself, and that `values` must not name.

    Raises:
        ValueError: a name is no setting, or a value is of another kind or out of its range.
    """
    set_here = set_here or {}
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in set_here}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    known = {setting.name: setting for setting in settings_of_class(kind) if setting.name in fields}
    values = Names(known, called).of_mapping(values)
    for name, value in values.items():
        if not _is_of(value, hints[name]):
            raise ValueError(f"{name} is {value!r}; expected {_word_of(hints[name])}.")
        if (choices := fields[name].metadata.get("choices")) and value not in choices:
            raise ValueError(f"{name} is {value!r}; {one_of(value, choices)}")
    check_settings(values, {name: field.default for name, field in fields.items()})
    return kind(**{**values, **set_here})


_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", types.NoneType: "None"}


def _parts(hint: Any) -> tuple[Any, ...]:
    """The kinds that a type hint allows: those of a union, or itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_of(value: Any, hint: Any) -> bool:
    for part in _parts(hint):
        outer = get_origin(part) or part
        if outer is Any or (outer is float and _is_number(value)):
            return True
        if outer is not float and isinstance(value, outer) and not (outer is int and isinstance(value, bool)):
            return True
    return False


def _word_of(hint: Any) -> str:
    return " or ".join(_WORDS.get(get_origin(part) or part, str(part)) for part in _parts(hint))


def check_number(name: str, value: Any) -> None:
    """A ValueError unless `value`, where it is a number, is one that the setting `name` can have."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            _check_finite(f"{name}: {key}", part, "a number")
    elif isinstance(value, list | tuple):
        _check_finite(name, value, "numbers")
        for part in value:
            if _is_number(part):
                check_number(name, part)
    elif _is_number(value):
        within = _RANGES.get(name)
        if within and within.unit and value > within.high:
            raise ValueError(f"{name} is {value}; expected at most {within.high:,.10g}{within.unit}.")
        _check_finite(name, value, within.words if within else "a number")
        if name == "max_steps":
            if value != -1 and value < 1:
                raise ValueError(f"max_steps is {value}; expected at least 1, or -1 for all of num_train_epochs.")
        elif within and not within.holds(value):
            raise ValueError(f"{name} is {value}; expected {within.words}.")
        elif isinstance(value, int) and abs(value) > LARGEST and within is not _SEED:
            raise ValueError(f"{name} is {value:,}; expected at most {LARGEST:,}.")


def _check_finite(name: str, value: Any, wanted: str) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            _check_finite(f"{name}: {key}", part, wanted)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for part in value:
            _check_finite(name, part, wanted)
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > 2**63:  # as a float it may be none
            raise ValueError(f"{name} is a whole number of more than 18 digits; expected at most {LARGEST:,}.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; expected {wanted}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
