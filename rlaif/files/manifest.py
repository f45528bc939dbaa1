"""The manifest of a run: what ran, with which settings, on which inputs, in which versions."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rlaif.files.model_files import weights_fingerprint
from rlaif.files.sources import fingerprint, json_object, write_json
from rlaif.secrets import redacted_json

__all__ = ["elapsed", "rows_of", "write_manifest"]


def write_manifest(
    folder: str | Path,
    command: str,
    config: Mapping[str, Any],
    inputs: Iterable[str | Path] | Mapping[str, str] = (),
    *,
    name: str = "manifest.json",
    report: Mapping[str, Any] | None = None,
    served: Mapping[str, Any] | None = None,
    earlier: str | Path | None = None,
    learned_from: Sequence[Mapping[str, str | None]] | None = None,
) -> None:
    """Writes `manifest.json`: what ran, with which settings, on which inputs, in which versions.

    Args:
        folder: the run's output folder.
        command: the program's name, as in "rlaif judge".
        config: the resolved settings. Secrets do not belong in settings; what looks like one is not written.
        inputs: files, folders or Hub ids that were read; their fingerprints are kept. A mapping says by name where
            each lies now, as one that is yet to be put in its place.
        name: of the file, where the output is one file in a folder that holds others.
        report: the run's counts, where no report.json holds them.
        served: what is known of the servers that answered. A run that asked nothing keeps what an earlier one wrote.
        earlier: the folder that this one takes the place of, with that earlier run's manifest.
        learned_from: of what trains, the rows that it learned from (`rlaif.files.reads.learned_from`).
    """
    served = served or json_object(Path(earlier or folder) / name).get("served")
    packages = ("rlaif", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "aiohttp", "numpy")
    write_json(
        Path(folder) / name,
        redacted_json(
            {
                "command": command,
                "argv": sys.argv[1:],
                "config": {
                    k: v if isinstance(v, int | float | bool | list | dict) or v is None else str(v)
                    for k, v in config.items()
                },
                "inputs": _fingerprints(inputs),
                **({} if learned_from is None else {"learned_from": list(learned_from)}),
                "versions": {name: _version(name) for name in packages} | {"python": platform.python_version()},
                "git_commit": _git_commit(),
                "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                **({} if report is None else {"report": report}),
                **({"served": served} if served else {}),
                **_base_model(Path(folder)),
            }
        ),
    )


def _fingerprints(inputs: Iterable[str | Path] | Mapping[str, str]) -> dict[str, str]:
    """Of each input; of an output folder of ours also of its rows alone, which stay where a report is written anew."""
    found = {}
    for source, now in inputs.items() if isinstance(inputs, Mapping) else ((source, source) for source in inputs):
        found[str(source)] = fingerprint(now)
        for rows in rows_of(source):
            found[str(rows)] = fingerprint(rows)
    return found


def _base_model(folder: Path) -> dict[str, Any]:
    """Of an adapter's folder, the base model and the weights that it was trained on, which loading it looks for."""
    named = json_object(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(named, str) or not Path(named).is_dir():
        return {}
    return {"base_model": {"path": str(Path(named).resolve()), "weights": weights_fingerprint(named)}}


def rows_of(source: str | Path) -> list[Path]:
    """What holds the rows in a folder that `rlaif judge` or `rlaif build` wrote; nothing of other sources."""
    judged, built = Path(source) / "judgments.jsonl", Path(source) / "data"
    if judged.is_file():
        return [judged]
    return [built] if built.is_dir() and any(built.glob("*.parquet")) else []


def elapsed() -> float:
    """Seconds since this process started, imports included: what a stage took, as reports say it."""
    import psutil

    return time.time() - psutil.Process().create_time()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout that this file is in, with "+changes" where it differs; None outside of one."""
    folder = Path(__file__).parent

    def git(*args: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
