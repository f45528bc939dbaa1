"""What a user may get wrong, and what must come of it: one line that names it, and every file as it was.

A `Bad` is a command line and the files it meets, in a folder of its own. `refusal` runs it in this process, through the
same `main` that a user starts; `refusal_of_process` judges one that was started.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from support.programs import ROOT

Content = bytes | str | list[Any] | Callable[[Path, Path], object]

# Words of Python's own that say nothing to a user.
PYTHON = re.compile(
    r"<class |<[\w.]+ object|object at 0x|\w\(\{|Counter\(|PosixPath\(|NoneType|\bNone\b|\{'|\{\d+:|dtype=|tensor\("
    r"|array\(|defaultdict|namespace\(|\[Errno|\b\w+Error\b|Traceback|' object (?:is|has)|\\n|\\x1b"
)


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused.

    `command`: a command of `rlaif` or the path of a program. `arguments`: "@x" stands for the file or folder x of the
    inputs that are right. `names`: what the line must match. `files`: what is there before, by path: rows, text, bytes,
    or a function that is given the path and the folder of what is right.
    """

    command: str
    arguments: tuple[str, ...]
    names: str
    files: Mapping[str, Content] = field(default_factory=dict)

    def argv(self, world: Path) -> list[str]:
        given = [re.sub(r"(^|=)@", lambda m: f"{m[1]}{world}/", word) for word in self.arguments]
        return [str(ROOT / self.command), *given] if "/" in self.command else ["rlaif", self.command, *given]


def short(command: str) -> str:
    """The name of a command or program in the name of a case."""
    return command.rsplit("/", 1)[-1].removesuffix(".py")


def lay_out(bad: Bad, folder: Path, world: Path) -> None:
    """Writes the files that a command line meets."""
    for name, content in bad.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path, world)
        elif isinstance(content, list):
            path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_line(error: str, status: object, bad: Bad, launched: bool = False) -> str:
    """The line with which a program refused its input; fails where it is not as it must be.

    Where it was `launched`, the launcher's own words about the end of its processes may stand before it.
    """
    lines = [line for line in error.splitlines() if line.strip() and "%|" not in line]
    assert status in (1, 2, 3), (status, error)
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], error
    if launched:
        assert str(ROOT / "rlaif") not in "".join(lines[:-1]), error
    else:
        assert all(line.startswith(("warning: ", "error: ")) for line in lines), error
    line = lines[-1]
    assert len(line) < 600, line
    assert not (python := PYTHON.search(line)), (python, line)
    assert re.search(bad.names, line), (bad.names, line)
    return line


def check_folder(before: Mapping[str, str], folder: Path) -> None:
    """Fails where something that was there is not as it was, or something new is not whole."""
    after = snapshot(folder)
    changed = {name for name, content in before.items() if after.get(name) != content}
    assert not changed, sorted(changed)
    for name in sorted(after.keys() - before.keys()):
        path = folder / name
        assert not name.endswith((".partial", ".in-use")), f"{name} is left behind"
        if path.is_dir():
            continue
        assert path.stat().st_size or path.name.startswith("."), f"{name} is empty"
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".jsonl":
            assert path.read_bytes().endswith(b"\n"), name
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        elif path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "pt") as file:
                assert file.keys()


@cache
def program(path: str) -> Any:
    """The module of a program outside of the package."""
    spec = importlib.util.spec_from_file_location(f"program_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def process_kept() -> Iterator[None]:
    """What a program changes in its process is as before afterwards."""
    kept = dict(os.environ), os.getcwd(), sys.argv, sys.excepthook, list(sys.path)
    threshold, levels = gc.get_threshold(), {name: logging.getLogger(name).level for name in _LOGGERS}
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)}
    verbosity = _verbosity()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.clear()
        os.environ.update(kept[0])
        os.chdir(kept[1])
        sys.argv, sys.excepthook, sys.path[:] = kept[2], kept[3], kept[4]
        gc.set_threshold(*threshold)
        gc.unfreeze()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for number, handler in signals.items():
            signal.signal(number, handler)
        _set_verbosity(verbosity)
        if "accelerate.state" in sys.modules:
            from accelerate.state import AcceleratorState, GradientState

            AcceleratorState._reset_state(True)
            GradientState._reset_state()


_LOGGERS = ("", "accelerate", "datasets", "huggingface_hub", "peft", "torch", "transformers", "trl")


def _verbosity() -> Any:
    import datasets
    import transformers

    bars = not datasets.are_progress_bars_disabled(), transformers.utils.logging.is_progress_bar_enabled()
    return datasets.logging.get_verbosity(), transformers.logging.get_verbosity(), *bars


def _set_verbosity(found: Any) -> None:
    import datasets
    import transformers

    datasets.logging.set_verbosity(found[0])
    transformers.logging.set_verbosity(found[1])
    (datasets.enable_progress_bars if found[2] else datasets.disable_progress_bars)()
    (transformers.logging.enable_progress_bar if found[3] else transformers.logging.disable_progress_bar)()


def run_here(argv: list[str], folder: Path) -> int | str | None:
    """Runs a program in this process, in `folder`; its exit status (0 where it just ended)."""
    from rlaif import cli, config

    with process_kept():
        os.chdir(folder)
        sys.argv = list(argv)
        try:
            if argv[0] == "rlaif":
                cli.main()
            else:
                config.run(program(argv[0]).main)
        except SystemExit as end:
            return end.code
    return 0
