"""Whether a model's weights are whole: in their files, after loading, and as numbers.

    check_files     before loading: no file is missing, empty or cut short
    check_loaded    after it: no weight is missing (it would be random), of another shape, or left over
    check_finite    no weight is NaN or infinite

transformers says the first two in warnings and tables, or not at all, and goes on. Here each is one line.

What is left over is a fault only where the model has a place that it belongs to: a layer beyond those that the config
counts, a bias where there is none. What belongs to a module that the model does not have at all (a value head, an image
tower, the language model's head beside a classifier) and buffers that are computed anew are none of its weights.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "check_files",
    "check_finite",
    "check_loaded",
    "check_safetensors",
    "holds_whole_model",
    "is_head",
    "not_finite",
    "not_finite_in",
    "some",
]

_WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# Buffers that old checkpoints hold and newer code computes, and what quantization keeps beside a weight.
_COMPUTED = re.compile(
    r"(rotary_emb\.inv_freq|inv_freq|position_ids|masked_bias|attn\.bias|attention\.bias|cos_cached|sin_cached"
    r"|num_batches_tracked|relative_position_index)$"
)
_LAYER = re.compile(r"^(.*?)\.(\d+)(?:\.|$)")


def holds_whole_model(folder: str | Path) -> bool:
    """Whether a folder holds a model's own weights, and not an adapter alone."""
    return any((Path(folder) / name).is_file() for name in _WHOLE)


