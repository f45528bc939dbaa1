"""How programs end: whose fault it was, one line that is last and stands once, and pipes that close."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT, refused, rlaif, rlaif_env

from rlaif.assess.truth import load_gold
from rlaif.config import UsageError, fail, import_function, parse, run, warn
from rlaif.errors.theirs import is_number
from rlaif.errors.words import counted, kind_of, plain, shown


def ended(main: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which `run` ends `main`."""
    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == 1
    line: str = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    return line.removeprefix("error: ").removesuffix("\n")


def ours(source: str) -> Callable[[], Any]:
    """A function as it would stand in a file of this repository."""
    names: dict[str, Any] = {}
    exec(compile(source, str(ROOT / "rlaif" / "files" / "somewhere.py"), "exec"), names)
    return names["main"]  # type: ignore[no-any-return]


# Whose fault ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "int('x')",
        "a, b = [1]",
        "list(zip([1], [], strict=True))",
        "{}['x']",
        "None.x",
        "import json; json.dumps({1, 2})",
        "import numpy; numpy.zeros(2) + numpy.zeros(3)",
        "import rlaif.nowhere",
        "assert False",
        "raise KeyError('x')",
    ],
)
def test_a_bug_of_this_code_keeps_its_traceback(statement: str) -> None:
    with pytest.raises(Exception) as bug:  # noqa: PT011
        run(ours(f"def main():\n    {statement}"))
    assert not isinstance(bug.value, SystemExit)


def test_what_a_raise_of_this_code_says_is_a_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(ours("def main():\n    raise ValueError('x is 1; expected 2.')"), capsys) == "x is 1; expected 2."
    caught = "try:\n        int('x')\n    except ValueError:\n        raise ValueError('no number') from None"
    assert ended(ours(f"def main():\n    {caught}"), capsys) == "no number"


def broken_template(folder: Path) -> None:
    import jinja2

    jinja2.Environment().from_string("{% for x in y %}")


def refusing_template(folder: Path) -> None:
    import jinja2

    jinja2.Environment(undefined=jinja2.StrictUndefined).from_string("{{ nothing.of }}").render()


def cut_weights(folder: Path) -> None:
    from safetensors.torch import load_file

    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    load_file(folder / "model.safetensors")


def broken_parquet(folder: Path) -> None:
    import pyarrow.parquet as pq

    (folder / "rows.parquet").write_bytes(b"PAR1 and nothing")
    pq.read_table(folder / "rows.parquet")


def no_such_name(folder: Path) -> None:
    raise ModuleNotFoundError("No module named 'optimi'", name="optimi")


def no_package(folder: Path) -> None:
    import nowhere_to_be_found  # type: ignore[import-not-found]  # noqa: F401


def offline_hub(folder: Path) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download("nobody/nothing", cache_dir=folder)


def no_reporter(folder: Path) -> None:
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    get_reporting_integration_callbacks(["nonsense"])


def unknown_words(folder: Path) -> None:
    import torch

    torch.nn.Linear(2, 3)(torch.zeros(1, 5))


