"""TRL's settings without TRL: an index of its dataclasses, and the headings under which they stand in --help.

Importing one of TRL's dataclasses takes seconds, which is long for a line of help or a misspelt name. So what they hold
is kept in library.json, with the versions that it was read from. With other versions installed it is not used: the
dataclasses are read. A test holds it to them; `python -m rlaif.settings.library` writes it anew.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from rlaif.settings.declared import Setting, settings_of_class

__all__ = ["HEADINGS", "INDEX", "KEPT", "heading_of", "index", "library_settings", "ordered"]

INDEX = Path(__file__).with_name("library.json")
KEPT = ("trl.SFTConfig", "trl.DPOConfig", "trl.RewardConfig", "trl.GRPOConfig")
_VERSIONS = ("transformers", "trl")

# Heading -> its settings; --help shows those before the bar, `--help all` the others too. What a class of TRL's has and
# no heading names stands under the heading of its program.
HEADINGS = {
    "training": """
        num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps learning_rate
        lr_scheduler_type warmup_steps weight_decay max_grad_norm optim seed |
        lr_scheduler_kwargs optim_args optim_target_modules adam_beta1 adam_beta2 adam_epsilon data_seed
        full_determinism average_tokens_across_devices auto_find_batch_size label_smoothing_factor neftune_noise_alpha
        train_sampling_strategy length_column_name label_names remove_unused_columns do_train do_eval do_predict
        """,
    "precision and memory": """
        bf16 gradient_checkpointing |
        fp16 bf16_full_eval fp16_full_eval tf32 gradient_checkpointing_kwargs activation_checkpointing
        activation_checkpointing_kwargs activation_offloading use_liger_kernel liger_kernel_config torch_compile
        torch_compile_backend torch_compile_mode torch_empty_cache_steps use_cache use_cpu skip_memory_metrics
        """,
    "evaluation": """
        eval_strategy eval_steps per_device_eval_batch_size |
        eval_delay eval_on_start eval_accumulation_steps eval_do_concat_batches eval_use_gather_object
        batch_eval_metrics include_for_metrics prediction_loss_only load_best_model_at_end metric_for_best_model
        greater_is_better
        """,
    "checkpoints": """
        save_strategy save_steps save_total_limit resume_from_checkpoint |
        save_only_model save_on_each_node enable_jit_checkpoint ignore_data_skip
        restore_callback_states_from_checkpoint
        """,
    "logs": """
        logging_steps report_to run_name |
        logging_strategy logging_first_step logging_nan_inf_filter log_level log_level_replica log_on_each_node
        include_num_input_tokens_seen disable_tqdm project trackio_space_id trackio_bucket_id trackio_static_space_id
        debug
        """,
    "reading data": """|
        dataloader_num_workers dataloader_drop_last dataloader_pin_memory dataloader_persistent_workers
        dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order
        """,
    "several processes": """|
        fsdp fsdp_config deepspeed accelerator_config parallelism_config local_rank ddp_find_unused_parameters
        ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout
        """,
    "the Hub": """|
        push_to_hub hub_model_id hub_strategy hub_token hub_private_repo hub_always_push hub_revision
        """,
}


@cache
def _places() -> dict[str, tuple[str, bool]]:
    places: dict[str, tuple[str, bool]] = {}
    for heading, names in HEADINGS.items():
        for at, part in enumerate(names.split("|")):
            places |= dict.fromkeys(part.split(), (heading, at == 0))
    return places


def ordered() -> tuple[str, ...]:
    """The settings that trainers share, as --help orders them."""
    return tuple(_places())


def heading_of(name: str) -> tuple[str, bool]:
    """The heading of a setting that trainers share, and whether --help shows it; ("", False) for any other."""
    return _places().get(name, ("", False))


def library_settings(name: str) -> list[Setting]:
    """The settings of a dataclass of TRL's ("trl.DPOConfig"), in their order: from the index where it is of the
    versions that are installed, else from the dataclass."""
    kept = _kept()
    if kept["versions"] != _installed() or name not in kept["classes"]:
        return _read(name)
    shared = {row["name"]: row for row in kept["shared"]}
    rows = [shared[row] if isinstance(row, str) else row for row in kept["classes"][name]]
    return [Setting(**{**row, "choices": tuple(row.get("choices", ()))}) for row in rows]


def index() -> dict[str, Any]:
    """What library.json holds, read from the dataclasses: `shared` is what all of them have alike."""
    rows = {name: [_row(setting) for setting in _read(name)] for name in KEPT}
    first = rows[KEPT[0]]
    shared = [row for row in first if all(row in others for others in rows.values())]
    names = {name: [row["name"] if row in shared else row for row in own] for name, own in rows.items()}
    return {"versions": _installed(), "shared": shared, "classes": names}


def _row(setting: Setting) -> dict[str, Any]:
    """A setting without what is as it always is."""
    plain = {**asdict(setting), "choices": list(setting.choices), "also": [], "shown": ""}
    empty = {**asdict(Setting("", "")), "choices": [], "also": []}
    return {name: value for name, value in plain.items() if value != empty[name]}


def _read(name: str) -> list[Setting]:
    module, _, attribute = name.rpartition(".")
    return settings_of_class(getattr(importlib.import_module(module), attribute))


def _installed() -> dict[str, str]:
    return {name: metadata.version(name) for name in _VERSIONS}


@cache
def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(INDEX.read_text(encoding="utf-8"))
    return kept


if __name__ == "__main__":
    INDEX.write_text(json.dumps(index(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
