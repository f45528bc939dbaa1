"""Where a preference dataset comes from, read from the manifests that each step left: build <- judge <- sample.

A step is known only if it can be found and its output is what the next step read: a folder that was written anew since
would tell of another run. What is not known, the card says is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import kind_of
from rlaif.files.inputs import find_input, rewritten
from rlaif.files.sources import is_still

__all__ = ["Origin", "Step", "bare_names", "public_name", "read_json", "rewritten", "trace"]

# What leads out of the run: a path that is absolute, in POSIX's or Windows's spelling, or upwards; an address.
_PRIVATE = re.compile(r"^(?:[/~\\]|[A-Za-z]:[\\/]|(?:.*[\\/])?\.\.[\\/]|[a-z][a-z0-9+.-]*://)")


@dataclass(frozen=True)
class Step:
    """One command of the run: its output folder, settings, report and manifest."""

    folder: Path
    manifest: Mapping[str, Any]
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings that it ran with, as far as its manifest has them."""
        config: Mapping[str, Any] = self.manifest.get("config", {})
        return config


@dataclass(frozen=True)
class Origin:
    """The steps that made a preference dataset, None where they are not known.

    Attributes:
        build: `rlaif build`.
        judgments: what it read, where that can be found.
        judge: `rlaif judge`; None also where z is the pairs' own labels.
        sample: `rlaif sample`.
        convert: `rlaif convert`, where the pairs or judgments came from another format.
        rewritten: the judgments, where they are not what `rlaif build` read any more: nothing is known of them then.
    """

    build: Step | None = None
    judgments: Path | None = None
    judge: Step | None = None
    sample: Step | None = None
    convert: Step | None = None
    rewritten: Path | None = None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object's content; empty where there is no such file; a ValueError where it is something else."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); expected what a command of rlaif wrote.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {kind_of(value)}; expected a JSON object.")
    return value


def trace(preferences: Path, judgments: str | None = None) -> Origin:
    """The steps behind a preference dataset's folder.

    Args:
        preferences: what `rlaif build` wrote.
        judgments: what it was built from, where its manifest names a place that is no more.
    """
    build = _step(preferences, "rlaif build")
    named = judgments or (build.config.get("judgments") if build else None)
    inputs = build.manifest.get("inputs", {}) if build else {}
    source = find_input(str(named), preferences, inputs) if named else None
    if source is None:
        return Origin(build)
    if build is not None and (changed := rewritten(build.manifest, str(build.config.get("judgments")), source)):
        return Origin(build, rewritten=changed)
    folder = source if source.is_dir() else source.parent
    judge = (
        _step(folder, "rlaif judge") if (folder / "judgments.jsonl") in (source, source / "judgments.jsonl") else None
    )
    pairs: Path | None = source if source.is_file() else None
    if judge:
        pairs = _unchanged(judge, str(judge.config.get("pairs")))
    sample = _step(pairs.parent, "rlaif sample") if pairs and pairs.name == "pairs.jsonl" else None
    convert = _step(pairs, "rlaif convert") if pairs and pairs.is_file() else None
    labels = build is not None and build.config.get("z_from") == "label"
    return Origin(build, source, None if labels else judge, sample, convert)


def _unchanged(step: Step, named: str) -> Path | None:
    """An input of a step, where it is still what the step read."""
    inputs = step.manifest.get("inputs", {})
    place, read = find_input(named, step.folder, inputs), inputs.get(named)
    if place is not None and read is not None and not is_still(place, read):
        warn(
            f"{place} is not what {step.folder} was made from any more: the card says nothing about where it came from."
        )
        return None
    return place


def _step(place: Path, command: str) -> Step | None:
    """The step that wrote a folder, or a file that has its manifest beside it."""
    beside = place.parent / f"{place.name}.manifest.json"  # "." has no name
    manifest = read_json(place / "manifest.json" if place.is_dir() else beside)
    if manifest.get("command") != command:
        return None
    return Step(place, manifest, read_json(place / "report.json") if place.is_dir() else manifest.get("report", {}))


def public_name(name: str | None, names: Mapping[str, str]) -> str | None:
    """What a model or file is called in public: as `names` says, and never by a path of this machine or an address."""
    if name is None:
        return None
    if name in names:
        return names[name]
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if _PRIVATE.match(name) else name


def bare_names(value: Any, path: re.Pattern[str]) -> Any:
    """A JSON value in which every text that is a `path`, and nothing else, is its last part."""
    if isinstance(value, Mapping):
        return {key: bare_names(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bare_names(item, path) for item in value]
    return public_name(value, {}) if isinstance(value, str) and path.fullmatch(value) else value
