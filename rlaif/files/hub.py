"""What the `datasets` library reads: a folder that `Dataset.save_to_disk` left, a clone of a Hub dataset, a Hub id.

Such a dataset has configs (a Hub dataset's subsets, each with columns of its own), and each config has splits.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.errors.words import meant

__all__ = ["config_names", "load_split", "split_names"]

_KINDS = "a .jsonl or .parquet file, a datasets folder or a Hub id"


def load_split(source: str, split: str | None, config_name: str | None = None, unread: set[str] | None = None) -> Any:
    """One split of a dataset, as a `datasets.Dataset`.

    Args:
        source: a folder or a Hub id.
        split: needed where there are several.
        config_name: needed where there are several without a default. Where the dataset declares no configs, a folder
            of it, as nvidia/HelpSteer2 keeps `preference` and stanfordnlp/SHP its domains.
        unread: takes what is to be said of files in the folder that are not read.

    Raises:
        ValueError: there is no such dataset, config or split; the message names the ones that there are.
    """
    import datasets

    saved = _is_saved(source)
    which = {} if saved else _which(source, config_name)
    if saved and config_name is not None:
        raise ValueError(
            f"{source} was written by `save_to_disk` and has no configs; expected no --config_name (got {config_name})."
        )
    try:
        with _quietly():
            loaded = datasets.load_from_disk(source) if saved else datasets.load_dataset(source, **which)
    except datasets.exceptions.DatasetGenerationError as error:
        raise ValueError(
            f"{source} cannot be read as one table ({_line(error.__cause__ or error)}); expected files with the same "
            "columns. Say with --config_name which folder of it, or give one of its files."
        ) from None
    except _refusals() as error:
        raise _unreadable(source, error) from None
    if isinstance(loaded, datasets.DatasetDict):
        if split is None and len(loaded) == 1:
            split = next(iter(loaded))
        if split not in loaded:
            got = f" (got {split})" if split else ""
            raise ValueError(
                f"{source} has the splits {', '.join(loaded)}; say which one with --split{got}.{meant(split, loaded)}"
            )
        loaded = loaded[split]
    if not saved and Path(source).is_dir():
        left = _unread(Path(source), which)
        if left and unread is not None:
            names = ", ".join(left[:3]) + ", ..." * (len(left) > 3)
            unread.add(
                f"{source}: {len(left)} of its files {'is' if len(left) == 1 else 'are'} not read ({names}). A folder "
                "is read as `datasets` does: the files that are called as splits are, and of several kinds of file "
                "one. Give a file, or say with --config_name which folder."
            )
    return loaded


_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\..*)")
_DATA = (".jsonl", ".parquet", ".csv", ".tsv", ".arrow")


def _unread(folder: Path, which: dict[str, str]) -> list[str]:
    """The files of a folder that `load_dataset` does not read; a ValueError where one of several shards is missing."""
    import datasets

    with _quietly():
        builder = datasets.load_dataset_builder(str(folder), **which)
    read = {Path(str(file)).resolve() for files in (builder.config.data_files or {}).values() for file in files}
    shards = [found for file in read if (found := _SHARD.fullmatch(file.name))]
    for stem, total in {(found[1], found[3]) for found in shards}:
        there = sum((found[1], found[3]) == (stem, total) for found in shards)
        if there < int(total):
            raise ValueError(
                f"{folder} holds {there} of the {int(total)} files {stem}-*-of-{total}; expected all. Copy it again."
            )
    card = folder / "README.md"
    if card.is_file() and re.search(r"^configs:", card.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        return []  # it says itself which files are whose
    inside = folder / which.get("data_dir", "")
    kinds = (*_DATA, *{file.suffix for file in read} & {".json"})  # else a .json is bookkeeping
    files = [file for file in inside.rglob("*") if file.name.removesuffix(".gz").endswith(kinds) and file.is_file()]
    inner = {file: file.relative_to(inside) for file in files if file.resolve() not in read}
    return sorted(str(file.relative_to(folder)) for file, within in inner.items() if not _is_hidden(within))


def _is_hidden(file: Path) -> bool:
    return any(part.startswith((".", "__")) for part in file.parts)


def split_names(source: str | Path, config_name: str | None = None) -> list[str]:
    """The splits of a datasets folder or Hub id; none where it cannot be read, of which `load_split` says more."""
    path = Path(source)
    if (path / "dataset_dict.json").is_file():
        try:
            return list(json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"])
        except (ValueError, KeyError, TypeError):
            return []
    if path.is_file() or (path / "state.json").is_file():
        return []
    import datasets

    which = _which(str(source), config_name)
    try:
        return list(datasets.get_dataset_split_names(str(source), which.get("name"), data_dir=which.get("data_dir")))
    except _refusals():
        return []


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the library logs of an error that is raised as well, and without bars in a file or a pipe."""
    import datasets

    level, bars = datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()
    datasets.logging.set_verbosity(logging.CRITICAL)
    if bars and not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()


def config_names(source: str | Path) -> list[str]:
    """The configs of a datasets folder or Hub id that has several and no default; none of any other source."""
    if Path(source).is_file() or _is_saved(str(source)):
        return []
    try:
        return _names(str(source))[1]
    except ValueError:  # of what cannot be read `load_split` says more
        return []


def _is_saved(source: str) -> bool:
    return any((Path(source) / name).exists() for name in ("dataset_dict.json", "state.json"))


def _which(source: str, config_name: str | None) -> dict[str, str]:
    """What `load_dataset` takes for a config: its name, or the folder that stands for one."""
    names, choices = _names(source)
    if config_name is None:
        if not choices:
            return {}
        raise ValueError(
            f"{source} has the configs {', '.join(names)} and no default; say which one with --config_name."
        )
    if config_name in names:
        return {"name": config_name}
    if names == ["default"] and (not Path(source).exists() or (Path(source) / config_name).is_dir()):
        return {"data_dir": config_name}
    raise ValueError(
        f"{source} has the config{'s' * (len(names) > 1)} {', '.join(names)}; expected one of them as --config_name "
        f"(got {config_name}).{meant(config_name, names)}"
    )


def _names(source: str) -> tuple[list[str], list[str]]:
    """All configs of a dataset, and those that have to be chosen from: none where one is the default."""
    import datasets

    if not Path(source).exists() and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
        raise ValueError(f"{source} does not exist; expected {_KINDS}.")
    try:
        names = list(datasets.get_dataset_config_names(source))
        single = len(names) < 2 or datasets.get_dataset_default_config_name(source) is not None
    except _refusals() as error:
        raise _unreadable(source, error) from None
    return names, [] if single else names


def _refusals() -> tuple[type[Exception], ...]:
    """What the library raises of a dataset that is not there, not reachable, damaged, or a script."""
    import datasets
    import yaml

    said_of_a_damaged_file = (ValueError, AttributeError, KeyError, TypeError, yaml.YAMLError)
    not_found = (FileNotFoundError, ConnectionError, datasets.exceptions.DatasetNotFoundError)
    return (*not_found, *said_of_a_damaged_file, RuntimeError)


def _unreadable(source: str, error: Exception) -> ValueError:
    return ValueError(
        f"{source} could not be read ({_line(error)}); expected a datasets folder or the id of a dataset on the Hub "
        "that can be reached from here."
    )


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
