"""Loading language models and tokenizers, the same way for the judge, the sampler, the evaluation and the trainers.

A model is a Hub id or a folder; a folder that holds a LoRA adapter loads its base model and the adapter on top. What
loads is whole: a weight that is missing, of another shape or no number, and a tokenizer that does not fit are one line
(rlaif.models.weights, rlaif.models.tokenizer_checks). Code of a model's own repository runs where `trust_remote_code`
says so, and nobody is asked about it on standard input.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.errors.words import one_of
from rlaif.files.model_files import pieces_of
from rlaif.models.adapters import adapter_config, put_adapter
from rlaif.models.parallel import process_state
from rlaif.models.rendering import padding_token
from rlaif.models.tokenizer_checks import check_embeddings, check_faithful, check_template
from rlaif.models.weights import check_files, check_finite, check_loaded

__all__ = [
    "NeedsCode",
    "adapter_config",
    "check_language_model",
    "device",
    "keep_backward",
    "load_causal_lm",
    "load_config",
    "load_pretrained",
    "load_tokenizer",
    "model_fingerprint",
    "quantization",
    "quiet",
    "whole",
]

_DTYPES = ("auto", "float32", "bfloat16", "float16")
# What a run writes beside a model: when, where and how long. The same model trained again has others.
_RECORDS = {"manifest.json", "report.json", "trainer_state.json", "training_args.bin"}
_MODEL_FILES = {".bin", ".jinja", ".json", ".model", ".py", ".safetensors", ".txt"}


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


def load_tokenizer(model: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model folder or Hub id, with a padding token that is not its EOS.

    Raises:
        ValueError: there is none, it splits text otherwise than the one that was saved, or it has tokens that the model
            beside it has no embeddings for. Nothing is guessed: another model's tokenizer gives nonsense without an
            error.
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
            tokenizer = AutoTokenizer.from_pretrained(
                str(model), revision=revision, trust_remote_code=trust_remote_code
            )
        except ImportError:
            raise
        except Exception as error:
            raise _unreadable("tokenizer", model, error) from None
        check_faithful(tokenizer, model, revision)
        check_template(tokenizer, model)
        rows = _embeddings(model, revision, trust_remote_code)
    tokenizer.pad_token = padding_token(tokenizer)
    if rows is not None:
        check_embeddings(tokenizer, rows, model)
    return tokenizer


def _embeddings(model: str | Path, revision: str | None, trust_remote_code: bool) -> int | None:
    """The number of embeddings of a model, by its config; None where that is not at hand."""
    adapter = adapter_config(model, revision)
    if adapter:
        model, revision = adapter["base_model_name_or_path"], adapter.get("revision")
    elif Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        return None
    try:
        config = load_config(model, revision, trust_remote_code)
    except ValueError:
        if adapter:
            return None  # its base model is out of reach, which is no matter until that is loaded
        raise
    rows = getattr(config.get_text_config(), "vocab_size", None)
    return rows if isinstance(rows, int) else None


def load_config(model: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The config of a model's folder or Hub id (of an adapter, give its base model); a ValueError if there is none."""
    from transformers import AutoConfig

    with quiet():
        try:
            return AutoConfig.from_pretrained(str(model), revision=revision, trust_remote_code=trust_remote_code)
        except ImportError:
            raise
        except Exception as error:
            raise _unreadable("model", model, error) from None