def full_disk(folder: Path) -> None:
    with open("/dev/full", "w") as file:
        file.write("x" * 100_000)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (broken_template, r"the chat template cannot be used \(.*\); mend it in the tokenizer's folder\."),
        (refusing_template, r"the chat template cannot be used \('nothing' is undefined\)"),
        (cut_weights, r"a \.safetensors file is cut short or is none; copy or download it again"),
        (broken_parquet, r"[Pp]arquet"),
        (no_package, r"the package nowhere_to_be_found is not installed\. Install it"),
        (no_such_name, r"the package optimi is not installed\. Install it \(pip install torch-optimi\)\."),
        (offline_hub, r"the Hub is not reached, and what is asked for is not in the cache here"),
        (no_reporter, r"nonsense is not supported"),
        (unknown_words, r"torch failed \(RuntimeError: mat1 .*\); RLAIF_TRACEBACK=1 in the environment shows where\."),
        (full_disk, r"No space left on device: .*; what was stored is kept\."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_library_refuses_is_one_line(
    wrong: Callable[[Path], None], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(line, ended(lambda: wrong(tmp_path), capsys))


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAIF_TRACEBACK", "1")
    with pytest.raises(ValueError, match="x is 1"):
        run(ours("def main():\n    raise ValueError('x is 1')"))


# Settings that need something -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "package", "line"),
    [
        ("--report_to wandb", "wandb", "report_to wandb needs the package wandb, which is not installed"),
        ("--report_to wanbd", None, "report_to is 'wanbd'; did you mean 'wandb'?"),
        ("--deepspeed zero.json", "deepspeed", "deepspeed needs the package deepspeed"),
        ("--use_liger_kernel true", "liger_kernel", "use_liger_kernel needs the package liger-kernel"),
        ("--attn_implementation flash_attention_2", "flash_attn", "flash-attn, which is not installed; install it, or"),
        ("--attn_implementation flash", None, "attn_implementation is 'flash'; expected one of eager, sdpa"),
        ("--attn_implementation owner/kernel", "kernels", "needs the package kernels"),
        ("--report_to azure_ml", "azureml", "report_to azure_ml needs the package azureml-sdk"),
        ("--optim galore_adamw", "galore_torch", "optim galore_adamw needs the package galore-torch"),
        ("--optim adamw_torch_4bit", "torchao", "optim adamw_torch_4bit needs the package torchao"),
        ("--ddp_backend gloo", None, "ddp_backend is gloo, but there is one process"),
    ],
)
def test_a_package_that_is_not_there_is_known_before_anything_is_loaded(
    words: str, package: str | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlaif.training.models import ModelConfig
    from rlaif.training.trainers import CompletionConfig

    if package and find_spec(package):
        pytest.skip(f"{package} is installed")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    base = ["--model", "somewhere", "--output_dir", "out"]
    with pytest.raises(UsageError, match=re.escape(line)):
        parse(ModelConfig, CompletionConfig, args=[*base, *words.split()])


def test_vllm_and_a_compiler_are_asked_for_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlaif.training.ppo.config import PPOConfig

    base = ["--output_dir", "out", "--per_device_train_batch_size", "4", "--steps_per_generation", "1"]
    if not find_spec("vllm"):
        with pytest.raises(UsageError, match="use_vllm needs the package vllm, which is not installed"):
            parse(PPOConfig, args=[*base, "--use_vllm", "true"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"torch_compile needs a C\+\+ compiler, and none is found"):
        parse(PPOConfig, args=[*base, "--torch_compile", "true"])


# Functions of the user's ----------------------------------------------------------------------------------------------


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_rewards.py").write_text(
        "import numpy as np\n\n\n"
        "def raises(prompt, response):\n    return {}['nothing']\n\n\n"
        "def leaves(prompt, response):\n    raise SystemExit(3)\n\n\n"
        "def not_a_number(prompt, response):\n    return np.float64('nan')\n\n\n"
        "def text(prompt, response):\n    return 'good'\n\n\n"
        "def numpy(prompt, response):\n    return np.float32(0.5)\n\n\n"
        "def one(response):\n    return 1.0\n\n\n"
        "async def later(prompt, response):\n    return 1.0\n\n\n"
        "def endless(prompt, response):\n    return 10**400\n"
    )
    (tmp_path / "broken_rewards.py").write_text("def f(:\n")
    (tmp_path / "ending_rewards.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_rewards"
    for name in ("own_rewards", "broken_rewards", "ending_rewards"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("raises", r"gold 'own_rewards:raises', asked of the prompt 'Why\?', failed \(KeyError: 'nothing', "
                   r"own_rewards.py line 5\); mend it\."),
        ("leaves", r"failed \(SystemExit: 3, own_rewards.py line 9\)"),
        ("not_a_number", r"returned nan for the prompt 'Why\?'; expected a finite float"),
        ("endless", r"returned 10+\S* for the prompt 'Why\?'; expected a finite float"),
        ("text", r"returned 'good' for the prompt"),
        ("one", r"gold 'own_rewards:one' takes \(response\) \(too many positional arguments\); expected \(prompt, "),
        ("later", r"gold 'own_rewards:later' is async"),
    ],
)  # fmt: skip
def test_a_gold_reward_that_fails_is_one_line(
    name: str, line: str, own_module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(line, ended(lambda: load_gold(f"{own_module}:{name}")("Why?", "Because."), capsys))


def test_a_number_is_one_that_a_reward_can_be() -> None:
    """A whole number of Python's may be larger than any float: 10 ** 400."""
    for value in (0, -3, 2.5, 1e38, 10**38):
        assert is_number(value)
    for value in (True, None, "5", 1j, math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e300, [1.0]):
        assert not is_number(value)


def test_a_gold_reward_may_give_numbers_of_numpy(own_module: str) -> None:
    assert load_gold(f"{own_module}:numpy")("Why?", "Because.") == 0.5


def test_a_judge_or_rater_that_takes_something_else_is_refused_before_it_is_asked(own_module: str) -> None:
    from rlaif.judging.settings import load_judge, load_rater

    with pytest.raises(
        ValueError, match=r"the function 'own_rewards:raises' takes .*; expected \(prompt, first, second"
    ):
        load_judge(f"{own_module}:raises").check()
    load_rater(f"{own_module}:raises").check()
    load_rater(f"{own_module}:later").check()
    with pytest.raises(
        ValueError, match=r"the function 'own_rewards:one' takes \(response\) .*; expected \(prompt, resp"
    ):
        load_rater(f"{own_module}:one").check()


def test_a_reward_function_that_fails_is_one_line(own_module: str) -> None:
    from rlaif.judging.rewards import FunctionReward

    def batched(prompts: list[str], completions: list[str]) -> list[float]:
        raise RuntimeError("the grader\nis away")

    for function, said in (
        (import_function(f"{own_module}:raises"), r"KeyError: 'nothing', own_rewards.py line 5"),
        (batched, r"RuntimeError: the grader is away, test_errors.py line \d+"),
    ):
        with pytest.raises(ValueError, match=rf"^the reward function 'm:f' failed \({said}\); mend it\.$"):
            FunctionReward(function, "f", "m:f")(["Why?"], ["Because."])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("broken_rewards:f", r"'broken_rewards:f' cannot be imported \(SyntaxError: .*line 1\)\); mend broken_rewards"),
        ("ending_rewards:f", r"cannot be imported \(SystemExit: 0, ending_rewards.py line 1\)"),
        (".relative:f", r"cannot be imported"),
        (":f", r"cannot be imported"),
    ],
)
def test_a_module_that_fails_at_import_is_one_line(name: str, line: str, own_module: str) -> None:
    with pytest.raises(ValueError, match=line):
        import_function(name)


# Words ----------------------------------------------------------------------------------------------------------------


def test_values_are_shown_as_files_have_them() -> None:
    values: list[Any] = [
        None,
        True,
        0.5,
        np.float64(0.25),
        "a\nb",
        {"a": [1]},
        {1, 2},
        float("nan"),
        object(),
        "x" * 99,
    ]
    assert [shown(value) for value in values] == [
        *("null", "true", "0.5", "0.25", "'a\\nb'", '{"a": [1]}', "a list", "nan", "a object", f"'{'x' * 60}...'"),
    ]
    assert counted(Counter({"tied": 3, "unjudged": 2})) == "3 tied, 2 unjudged"
    assert [kind_of(value) for value in (None, False, 2.0, "x", b"", [], {})] == [
        *("nothing", "true or false", "a number", "a text", "bytes", "a list", "a mapping"),
    ]


def test_what_python_writes_is_not_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    from pathlib import PosixPath

    from transformers.trainer_utils import IntervalStrategy

    said = f"{np.float64(0.5)!r} {PosixPath('a/b')!r} {int!r} {IntervalStrategy.STEPS!s} {Counter(a=1)!r}"
    assert plain(said) == "0.5 a/b int steps {'a': 1}"
    with pytest.raises(SystemExit):
        fail(said)
    assert capsys.readouterr().err == "error: 0.5 a/b int steps {'a': 1}\n"


# What would be printed as Python writes it: a call's result, a display, a class's name.
UNFIT = {
    "asdict",
    "Counter",
    "dict",
    "items",
    "keys",
    "list",
    "repr",
    "set",
    "sorted",
    "tuple",
    "type",
    "values",
    "vars",
}
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.Tuple, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)


