"""Where a model's generation stops, known from its files alone."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlaif.models.loading import adapter_config, load_config, quiet

__all__ = ["saved_stops", "stops_of"]


def saved_stops(model: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> list[int]:
    """The ids at which a folder's or Hub id's generation_config.json says to stop, else its config.json; [] if none.

    An adapter's folder has neither: its base model's count. Code of the model's repository is not run unless
    `trust_remote_code` says so.
    """
    if adapter := adapter_config(model, revision):
        return saved_stops(adapter["base_model_name_or_path"], adapter.get("revision"), trust_remote_code)
    if Path(model).is_dir():
        known = _in_folder(Path(model))
    else:
        from transformers import GenerationConfig

        known = None
        with suppress(OSError, ValueError), quiet():  # it has none, or cannot be reached: loading it says so
            known = getattr(GenerationConfig.from_pretrained(str(model), revision=revision), "eos_token_id", None)
        if known is None:
            with suppress(ValueError):
                known = getattr(load_config(model, revision, trust_remote_code), "eos_token_id", None)
    ids = known if isinstance(known, list) else [known]
    return [token for token in ids if isinstance(token, int)]


def stops_of(
    model: str | Path, tokenizer: Any, revision: str | None = None, trust_remote_code: bool = False
) -> list[int]:
    """As `rlaif.models.rendering.stop_ids`, of a model that is not loaded."""
    ids = [tokenizer.eos_token_id, *saved_stops(model, revision, trust_remote_code)]
    return list(dict.fromkeys(token for token in ids if token is not None))


def _in_folder(folder: Path) -> Any:
    for name in ("generation_config.json", "config.json"):
        try:
            row = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        # A file that generation_config.json is not beside counts alone: transformers reads no further either.
        if isinstance(row, dict):
            return row.get("eos_token_id", (row.get("text_config") or {}).get("eos_token_id"))
    return None
