"""`rlaif <command>`: parses, calls one function, prints. A command's modules are imported only when it is called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rlaif import __version__
from rlaif.config import UsageError, parse, run
from rlaif.errors.words import did_you_mean
from rlaif.files.manifest import elapsed

__all__ = ["main"]

_USAGE = """usage: rlaif <command> [--config file.yaml] [--name value ...]

learning from AI feedback: a judge's probability z, carried from annotation to training

  sandbox    write the prompts and demonstrations of a bundled small world
  sample     prompts -> candidate pairs, from one policy or two
  judge      pairs -> judgments z, in both orders, every vote kept
  build      judgments -> preference dataset with splits by prompt
  convert    one preference format -> another: UltraFeedback, HelpSteer, HH, Nectar, KTO, ... and our pairs
  evaluate   policies side by side: rewards, win rates, KL, a page with plots
  view       the page of a report, in a browser on this machine: rlaif view FOLDER
  publish    a dataset, reward model or policy to the Hub, checked, with a card made from the run

`rlaif <command> --help` lists its settings. Reward models and policies are trained by the programs in reward_models/
and recipes/. Under `accelerate launch -m rlaif <command>` the work of sample, judge and evaluate is split over the
processes; the other commands' is done by the first.
"""


def _sandbox(arguments: Sequence[str]) -> None:
    from rlaif.commands.sandbox import SETTINGS, __doc__, write_sandbox

    (config,) = parse(*SETTINGS, args=arguments, program="rlaif sandbox", description=__doc__)
    for path, rows in write_sandbox(config).items():
        print(f"{rows} rows in {path}")


def _sample(arguments: Sequence[str]) -> None:
    from rlaif.commands.sample import SETTINGS, __doc__, sample

    (config,) = parse(*SETTINGS, args=arguments, program="rlaif sample", description=__doc__)
    if report := sample(config):
        _print(report)
        print(f"in {config.output}")


def _judge(arguments: Sequence[str]) -> None:
    import gc

    from rlaif.commands.judge import SETTINGS, __doc__, check_judged, judge

    gc.freeze()  # the libraries' objects stay: not looked through again with every few thousand votes
    gc.set_threshold(20_000, 20, 100)
    (config,) = parse(*SETTINGS, args=arguments, program="rlaif judge", description=__doc__)
    if report := judge(config):
        _print(report)
        print(f"in {config.output}")
        check_judged(report)


def _build(arguments: Sequence[str]) -> None:
    from rlaif.commands.build import SETTINGS, __doc__, build

    (config,) = parse(*SETTINGS, args=arguments, program="rlaif build", description=__doc__)
    _print(build(config))
    print(f"in {config.output}")


def _convert(arguments: Sequence[str]) -> None:
    from rlaif.commands.convert import SETTINGS, __doc__, convert

    (config,) = parse(*SETTINGS, args=arguments, program="rlaif convert", description=__doc__)
    _print({**convert(config), "seconds": elapsed()})


def _evaluate(arguments: Sequence[str]) -> None:
    from rlaif.commands.evaluate import SETTINGS, __doc__, evaluate

    (config,) = parse(*SETTINGS, args=arguments, program="rlaif evaluate", description=__doc__)
    _print(evaluate(config))


def _view(arguments: Sequence[str]) -> None:
    from rlaif.commands.view import SETTINGS, __doc__, view

    if arguments and not arguments[0].startswith("-"):
        arguments = ["--folder", *arguments]
    (config,) = parse(*SETTINGS, args=arguments, program="rlaif view", description=__doc__)
    view(config)


def _publish(arguments: Sequence[str]) -> None:
    from rlaif.commands.publish import SETTINGS, __doc__, publish

    settings = parse(*SETTINGS, args=arguments, program="rlaif publish", description=__doc__)
    _print(publish(*settings))


def _print(report: dict[str, Any], indent: str = "") -> None:
    """One `name  value` line a number, nested names indented."""
    for name, value in report.items():
        if isinstance(value, list):
            continue  # points of a plot: they stand in report.json
        if isinstance(value, dict) and value:
            print(f"{indent}{name}")
            _print(value, indent + "  ")
        else:
            if isinstance(value, float):
                value = f"{value:.4g}"
            elif not isinstance(value, str):
                value = json.dumps(value)
            print(f"{indent}{name:<{max(28 - len(indent), 1)}} {value}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "sandbox": _sandbox,
    "sample": _sample,
    "judge": _judge,
    "build": _build,
    "convert": _convert,
    "evaluate": _evaluate,
    "view": _view,
    "publish": _publish,
}
_SPLIT = ("sample", "judge", "evaluate")  # over a launcher's processes


def main() -> None:
    """The `rlaif` program."""
    run(_command)


def _command() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_USAGE, end="")
    elif arguments[0] == "--version":
        print(__version__)
    elif arguments[0] in COMMANDS:
        if arguments[0] not in _SPLIT and os.environ.get("RANK", "0") != "0":
            return  # the launcher's first process does it
        COMMANDS[arguments[0]](arguments[1:])
    else:
        raise UsageError(f"{arguments[0]!r} is not a command; {did_you_mean(arguments[0], COMMANDS)}")