def called(node: ast.AST) -> str:
    """The name of the function that a call calls."""
    return getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""


def unfit(source: str) -> Iterator[tuple[int, str]]:
    """The values in messages (of `raise`, `warn` and `fail`) that would be shown as Python writes them."""
    for node in ast.walk(ast.parse(source)):
        message = node.exc if isinstance(node, ast.Raise) else node if called(node) in {"warn", "fail"} else None
        for part in ast.walk(message) if message is not None else ():
            if not isinstance(part, ast.FormattedValue):
                continue
            value, text = part.value, ast.unparse(part.value)
            of_a_class = text.startswith("type(") and "error" not in text and "tokenizer" not in text
            if isinstance(value, DISPLAYS) or called(value) in UNFIT or of_a_class:
                yield value.lineno, text


def test_no_message_shows_what_only_python_writes() -> None:
    files = [
        path for folder in ("rlaif", "recipes", "reward_models", "scripts") for path in (ROOT / folder).rglob("*.py")
    ]
    found = [f"{path}:{at[0]}: {at[1]}" for path in files for at in unfit(path.read_text(encoding="utf-8"))]
    assert found == []
    assert [text for _, text in unfit("raise ValueError(f'no {dict(x)} {[1]} {type(v).__name__} {a} {b!r}')")] == [
        *("dict(x)", "[1]", "type(v).__name__"),
    ]


