"""Models to train: a policy, or a reward model on any backbone; in full, as a LoRA adapter, or one on 4-bit weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.models.adapters import adapter_config, put_adapter
from rlaif.models.loading import (
    check_language_model,
    device,
    keep_backward,
    load_config,
    load_pretrained,
    quantization,
    quiet,
)
from rlaif.models.rendering import stop_ids
from rlaif.models.reward_model import HEADS
from rlaif.models.weights import check_finite, is_head
from rlaif.settings.declared import described
from rlaif.training.libraries import check_attention, check_four_bit

__all__ = [
    "ModelConfig",
    "align_special_tokens",
    "base_model",
    "context_length",
    "is_adapter",
    "load_policy",
    "load_reward_backbone",
    "lora",
    "make_savable",
    "modules_of",
]


@described(
    headings={"model": "model"},
    also={
        "model": ("model_name_or_path",),
        "dtype": ("torch_dtype",),
        "lora": ("use_peft",),
    },
)
@dataclass
class ModelConfig:
    """The model to start from and how much of it to train."""

    model: str | None = field(default=None, metadata={"help": "Folder or Hub id of the model to start from."})
    model_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the Hub."})
    dtype: str = field(
        default="float32",
        metadata={
            "help": "Precision of the stored weights. With bf16, float32 weights collect the small steps.",
            "choices": ["float32", "bfloat16", "float16"],
        },
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={"help": "Kernels of attention: sdpa, flash_attention_2, eager, ... Default: by the model."},
    )
    lora: bool = field(default=False, metadata={"help": "Train a LoRA adapter (2106.09685) and no other weight."})
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapter."})
    lora_alpha: int = field(default=32, metadata={"help": "Its scale: the update is alpha / r times B A."})
    lora_target_modules: list[str] | None = field(
        default=None, metadata={"help": "Names of the adapted layers; every linear layer by default, as in QLoRA."}
    )
    load_in_4bit: bool = field(
        default=False, metadata={"help": "QLoRA (2305.14314): quantize the frozen weights to 4-bit NormalFloat."}
    )
    trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run the code that models' repositories hold; without it a model that needs it fails."},
    )

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is missing; expected the folder or Hub id of the model to start from (--model).")
        if self.load_in_4bit and not self.lora:
            raise ValueError("load_in_4bit is set without lora; 4-bit weights cannot be trained. Add --lora true.")
        check_attention(self.attn_implementation)
        check_four_bit(self.load_in_4bit)


def is_adapter(model: str | Path) -> bool:
    """Whether `model` is the folder of a PEFT adapter."""
    return (Path(model) / "adapter_config.json").is_file()


def base_model(model: str | Path) -> str:
    """The folder or Hub id of the weights under an adapter; of any other model, itself."""
    adapter = adapter_config(model) if is_adapter(model) else None
    return str(adapter["base_model_name_or_path"]) if adapter else str(model)


def context_length(config: ModelConfig, tokenizer: Any) -> int:
    """The longest sequence that the model reads, in tokens, known from its config alone."""
    assert config.model is not None
    base = base_model(config.model)
    text = load_config(base, config.model_revision, config.trust_remote_code).get_text_config()
    return int(getattr(text, "max_position_embeddings", None) or tokenizer.model_max_length)


def load_policy(config: ModelConfig, tokenizer: Any, trainable: bool = True) -> Any:
    """A causal LM to be trained, or its frozen copy (`trainable` False) as the reference of DPO.

    An adapter's folder gives, with `lora`, a PeftModel whose adapter is trained on (so that what is saved fits the
    same base model), else the base model with the adapter merged into it.

    Raises:
        ValueError: there is no such model, or its weights are not whole.
    """
    from transformers import AutoModelForCausalLM

    folder = config.model
    assert folder is not None
    adapter = adapter_config(folder) if is_adapter(folder) else None
    if adapter:
        config = replace(config, model=adapter["base_model_name_or_path"], model_revision=adapter.get("revision"))
    model, _ = _from_pretrained(AutoModelForCausalLM, config, "causal language model")
    check_language_model(model, str(config.model))
    if adapter:
        with quiet():
            model = put_adapter(model, folder, trainable=config.lora and trainable)
            if not config.lora:
                model = model.merge_and_unload()
                model.requires_grad_(trainable)
    check_finite(model, folder)
    align_special_tokens(model, tokenizer)
    make_savable(model, str(config.model))
    return model


def load_reward_backbone(config: ModelConfig, tokenizer: Any) -> tuple[Any, list[str]]:
    """A one-label sequence-classification model, and the names of its weights that are new, not from the checkpoint.

    The new ones are the head and, on some encoders, a pooler: random until trained, so an adapter has to hold their
    modules (`modules_of`). Any other that the checkpoint lacks is a ValueError.
    """
    from transformers import AutoModelForSequenceClassification

    assert config.model is not None
    if is_adapter(config.model):
        raise ValueError(
            f"{config.model} is a LoRA adapter; a reward model starts from a whole model. Give its base model, or "
            "merge it first (PeftModel.merge_and_unload, then save_pretrained)."
        )
    model, new = _from_pretrained(
        AutoModelForSequenceClassification,
        config,
        "sequence-classification model",
        may_be_new=is_head,
        num_labels=1,
    )
    check_finite(model, config.model)
    align_special_tokens(model, tokenizer)
    return model, new


def modules_of(weights: list[str]) -> list[str]:
    """The names of the modules that weights belong to, sorted, each once."""
    return sorted({name.rpartition(".")[0] for name in weights})


def lora(config: ModelConfig, new_modules: list[str] | None = None) -> Any:
    """PEFT's configuration of the adapter, None where the whole model is trained.

    Args:
        config: rank, scale and layers.
        new_modules: of a reward model: trained and saved whole, beside the adapter. Without SEQ_CLS and them the head
            stays random and is not saved.
    """
    if not config.lora:
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM" if new_modules is None else "SEQ_CLS",
        revision=config.model_revision,
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        target_modules=config.lora_target_modules or "all-linear",
        modules_to_save=new_modules or None,
        exclude_modules=new_modules or None,
    )


def align_special_tokens(model: Any, tokenizer: Any) -> None:
    """Gives a model's configs the tokenizer's special tokens: a score is read at the last token that is no padding.

    Of its generation config no other EOS is lost: where several may end a turn, text stops at each of them, here and
    wherever what is saved is used.
    """
    generation = getattr(model, "generation_config", None)
    for config in filter(None, [model.config.get_text_config(), generation]):
        for name in ("pad_token_id", "eos_token_id", "bos_token_id"):
            value = getattr(tokenizer, name)
            known = getattr(config, name, None)
            if value is None or (isinstance(known, list) and value in known):
                continue
            if config is generation and name == "eos_token_id" and len(stops := stop_ids(model, tokenizer)) > 1:
                value = stops
            setattr(config, name, value)


def make_savable(model: Any, source: str) -> None:
    """Gives a model a generation config that transformers saves: it loads one that contradicts itself, and saves none.

    Llama 2 Chat's first one (and those that were copied from it) has a temperature and `do_sample` false: sampling is
    meant then, and that is said. What has no effect (an output that is not returned, a penalty of beams) is left out.

    Raises:
        ValueError: it cannot be saved all the same; the training would be lost at its end.
    """
    generation = getattr(model, "generation_config", None)
    if generation is None or _complaint(generation) is None:
        return
    kept = generation.to_dict()
    sampling = {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 50,
        "typical_p": 1.0,
        "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0,
    }
    meant = [
        f"{name} {kept[name]}"
        for name, unused in (sampling | {"min_p": None, "top_h": None}).items()
        if kept.get(name) not in (None, unused)
    ]
    if kept.get("temperature") == 0.0:
        generation.temperature = None  # the most likely token, as without sampling
    elif meant and generation.do_sample is not True:
        generation.do_sample = True
        warn(
            f"the generation_config.json of {source} has {' and '.join(meant)} and do_sample false, which is not saved "
            "so; the trained model is saved with do_sample true"
        )
    if generation.num_beams in (None, 1):
        generation.early_stopping = generation.length_penalty = None
    if generation.use_cache is False:
        generation.cache_implementation = generation.cache_config = None
    if generation.return_dict_in_generate is not True:
        for flag in generation.extra_output_flags:
            setattr(generation, flag, None)
    if complaint := _complaint(generation):
        raise ValueError(
            f"the generation_config.json of {source} cannot be saved with a trained model: {complaint} Mend that file "
            "in a copy of the model."
        )


def _complaint(generation: Any) -> str | None:
    """Why transformers would not save a generation config; None where it would."""
    try:
        generation.validate(strict=True)
    except ValueError as error:
        return " ".join(str(error).split())[:300]
    return None


def _from_pretrained(auto: Any, config: ModelConfig, what: str, **kwargs: Any) -> tuple[Any, list[str]]:
    quantized = quantization(config.load_in_4bit)
    if quantized is not None:
        if "num_labels" in kwargs:
            quantized.llm_int8_skip_modules = HEADS
        kwargs |= {"quantization_config": quantized, "device_map": {"": device()}}
    if config.attn_implementation:
        kwargs["attn_implementation"] = config.attn_implementation
    assert config.model is not None
    loaded, new = load_pretrained(
        auto,
        config.model,
        what,
        trust_remote_code=config.trust_remote_code,
        revision=config.model_revision,
        dtype=config.dtype,
        **kwargs,
    )
    return keep_backward(loaded), new
