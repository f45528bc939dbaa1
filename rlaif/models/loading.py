"""Loading language models and tokenizers, the same way for the judge, the sampler, the evaluation and the trainers.

A model is a Hub id or a folder; a folder that holds a LoRA adapter loads its base model and the adapter on top.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.models.parallel import process_state
from rlaif.models.rendering import padding_token

__all__ = [
    "adapter_config",
    "device",
    "keep_backward",
    "load_causal_lm",
    "load_tokenizer",
    "model_fingerprint",
    "quantization",
    "quiet",
    "whole",
]

_DTYPES = ("auto", "float32", "bfloat16", "float16")
# What a run writes beside a model: when, where and how long. The same model trained again has others.
_RECORDS = {"manifest.json", "report.json", "trainer_state.json", "training_args.bin"}
_MODEL_FILES = {".bin", ".jinja", ".json", ".model", ".safetensors", ".txt"}


@contextmanager
def quiet() -> Iterator[None]:
    """Silences loading chatter (weight bars, "newly initialized" notes) where it says nothing a user could act on."""
    from transformers.utils import logging as hf_logging

    # bitsandbytes, which PEFT imports, looks for a CPU kernel on the network and says so when it does without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    level = hf_logging.get_verbosity()
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.ERROR)
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def device() -> Any:
    """The device of this process: its own GPU under a launcher, else the first accelerator, else the CPU."""
    return process_state().device


def load_tokenizer(model: str | Path, revision: str | None = None) -> Any:
    """The tokenizer of a model folder or Hub id, with a padding token that is not its EOS.

    Raises:
        ValueError: there is none. Nothing is guessed: another model's tokenizer gives nonsense without an error.
    """
    from transformers import AutoTokenizer

    path = Path(model)
    if path.is_dir() and not any((path / n).exists() for n in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        raise ValueError(
            f"the model folder {model} holds no tokenizer (tokenizer.json); expected the files that "
            "`tokenizer.save_pretrained` writes. Copy them from the base model."
        )
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(model), revision=revision)
        except (OSError, ValueError) as error:
            raise ValueError(_unreadable("tokenizer", model, error)) from None
    tokenizer.pad_token = padding_token(tokenizer)
    return tokenizer


def quantization(load_in_4bit: bool, compute_dtype: Any = None) -> Any:
    """The bitsandbytes settings of QLoRA (2305.14314): 4-bit NormalFloat, double quantization; None where not asked."""
    if not load_in_4bit:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype or (torch.bfloat16 if torch.cuda.is_available() else torch.float32),
    )


@contextmanager
def whole() -> Iterator[None]:
    """Weights loaded inside are whole in every process, under ZeRO-3 too, which shards whatever is loaded otherwise.

    For models that no DeepSpeed engine runs: a reward model, a judge.
    """
    from transformers.integrations import deepspeed

    if not deepspeed.is_deepspeed_zero3_enabled():
        yield
        return
    config = deepspeed._hf_deepspeed_config_weak_ref()
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(config)


def keep_backward(model: Any) -> Any:
    """`model`, whose 4-bit layers can be trained through on any CPU.

    On one with AVX512-BF16, bitsandbytes 0.50 packs a layer's weights anew at its first evaluation, and from then on,
    also in training, multiplies by a kernel that has no backward: gradients end there, with no more than a warning.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def adapter_config(model: str | Path, revision: str | None = None) -> dict[str, Any] | None:
    """The adapter_config.json of a folder or Hub id: its `base_model_name_or_path` and `revision`; None of no adapter.

    transformers would take the base model's main branch, whatever `revision` the adapter was trained on.
    """
    from transformers.utils import find_adapter_config_file

    path = find_adapter_config_file(str(model), revision=revision)
    if path is None:
        return None
    config: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return config


def load_causal_lm(
    model: str | Path,
    *,
    dtype: str = "auto",
    load_in_4bit: bool = False,
    device_map: str | None = None,
    revision: str | None = None,
) -> Any:
    """A causal LM in evaluation mode on this process's device.

    Args:
        model: folder or Hub id; of an adapter, its base model is loaded too, at the revision that it names.
        dtype: "auto" (as stored), "float32", "bfloat16" or "float16".
        load_in_4bit: quantize with bitsandbytes while loading.
        device_map: "auto" spreads a model too large for one device over all of them.
        revision: branch, tag or commit of `model` on the Hub; of an adapter's folder, of its base model's where the
            adapter names none.
    """
    from transformers import AutoModelForCausalLM

    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}.")
    own: dict[str, Any] = {"revision": revision}
    if adapter := adapter_config(model, revision):
        # What transformers is told as the revision of an adapter, it takes for its base model's.
        base = adapter.get("revision") or (revision if Path(model).is_dir() else None)
        own = {"revision": base, "adapter_kwargs": {"revision": revision}}
    config = quantization(load_in_4bit)
    where = device()
    if device_map is None and config is not None:
        device_map = {"": where}  # type: ignore[assignment]
    with quiet(), whole():
        try:
            loaded = AutoModelForCausalLM.from_pretrained(
                str(model), dtype=dtype, quantization_config=config, device_map=device_map, **own
            )
        except (OSError, ValueError) as error:
            raise ValueError(_unreadable("causal language model", model, error)) from None
    if device_map is None:
        loaded = loaded.to(where)
    # A layer of a width that the other kernel cannot take would fail with it.
    return (keep_backward(loaded) if config is not None else loaded).eval()


def model_fingerprint(model: str | Path, revision: str | None = None) -> str:
    """What tells this model from another: the Hub id and revision, or a hash of a folder's content.

    Of each file its size and its first and last MiB are read, so that 100 GB take no longer than 100 MB; weights that
    were trained further differ in both. Records of the run that trained it do not count: random numbers are drawn from
    this hash, and the same training, run again, must be answered with the same ones.
    """
    path = Path(model)
    if not path.is_dir():
        return f"{model}@{revision or 'main'}"
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.suffix in _MODEL_FILES and p.name not in _RECORDS):
        if file.name == "tokenizer_config.json":
            config = json.loads(file.read_text(encoding="utf-8"))
            if config.pop("local_files_only", None) is not None:  # whether the process that saved it was offline
                digest.update(json.dumps(config).encode())
                continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as handle:
            digest.update(handle.read(1 << 20))
            handle.seek(max(size - (1 << 20), 0))
            digest.update(handle.read(1 << 20))
    return f"sha256:{digest.hexdigest()[:16]}"


def _unreadable(what: str, model: str | Path, error: Exception) -> str:
    first = " ".join(str(error).split())[:200]
    return (
        f"no {what} could be loaded from {model} ({first}); expected a folder written by `save_pretrained` or the id "
        "of a model on the Hub that can be reached from here."
    )