# Lines and bars -------------------------------------------------------------------------------------------------------

BAR = """
from tqdm import tqdm
from rlaif.config import run, warn
def main():
    bars = [tqdm(total=3, desc=name, mininterval=0) for name in ("outer", "inner")]
    bars[1].update(1)
    warn("something to know")
    bars[1].update(1)
    raise ValueError("no more")
run(main)
"""


def test_a_line_begins_afresh_below_a_bar_and_is_the_last() -> None:
    done = subprocess.run([sys.executable, "-c", BAR], capture_output=True, env=rlaif_env())
    assert done.returncode == 1
    assert b"\nwarning: something to know\n" in done.stderr
    assert done.stderr.endswith(b"\nerror: no more\n")


def test_a_warning_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    warn("a\x1b[31m\r\nb\u202e")
    assert capsys.readouterr().err == "warning: a [31m b\n"
    warn("the template says 'no.'.. It is in ../judges.")
    assert capsys.readouterr().err == "warning: the template says 'no.'. It is in ../judges.\n"


# Pipes that close -----------------------------------------------------------------------------------------------------


def into_nothing(*arguments: object, stream: str = "stdout", **env: str) -> tuple[int, str]:
    """Exit status and the other stream of a program whose `stream` nobody reads: its reader has gone."""
    read, write = os.pipe()
    os.close(read)
    other = "stderr" if stream == "stdout" else "stdout"
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        **{stream: write, other: subprocess.PIPE},  # type: ignore[call-overload]
        env=rlaif_env(**env),
        text=True,
    )
    os.close(write)
    return done.returncode, getattr(done, other)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_whose_output_nobody_reads_does_its_work(unbuffered: str, tmp_path: Path) -> None:
    command = ("-m", "rlaif", "sandbox", "--output", tmp_path / "world", "--prompts", "4")
    assert into_nothing(*command, PYTHONUNBUFFERED=unbuffered) == (0, "")
    assert len((tmp_path / "world/prompts.jsonl").read_text().splitlines()) == 4
    assert into_nothing("-m", "rlaif", "--help", PYTHONUNBUFFERED=unbuffered) == (0, "")


def test_an_error_that_nobody_reads_keeps_its_status(tmp_path: Path) -> None:
    assert into_nothing("-m", "rlaif", "jugde", stream="stderr") == (2, "")


def test_streams_that_are_closed_from_the_start_stay_so(tmp_path: Path) -> None:
    """Their numbers go to no file of the program's."""
    command = f"{sys.executable} -m rlaif sandbox --prompts 4 --output {tmp_path}/world"
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        assert subprocess.run(f"{command} {closed}", shell=True, env=rlaif_env()).returncode == 0
    rows = (tmp_path / "world/prompts.jsonl").read_text().splitlines()
    assert [json.loads(row)["prompt"] for row in rows]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk")
def test_an_output_that_is_full_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rlaif", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, env=rlaif_env()
        )
    assert "No space left on device: standard output; " in refused(done, 1)


# Under a launcher -----------------------------------------------------------------------------------------------------


def test_a_launcher_that_is_to_be_quiet_leaves_one_line() -> None:
    """Of one that speaks, see test_bad_starts.py."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "recipes/accelerate/cpu.yaml")]
    words = [*launcher, "--quiet", "-m", "rlaif", "sandbox", "--seed", "x"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=rlaif_env(), cwd=ROOT)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: seed is 'x'; expected a whole number")


def test_without_a_launcher_there_is_no_watcher() -> None:
    assert refused(rlaif("sandbox", "--seed", "x"), 2).startswith("error: seed is ")