def load_pretrained(
    auto: Any,
    model: str | Path,
    what: str,
    *,
    may_be_new: Callable[[Any, str], bool] = lambda loaded, key: False,
    trust_remote_code: bool = False,
    **kwargs: Any,
) -> tuple[Any, list[str]]:
    """A model that is no adapter, and the names of its weights that are new: random, for want of any in its files.

    Args:
        auto: a class of transformers with `from_pretrained`.
        model: folder or Hub id.
        what: names the kind of model in errors.
        may_be_new: of a loaded model and the name of one of its weights, whether that is meant to be new.
        trust_remote_code: whether code of the model's repository may run.
        kwargs: as `from_pretrained` takes them.

    Raises:
        ValueError: a file of weights is broken, or the weights are not those of the model's config.
    """
    import torch

    check_files(model)
    with quiet():
        try:
            loaded, info = auto.from_pretrained(
                str(model),
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that `check_loaded` can name the weight
                **kwargs,
            )
        except (ImportError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise _unreadable(what, model, error) from None
    own = str((getattr(loaded.config, "auto_map", None) or {}).get(auto.__name__) or "").rpartition(".")[2]
    if own and not trust_remote_code and own.casefold() != type(loaded).__name__.casefold():
        # transformers has loaded a class of its own for the model_type, which is another architecture.
        raise NeedsCode(model)
    return loaded, check_loaded(loaded, info, model, lambda key: may_be_new(loaded, key))


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


def load_causal_lm(
    model: str | Path,
    *,
    dtype: str = "auto",
    load_in_4bit: bool = False,
    device_map: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """A causal LM in evaluation mode on this process's device.

    Args:
        model: folder or Hub id; of an adapter, its base model is loaded too, at the revision that it names.
        dtype: "auto" (as stored), "float32", "bfloat16" or "float16".
        load_in_4bit: quantize with bitsandbytes while loading.
        device_map: "auto" spreads a model too large for one device over all of them.
        revision: branch, tag or commit of `model` on the Hub; of an adapter's folder, of its base model's where the
            adapter names none.
        trust_remote_code: whether code of the model's repository may run.

    Raises:
        ValueError: there is no such model, or its weights are not whole.
    """
    from transformers import AutoModelForCausalLM

    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; {one_of(dtype, _DTYPES)}")
    base: str | Path = model
    base_revision = revision
    if adapter := adapter_config(model, revision):
        base = adapter["base_model_name_or_path"]
        # What transformers is told as the revision of an adapter, it takes for its base model's.
        base_revision = adapter.get("revision") or (revision if Path(model).is_dir() else None)
    config = quantization(load_in_4bit)
    where = device()
    if device_map is None and config is not None:
        device_map = {"": where}  # type: ignore[assignment]
    with whole():
        loaded, _ = load_pretrained(
            AutoModelForCausalLM,
            base,
            "causal language model",
            trust_remote_code=trust_remote_code,
            revision=base_revision,
            dtype=dtype,
            quantization_config=config,
            device_map=device_map,
        )
        check_language_model(loaded, base)
        if adapter:
            with quiet():
                # In the base model's precision, and without PEFT's wrapper: the model answers as any other.
                loaded = put_adapter(loaded, model, revision=revision, autocast_adapter_dtype=False).get_base_model()
    if device_map is None:
        loaded = loaded.to(where)
    check_finite(loaded, model)
    # A layer of a width that the other kernel cannot take would fail with it.
    return (keep_backward(loaded) if config is not None else loaded).eval()


_READ_PADDING = ("rwkv",)  # findings/attention-mask-does-not-hide-padding.sh


def check_language_model(model: Any, source: str | Path) -> None:
    """A ValueError for a classifier that loads as a language model, its head left out and its embeddings for one; and
    for a model that takes no mask of padding, so that what it says depends on who shares the batch."""
    if getattr(model.config, "model_type", None) in _READ_PADDING:
        raise ValueError(
            f"{source} is a {model.config.model_type} model, which reads the padding of a batch in transformers: its "
            "probabilities depend on who shares the batch; expected one that takes an attention mask. Serve it behind "
            "an endpoint (--base_url), or take another model."
        )
    named = getattr(model.config, "architectures", None) or []
    if named and all("Classification" in name or "RewardModel" in name for name in named):
        raise ValueError(
            f"{source} is a {named[0]}, which gives scores and no text; expected a causal language model. A reward "
            "model goes to --reward_model, or to --rewards as reward_model=FOLDER."
        )


def model_fingerprint(model: str | Path, revision: str | None = None) -> str:
    """What tells this model from another: the Hub id and revision, or a hash of a folder's content.

    Of each file its size and its first and last MiB are read, and of one beyond 4 MiB pieces between them, so that
    100 GB take no longer than 1 GB and a change of one kind of matrix is seen. Records of the run that trained it do
    not count: random numbers are drawn from this hash, and the same training, run again, must be answered with the same
    ones. An adapter's base model counts.

    Raises:
        ValueError: a file of the tokenizer's is no JSON.
    """
    path = Path(model)
    if not path.is_dir():
        return f"{model}@{revision or 'main'}"
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.suffix in _MODEL_FILES and p.name not in _RECORDS):
        if file.name == "tokenizer_config.json":
            try:
                config = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{file} is no JSON ({error}); copy the tokenizer's files again.") from None
            if config.pop("local_files_only", None) is not None:  # whether the process that saved it was offline
                digest.update(json.dumps(config).encode())
                continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as handle:
            digest.update(handle.read(1 << 20))
            handle.seek(max(size - (1 << 20), 0))
            digest.update(handle.read(1 << 20))
            for piece in pieces_of(handle, size) if size > 4 << 20 else ():
                digest.update(piece)
    if adapter := adapter_config(path):
        digest.update(model_fingerprint(adapter["base_model_name_or_path"], adapter.get("revision")).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def _unreadable(what: str, model: str | Path, error: Exception) -> ValueError:
    said = " ".join(str(error).split())
    if "custom code" in said or "trust_remote_code" in said:
        return NeedsCode(model)
    return ValueError(
        f"no {what} could be loaded from {model} ({said[:200]}); expected a folder written by `save_pretrained` or the "
        "id of a model on the Hub that can be reached from here."
    )


class NeedsCode(ValueError):  # noqa: N818
    """A model that loads with code of its own repository alone, where that may not run."""

    def __init__(self, model: str | Path) -> None:
        super().__init__(
            f"{model} needs code of its own repository to be loaded, which is not run unasked; read that code, and "
            "then say --trust_remote_code true, or take a model of an architecture that transformers has."
        )
