"""What is compared: `--policies name=value ...`, where the value says which kind a policy is.

    local        a folder or a Hub id of a causal LM
    endpoint     a YAML file: the model of an OpenAI-compatible endpoint, as the `model:` of a judge
    responses    rows of prompts with their responses, one a prompt: a .jsonl, .json or .parquet file, a datasets
                 folder, or the output folder of an earlier `rlaif evaluate`

Of a file with the responses of several policies (a column `policy`, as `rlaif evaluate` writes it, or AlpacaEval's
`generator`) it is that of the policy's own name, or of the one behind a "#": `old=runs/before/responses.jsonl#sft`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.config import named_values
from rlaif.judging.settings import JudgeSettings, ModelSettings, endpoint_settings

__all__ = ["ENDPOINT", "LOCAL", "RESPONSES", "Policy", "named_policies"]

LOCAL, ENDPOINT, RESPONSES = "local", "endpoint", "responses"

_YAML = (".yaml", ".yml")
_ROWS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
_MODELS = ("config.json", "adapter_config.json")
_WHAT = "a policy: a folder or Hub id, an endpoint's YAML file, or a file of its responses"
# What a policy's endpoint is told beside the sampling's own settings; for manifests.
_TOLD = ("base_url", "served_as", "extra_body", "extra_headers", "chat_template_kwargs", "reasoning_effort")


@dataclass(frozen=True)
class Policy:
    """One policy.

    Attributes:
        name: its name in the report.
        kind: `LOCAL`, `ENDPOINT` or `RESPONSES`.
        path: the folder, Hub id or file that it is read from.
        endpoint: the model of an endpoint.
        owner: of responses, whose they are by their column, where that was said.
    """

    name: str
    kind: str
    path: str
    endpoint: ModelSettings | None = None
    owner: str | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What the report says that it is."""
        row: dict[str, Any] = {"path": self.path, "kind": self.kind}
        if self.endpoint is not None:
            row["model"] = str(self.endpoint.name)
        if self.owner is not None:
            row["owner"] = self.owner
        return row

    @property
    def told(self) -> dict[str, Any]:
        """The settings of an endpoint as a manifest keeps them, without secrets; {} of another kind."""
        if self.endpoint is None:
            return {}
        row = JudgeSettings(self.endpoint).row()
        return {"name": str(self.endpoint.name), **{key: row[key] for key in _TOLD if row.get(key) is not None}}


def named_policies(words: Sequence[str]) -> dict[str, Policy]:
    """The policies that `--policies` names, in their order.

    Raises:
        UsageError: a word is no `name=value`, a name stands twice, or a YAML file describes no endpoint.
        ValueError: a file is not there.
    """
    return {name: _policy(name, value) for name, value in named_values(words, "policies", _WHAT).items()}


def _policy(name: str, value: str) -> Policy:
    path = Path(value)
    if path.suffix in _YAML and not path.is_dir():
        return Policy(name, ENDPOINT, value, endpoint_settings(value))
    if (rows := _rows(path)) is not None:
        _check_one_split(name, Path(rows))
        return Policy(name, RESPONSES, rows)
    before, mark, owner = value.rpartition("#")
    if mark and owner and not path.exists() and (rows := _rows(Path(before))) is not None:
        return Policy(name, RESPONSES, rows, owner=owner)
    missing = before if mark and before.endswith(_ROWS) else value
    if missing.endswith(_ROWS):
        raise ValueError(f"policies has {name}={value}, and {missing} does not exist; expected {_WHAT}.")
    if path.is_dir() and not any((path / file).is_file() for file in _MODELS):
        raise ValueError(
            f"policies has {name}={value}, a folder with neither a model ({' or '.join(_MODELS)}) nor responses "
            f"(responses.jsonl); expected {_WHAT}."
        )
    if value.startswith(("hf://", "http://", "https://", "datasets/")):
        raise ValueError(
            f"policies has {name}={value}, an address; expected {_WHAT}. Responses in a dataset on the Hub are read "
            "from a file: datasets.load_dataset(...).to_json('responses.jsonl')."
        )
    return Policy(name, LOCAL, value)


def _check_one_split(name: str, path: Path) -> None:
    """`--split` is that of the prompts, so a policy's folder must hold one."""
    try:
        saved = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # none was saved, or reading says what is wrong
    if len(saved) > 1:
        raise ValueError(
            f"policies has {name}={path}, which holds the splits {', '.join(map(str, saved))}; expected the folder of "
            f"one of them, as in {name}={path / str(saved[-1])}."
        )


def _rows(path: Path) -> str | None:
    """What holds the responses at a path; None where it holds none."""
    if path.is_file():
        return str(path)
    if not path.is_dir() or any((path / name).exists() for name in _MODELS):
        return None
    if (path / "responses.jsonl").is_file():
        return str(path / "responses.jsonl")
    is_datasets = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    return str(path) if is_datasets or any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")) else None
