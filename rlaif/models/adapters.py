"""LoRA adapters on their base models: which base an adapter stands on, and that it fits it.

PEFT puts what fits onto the base model and goes on: a weight that the adapter lacks stays as it was made, one that has
no place is dropped. Here both are one line. So is a base model whose weights were written anew since the adapter was
trained on them, as far as the manifest beside the adapter says (`rlaif.files.manifest`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.model_files import weights_fingerprint
from rlaif.models.weights import check_files, holds_whole_model, some

__all__ = ["adapter_config", "base_of", "check_adapter", "put_adapter"]


def adapter_config(model: str | Path, revision: str | None = None) -> dict[str, Any] | None:
    """The adapter_config.json of a folder or Hub id: its `base_model_name_or_path` and `revision`; None of no adapter.

    transformers would take the base model's main branch, whatever `revision` the adapter was trained on. Where the name
    is no folder here, or that of another model (a relative one, seen from elsewhere), the base model is the one that
    the manifest beside the adapter knows, if its weights are still there.

    Raises:
        ValueError: it is no JSON, names no base model, or stands beside a whole model: which of them is meant? Or it
            puts tokens before the text, or stands on another adapter, neither of which is supported.
    """
    from transformers.utils import find_adapter_config_file

    path = find_adapter_config_file(str(model), revision=revision)
    if path is None:
        return None
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); expected what PEFT writes. Copy it again.") from None
    if not isinstance(config, dict) or not isinstance(config.get("base_model_name_or_path"), str):
        raise ValueError(f"{path} names no base model (base_model_name_or_path); expected what PEFT writes.")
    if holds_whole_model(model):
        raise ValueError(
            f"{model} holds a whole model and an adapter (adapter_config.json) too, of which only one can be meant; "
            "move the files of the other away."
        )
    if "num_virtual_tokens" in config:
        raise ValueError(
            f"the adapter {model} is of the kind {shown(config.get('peft_type'))}, which puts learned tokens before "
            "text; expected one that changes layers, such as LoRA's."
        )
    config["base_model_name_or_path"] = base_of(Path(model), config["base_model_name_or_path"])
    base = Path(config["base_model_name_or_path"])
    if (base / "adapter_config.json").is_file() and not holds_whole_model(base):
        raise ValueError(
            f"the adapter {model} stands on {base}, which is an adapter too; expected a whole model under it. Merge "
            "that one into its base first (PeftModel.merge_and_unload, then save_pretrained)."
        )
    return config


def put_adapter(
    model: Any, adapter: str | Path, *, revision: str | None = None, trainable: bool = False, **kwargs: Any
) -> Any:
    """The PeftModel of a base model with the adapter that a folder or Hub id holds.

    Raises:
        ValueError: the adapter does not fit: it is for other layers or shapes, lacks weights or has others, or was
            trained on a base model of other weights.
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTuner

    check_files(adapter)
    _check_base(Path(adapter))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # said in `check_adapter`
            adapted = PeftModel.from_pretrained(
                model, str(adapter), is_trainable=trainable, revision=revision, **kwargs
            )
    except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
        raise _unfit(adapter, error) from None
    if not isinstance(adapted.base_model, BaseTuner):
        kind = shown(str(adapted.active_peft_config.peft_type.value))
        raise ValueError(
            f"the adapter {adapter} is of the kind {kind}; expected one that changes layers, such as LoRA's."
        )
    check_adapter(adapted, adapter, revision)
    config = adapted.active_peft_config  # is saved with what is trained of it, which is to find the base model too
    if isinstance(config.base_model_name_or_path, str):
        config.base_model_name_or_path = base_of(Path(adapter), config.base_model_name_or_path)
    return adapted


def _trained_on(adapter: Path) -> tuple[Path, str] | None:
    """The base model's folder and weights as this adapter's manifest knows them; None of another's adapter, of one of
    an earlier version, and of one on a model of the Hub."""
    try:
        then = json.loads((adapter / "manifest.json").read_text(encoding="utf-8"))["base_model"]
        return Path(then["path"]), str(then["weights"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def base_of(adapter: Path, named: str) -> str:
    """The base model of an adapter: the one that is `named`, or the one that its manifest knows where that is it.

    Raises:
        ValueError: it was a folder, and none is there.
    """
    if (then := _trained_on(adapter)) is None:
        return named
    is_folder = named == str(then[0]) or named == then[0].name  # else it may be a name on the Hub
    if is_folder and not Path(named).is_dir() and not then[0].is_dir():
        raise ValueError(
            f"the adapter {adapter} stands on {named}, which is no folder here, nor is {then[0]}, where it was; "
            "expected its base model. Put it there, or write its place into base_model_name_or_path of "
            "adapter_config.json."
        )
    places = [place for place in (Path(named), then[0]) if place.is_dir()]
    found = next((place for place in places if weights_fingerprint(place) == then[1]), None)
    return named if found is None or found == Path(named) else str(found)


def _check_base(adapter: Path) -> None:
    """A ValueError where the base model's weights are not those that this adapter's manifest says it was trained on."""
    if (then := _trained_on(adapter)) is None or (config := adapter_config(adapter)) is None:
        return  # of the Hub's, of whatever revision, no manifest is read
    (base, weights), named = then, config["base_model_name_or_path"]
    if Path(named).is_dir() and weights_fingerprint(named) != weights:
        place = "was written anew since" if Path(named).resolve() == base else f"is not {base}, which it named then"
        raise ValueError(
            f"the adapter {adapter} was trained on other weights than its base model {named} holds: that {place}. "
            "Expected the same weights; put them back, or train the adapter again."
        )


def check_adapter(adapted: Any, adapter: str | Path, revision: str | None = None) -> None:
    """A ValueError unless the weights that an adapter's file holds are those that the PeftModel `adapted` has of it."""
    from peft.utils import get_peft_model_state_dict, load_peft_weights

    saved = load_peft_weights(str(adapter), device="cpu", **({"revision": revision} if revision else {}))
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    # Of the base model's own weights an adapter holds embeddings that were resized, or that it changes.
    names = {name for name, _ in adapted.named_parameters()}
    own = names | {name.replace(".base_layer.", ".") for name in names}
    compare_keys(saved, wanted, adapter, own)


def compare_keys(saved: Mapping[str, Any], wanted: Iterable[str], adapter: str | Path, own: set[str]) -> None:
    """A ValueError for weights that an adapter's file lacks or that have no place; `own` are the base model's names."""
    wanted = set(wanted)
    if missing := wanted - saved.keys():
        raise ValueError(
            f"the adapter {adapter} has no {some(missing)}, which its adapter_config.json asks for: it would be as if "
            "untrained. Expected all of its weights; copy it again, or give an adapter of this kind of model."
        )
    if left := saved.keys() - wanted - own:
        raise ValueError(
            f"the adapter {adapter} holds {some(left)}, for which the base model with this adapter has no place: it "
            "would be left out. Give the base model that it was trained on, as a model of the same kind."
        )


def _unfit(adapter: str | Path, error: Exception) -> ValueError:
    said = " ".join(str(error).split())
    if "size mismatch" in said:
        first = said[said.index("size mismatch") :].split(". ")[0]
        return ValueError(
            f"the adapter {adapter} does not fit its base model ({first:.200}); give the one it was trained on "
            "(base_model_name_or_path in adapter_config.json)."
        )
    return ValueError(
        f"the adapter {adapter} could not be put on its base model ({said:.200}); expected one that PEFT wrote, for "
        "layers that the base model has."
    )