def some(names: Iterable[str], most: int = 3) -> str:
    """Up to `most` names in words, and how many there are beyond."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


# Files ----------------------------------------------------------------------------------------------------------------


def check_files(model: str | Path) -> None:
    """A ValueError that names the file of weights that is missing, empty or cut short; of a Hub id nothing is known."""
    for file in _loaded(Path(model)):
        if file.suffix == ".safetensors":
            check_safetensors(file)
        elif not file.stat().st_size or (_begins_as_zip(file) and not zipfile.is_zipfile(file)):
            raise ValueError(f"{file} is empty or cut short; copy or download it again.")


def _loaded(folder: Path) -> Iterator[Path]:
    """The files of weights in a folder that are loaded: of several, those that transformers and PEFT prefer."""
    for group in (_WHOLE, ("adapter_model.safetensors", "adapter_model.bin")):
        name = next((name for name in group if (folder / name).is_file()), None)
        if name is None:
            continue
        if not name.endswith(".index.json"):
            yield folder / name
            continue
        for shard in sorted(_shards(folder / name)):
            if not (folder / shard).is_file():
                raise ValueError(
                    f"{folder / name} names {shard}, which is not there; copy or download the whole model again."
                )
            yield folder / shard


def _begins_as_zip(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(2) == b"PK"


def _shards(index: Path) -> set[str]:
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return {str(shard) for shard in shards}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{index} is no index of weights; expected JSON with a `weight_map`. Copy it again.") from None


def check_safetensors(file: Path) -> None:
    """A ValueError unless a safetensors file is whole.

    It has 8 bytes with the header's length, the header (JSON), and the tensors that it gives the places of.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"{file} has {size} bytes and is cut short or no safetensors file; copy it again.")
        try:
            header = json.loads(handle.read(length))
            ends = [int(row["data_offsets"][1]) for name, row in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise ValueError(f"{file} is no safetensors file; copy or download it again.") from None
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        how = "is cut short" if size < wanted else "is no whole safetensors file"
        raise ValueError(f"{file} {how}: it has {size} bytes, expected {wanted}; copy or download it again.")


# What was loaded ------------------------------------------------------------------------------------------------------


def is_head(model: Any, key: str) -> bool:
    """Whether a weight belongs to what stands on the backbone: a head, or an encoder's pooler."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    return not key.startswith(prefix) or "pooler" in key.split(".")


def check_loaded(
    model: Any,
    info: Mapping[str, Collection[Any]],
    source: str | Path,
    may_be_new: Callable[[str], bool] = lambda key: False,
) -> list[str]:
    """The names of the weights that are new, sorted: random, for want of any in the checkpoint.

    Args:
        model: as loaded.
        info: what transformers gives with `output_loading_info`.
        source: the folder or Hub id that it came from.
        may_be_new: of a weight's name, whether it is meant to be new.

    Raises:
        ValueError: other weights are new, some have another shape, or some of the checkpoint have no place in `model`.
    """
    if mismatched := sorted(info.get("mismatched_keys") or (), key=str):
        name, saved, wanted = mismatched[0][:3]
        raise ValueError(_other_shape(name, saved, wanted, source, len(mismatched) - 1))
    missing = sorted(info.get("missing_keys") or ())
    if wrong := [key for key in missing if not may_be_new(key)]:
        kind = type(model).__name__
        raise ValueError(
            f"{source} has no {some(wrong)}, which a {kind} needs: it would be random. Expected all weights of the "
            "architecture that config.json names; copy the model again, or give one of that kind."
        )
    if left := [key for key in info.get("unexpected_keys") or () if _has_a_place(model, key)]:
        raise ValueError(
            f"{source} holds {some(left)}, for which the model of its config.json has no place: it would be left out. "
            "Expected a config.json that fits the weights (num_hidden_layers, say)."
        )
    return missing


def _other_shape(name: str, saved: Iterable[int], wanted: Iterable[int], source: str | Path, others: int) -> str:
    shapes = [" x ".join(map(str, shape)) for shape in (saved, wanted)]
    more = f" ({others} more weights differ too)" if others else ""
    hint = ""
    if name.split(".")[0] in {"score", "classifier"}:
        hint = " A classifier of several labels is no reward model: give the base model."
    elif "embed" in name or "lm_head" in name:
        hint = " Set vocab_size in config.json to the number of rows that the weights have."
    return f"{name} in {source} is {shapes[0]}, but its config.json makes it {shapes[1]}{more}.{hint}"


def _has_a_place(model: Any, key: str) -> bool:
    """Whether a weight without a parameter belongs to a module that `model` has."""
    from torch import nn

    if _COMPUTED.search(key) or getattr(model, "hf_quantizer", None) is not None:
        return False
    modules = dict(model.named_modules())
    path = key.rpartition(".")[0]
    if path in modules and path:
        return True
    found = _LAYER.match(key)
    if found is None or not isinstance(modules.get(found[1]), nn.ModuleList):
        return False
    # Layers that predict further tokens stand after the last one (DeepSeek-V3); generation does not use them.
    more = int(getattr(model.config.get_text_config(), "num_nextn_predict_layers", 0) or 0)
    last = len(modules[found[1]])
    return not last <= int(found[2]) < last + more


# Numbers --------------------------------------------------------------------------------------------------------------


def not_finite(model: Any) -> list[str]:
    """The names of the parameters that hold NaN or infinity, as far as this process holds them.

    One pass over each: a sum is finite only where all of it is; where it is not, the elements are looked at.
    """
    import torch

    wrong = []
    for name, weight in model.named_parameters():
        for part in _held(weight):
            if not part.is_floating_point() or part.itemsize < 2 or part.is_meta or not part.numel():
                continue
            with torch.no_grad():
                whole = bool(part.sum(dtype=torch.float32).isfinite()) or bool(part.isfinite().all())
            if not whole:
                wrong.append(name)
                break
    return wrong


def not_finite_in(file: Path) -> list[str]:
    """The names of the tensors in a safetensors file that hold NaN or infinity; one is in memory at a time."""
    from safetensors import safe_open

    wrong = []
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118, it is no dictionary
            part = tensors.get_tensor(name)
            if part.is_floating_point() and part.itemsize > 1 and not bool(part.isfinite().all()):
                wrong.append(name)
    return wrong


def check_finite(model: Any, source: str | Path) -> None:
    """A ValueError unless all weights of `model`, from `source`, are finite numbers."""
    if wrong := not_finite(model):
        raise ValueError(
            f"{some(wrong)} in {source} has weights that are NaN or infinite; expected finite numbers. Training it has "
            "diverged: take an earlier checkpoint."
        )


def _held(weight: Any) -> list[Any]:
    """The tensors of a parameter that this process holds: a shard of it, or what 4-bit weights are scaled by."""
    if (state := getattr(weight, "quant_state", None)) is not None:
        inner = getattr(state, "state2", None)
        held = [state.absmax, getattr(state, "offset", None), getattr(inner, "absmax", None)]
        return [part for part in held if part is not None and hasattr(part, "isfinite")]
    if (shard := getattr(weight, "ds_tensor", None)) is not None:  # ZeRO-3
        return [shard.data]
    return [weight.detach().to_local() if hasattr(weight, "to_local") else weight.detach()]  # FSDP2
