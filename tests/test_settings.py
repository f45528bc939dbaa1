"""What settings a program has, without starting it; the help that it prints; other spellings of a name."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, rlaif_env

import rlaif
from rlaif.cli import COMMANDS as CALLED
from rlaif.config import UsageError, parse
from rlaif.errors.words import did_you_mean, one_of
from rlaif.settings.declared import REFUSED, Around, declared, described, settings_of_class
from rlaif.settings.functions import function_file, import_function
from rlaif.settings.library import HEADINGS, INDEX, KEPT, index, library_settings, ordered
from rlaif.settings.programs import program_module, program_settings
from rlaif.settings.spelled import Names

TRAINING = [
    *("recipes/sft.py", "recipes/dpo.py", "recipes/ppo.py", "recipes/best_of_n.py"),
    "reward_models/bradley_terry.py",
]
COMMANDS = [
    f"rlaif {name}" for name in ("sandbox", "sample", "judge", "build", "convert", "evaluate", "view", "publish")
]
SCRIPTS = [
    "reward_models/score.py",
    *(f"scripts/{name}.py" for name in ("measure_publish", "benchmark", "ablate", "build_sandbox")),
]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


# The index of TRL's settings ------------------------------------------------------------------------------------------


def test_the_index_is_what_the_dataclasses_hold() -> None:
    """After a new version of TRL or transformers: `python -m rlaif.settings.library`, then give headings to the new."""
    assert json.loads(INDEX.read_text(encoding="utf-8")) == json.loads(json.dumps(index()))


def test_every_setting_that_trainers_share_has_one_heading() -> None:
    words = [word for text in HEADINGS.values() for word in text.replace("|", " ").split()]
    assert sorted(words) == sorted(set(words))
    shared = [{s.name for s in library_settings(name)} for name in KEPT]
    special = set.intersection(*shared) - set(words)
    assert set(words) - {"activation_offloading"} <= set.intersection(*shared)
    assert special <= {"output_dir", "trust_remote_code", "model_init_kwargs", "pad_to_multiple_of"}, special
    assert ordered() == tuple(dict.fromkeys(words))


@pytest.mark.parametrize("program", TRAINING)
def test_what_is_declared_is_what_the_trainer_takes(program: str) -> None:
    """Names, defaults and choices that help shows are those of the class that is filled."""
    kinds = program_module(program).SETTINGS
    around = kinds[-1]
    assert isinstance(around, Around)
    made = {s.name: s for s in settings_of_class(around.make())}
    shown = declared([around])
    assert set(shown) == set(made)
    for name, setting in shown.items():
        plain = {"heading": "", "common": True, "theirs": False, "help": "", "also": (), "shown": ""}
        assert dataclasses.replace(setting, **plain) == dataclasses.replace(made[name], **plain)
        assert setting.help, name
    assert {s.name for s in shown.values() if s.heading == REFUSED} == set(around.make().refused) & set(made)


def test_with_other_versions_the_dataclasses_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlaif.settings import library

    kept = library_settings("trl.DPOConfig")
    monkeypatch.setattr(library, "_installed", lambda: {"trl": "another"})
    monkeypatch.setattr(library, "_read", lambda name: [name])
    assert library.library_settings("trl.DPOConfig") == ["trl.DPOConfig"]
    monkeypatch.undo()
    assert library_settings("trl.DPOConfig") == kept == settings_of_class(__import__("trl").DPOConfig)


# Help -----------------------------------------------------------------------------------------------------------------


PROGRAMS = [*TRAINING, *COMMANDS, *SCRIPTS]


def helped(program: str, *words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a program prints for --help, its module imported and its parser called as it calls it."""
    module = program_module(program)
    monkeypatch.setattr(sys, "argv", [program, *(words or ["--help"])])
    main: Callable[[], object] = getattr(module, "main", lambda: CALLED[program.split()[1]](words or ["--help"]))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_fits_the_terminal_and_a_reader(
    program: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = helped(program, capsys=capsys, monkeypatch=monkeypatch)
    lines = text.splitlines()
    about = program_module(program).__doc__ or ""
    as_it_stands = {line.rstrip() for line in about.splitlines() if line.startswith(" ")}  # commands and tables
    assert lines[0].startswith(f"usage: {program if program.startswith('rlaif') else 'python '}")
    assert about.split("\n")[0][:40] in " ".join(lines[1:5])
    assert [line for line in lines if len(line) > width and line not in as_it_stands] == []
    assert not [word for word in ("%(", "%%", "None", "<class", str(ROOT), "/tmp/", "/home/") if word in text]
    settings = declared_by(program)
    for setting in settings.values():
        if setting.common and setting.heading != REFUSED:
            assert f"\n  --{setting.spellings[0]} " in text or f"\n  --{setting.spellings[0]}\n" in text
        assert setting.help, setting.name
    assert len(lines) < 240


def declared_by(program: str) -> dict[str, Any]:
    kinds = getattr(program_module(program), "SETTINGS", None)
    return program_settings(program) if kinds else {}


def test_help_needs_no_library_and_a_misspelt_name_neither() -> None:
    watch = (
        "import runpy, sys\n"
        "heavy = ('torch', 'transformers', 'trl', 'datasets', 'accelerate', 'peft', 'pyarrow', 'aiohttp')\n"
        "for program in sys.argv[1:]:\n"
        "    for words in (['--help'], ['--help', 'all'], ['--learning_rte', '1']):\n"
        "        sys.argv = [program, *words]\n"
        "        try:\n"
        "            runpy.run_path(program, run_name='__main__')\n"
        "        except SystemExit as end:\n"
        "            print('status', end.code, [name for name in heavy if name in sys.modules])\n"
    )
    programs = [*TRAINING, "reward_models/score.py", "scripts/build_sandbox.py"]
    command = [sys.executable, "-c", watch, *programs]
    done = subprocess.run(command, capture_output=True, text=True, env=rlaif_env(), cwd=ROOT, timeout=120)
    said = [line for line in done.stdout.splitlines() if line.startswith("status")]
    assert said == [f"status {status} []" for _ in programs for status in (0, 0, 2)], done.stderr
    assert done.stderr.count("did you mean 'learning_rate'?") == len(TRAINING)


@pytest.mark.parametrize(
    ("program", "asked", "meant"),
    [("dpo", "lr", "learning_rate"), ("sft", "max_new_tokens", "max_length"), ("ppo", "quantize", "load_in_4bit")],
)
def test_a_word_of_others_is_understood_where_no_letters_tell(program: str, asked: str, meant: str) -> None:
    assert f"did you mean {meant!r}?" in Names(program_settings(f"recipes/{program}.py")).unknown(asked)


def test_help_says_more_where_it_is_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*words: str) -> str:
        return helped("recipes/dpo.py", *words, capsys=capsys, monkeypatch=monkeypatch)

    short, whole = said("--help"), said("--help", "all")
    assert "--adam_beta1" not in short
    assert whole == said("--help_all") == said("--help=all")
    missing = [s.name for s in program_settings("recipes/dpo.py").values() if s.heading != REFUSED]
    assert [name for name in missing if f"--{name} " not in whole and f"--{name}\n" not in whole] == []
    assert "with one possible value here\n  " in whole
    assert said("--help", "adam_beta1").count("  --") == 1
    assert said("--help", "Adam").count("  --") > 1
    assert said("-h", "the Hub").startswith("the Hub\n  --push_to_hub")
    assert "did you mean 'learning_rate'?" in said("--help", "learning_rte")
    assert said("--help", "--config", "nowhere.yaml") == short
    assert "0.1)" in said("--help", "beta")


def test_the_short_help_is_in_order() -> None:
    """What a run cannot do without, then ours, then those of TRL's that people set."""
    settings = [s for s in program_settings("recipes/dpo.py").values() if s.common and s.heading != REFUSED]
    headings = list(dict.fromkeys(s.heading for s in settings))
    assert headings[:4] == ["data", "model", "DPO", "training"]
    assert next(s.name for s in settings if s.heading == "DPO") == "output_dir"
    theirs = [s.theirs for s in settings if s.heading == "training"]
    assert all(theirs)
    assert len(settings) < 70


# Spellings ------------------------------------------------------------------------------------------------------------


@described(also={"output": ("output_dir",), "max_new_tokens": ("max_completion_length",), "sure": ("certain",)})
@dataclasses.dataclass
class Spelt:
    output: str = "here"
    max_new_tokens: int = 8
    samples: int = 1
    sure: bool = True


def spelt(*args: str) -> Spelt:
    (settings,) = parse(Spelt, args=args)
    assert isinstance(settings, Spelt)
    return settings


def test_another_name_of_a_setting_is_understood(tmp_path: Path) -> None:
    assert spelt("--max-new-tokens", "5", "--output-dir", "there") == Spelt("there", 5)
    assert spelt("--max_completion_length=5", "--max_new_tokens", "5").max_new_tokens == 5
    assert spelt("--samples", "2", "--samples", "3").samples == 3  # the last one, as ever
    assert spelt("--no-sure").sure is spelt("--sure", "false").sure is spelt("--no_sure").sure is False
    path = tmp_path / "c.yaml"
    path.write_text("max-completion-length: 5\noutput_dir: there\n", encoding="utf-8")
    assert spelt("--config", str(path)) == Spelt("there", 5)
    assert spelt("--config", str(path), "--max_new_tokens", "6").max_new_tokens == 6
    two = "are two names of one setting; expected one of them"
    with pytest.raises(UsageError, match=f"max_completion_length is 5 and max_new_tokens 6, which {two}"):
        spelt("--max-completion-length", "5", "--max_new_tokens", "6")
    path.write_text("max_completion_length: 5\nmax_new_tokens: 6\n", encoding="utf-8")
    with pytest.raises(UsageError, match=two):
        spelt("--config", str(path))
    assert spelt("--sure", "--certain", "yes").sure is spelt("--certain", "1", "--sure", "True").sure is True
    with pytest.raises(UsageError, match=f"sure is true and certain no, which {two}"):
        spelt("--sure", "--certain", "no")
    with pytest.raises(UsageError, match=r"got '-samples'; expected two dashes, --samples"):
        spelt("-samples", "3")
    with pytest.raises(UsageError, match="--config is there twice"):
        spelt("--config", str(path), "--config", str(path))


@pytest.mark.parametrize("program", [*TRAINING, *COMMANDS, "reward_models/score.py"])
def test_no_other_name_means_two_things(program: str) -> None:
    settings = program_settings(program)
    others = [other for s in settings.values() for other in s.spellings[1:] if other not in settings]
    assert sorted(others) == sorted(set(others))
    names = Names(settings)
    for setting in settings.values():
        assert names.field_of(setting.name) == setting.name
        assert names.field_of(setting.spellings[0].replace("_", "-")) == setting.name


def test_the_names_of_one_thing() -> None:
    def field(program: str, name: str) -> str | None:
        return Names(program_settings(program)).field_of(name)

    for program in ("rlaif sample", "rlaif evaluate", "recipes/best_of_n.py"):
        assert field(program, "max_completion_length") == "max_new_tokens"
    assert field("recipes/ppo.py", "max_new_tokens") == "max_completion_length"
    assert program_settings("recipes/ppo.py")["max_completion_length"].spellings[0] == "max_new_tokens"
    assert field("rlaif judge", "max_new_tokens") == "max_tokens"
    assert field("rlaif sample", "model") == field("rlaif sample", "model_name_or_path") == "policy"
    for program in ("recipes/sft.py", "recipes/dpo.py", "recipes/ppo.py"):
        assert field(program, "policy") == field(program, "model_name_or_path") == "model"
    assert field("reward_models/bradley_terry.py", "policy") is None
    assert field("recipes/dpo.py", "output") == "output_dir"
    assert field("rlaif publish", "output_dir") == "output"
    assert field("rlaif evaluate", "model") is None  # a policy, a judge or a reward model


# Words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("smaples", ["samples", "seed"], "did you mean 'samples'?"),
        ("Max-Tokens", ["max_tokens"], "did you mean 'max_tokens'?"),
        ("split", ["test_split", "eval_split"], "did you mean 'test_split' or 'eval_split'?"),
        ("xyzzy", list("abcdefghijklmno"), "expected one of a, b, c, d, e, f, g, h, i, j, k, l and 3 more."),
        ("xyzzy", [], "there are none."),
    ],
)
def test_a_word_that_is_not_found_names_the_closest(word: str, known: list[str], said: str) -> None:
    assert did_you_mean(word, known) == said


def test_a_value_that_is_none_of_the_choices_names_them() -> None:
    assert one_of("bth", ["both", "ab"]) == "expected one of both, ab; did you mean 'both'?"
    assert one_of("xyzzy", ["both", "ab"]) == one_of(7, ["both", "ab"]) == "expected one of both, ab."
    assert one_of("alpac_eval", ["alpacaeval", *(f"f{n}" for n in range(20))]) == "did you mean 'alpacaeval'?"


def test_a_call_with_a_misspelt_name_names_the_closest() -> None:
    for name, said in (
        ("retry_unjudgd", "'retry_unjudgd' is not a setting of rlaif.judge; did you mean 'retry_unjudged'?"),
        ("smaples", "the judge has 'samples': load_judge(..., samples=...)"),
        ("wobble", "known are pairs, judge, store, by, retry_unjudged, on_bad_row."),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            rlaif.judge([], "x", **{name: 3})
    with pytest.raises(ValueError, match="did you mean 'max_new_tokens'"):
        rlaif.sample(["a"], "x", max_new_tokns=3)


# Functions by name ----------------------------------------------------------------------------------------------------


@pytest.fixture
def my_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_own_rewards.py").write_text(
        "from my_own_helper import shorter\n\n\ndef short(prompt, first, second):\n    return shorter(first, second)\n",
        encoding="utf-8",
    )
    (tmp_path / "my_own_helper.py").write_text(
        "def shorter(first, second):\n    return float(len(first) < len(second))\n", encoding="utf-8"
    )
    (tmp_path / "wandb").mkdir()  # a folder of logs
    (tmp_path / "yaml.py").write_text("def short(prompt, first, second):\n    return 1.0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("my_own_rewards", "my_own_helper"):
        sys.modules.pop(name, None)


def test_a_function_is_found_in_the_current_folder(my_folder: Path) -> None:
    assert str(my_folder) not in sys.path
    assert import_function("my_own_rewards:short")("", "a", "bb") == 1.0
    assert import_function("my_own_rewards.short") is import_function("my_own_rewards:short")
    assert function_file("my_own_rewards:short") == my_folder / "my_own_rewards.py"
    assert str(my_folder) not in sys.path
    assert importlib.util.find_spec("wandb") is None or "site-packages" in str(importlib.util.find_spec("wandb").origin)


def test_an_installed_package_is_not_hidden_by_a_file_here(my_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"yaml has no 'short' .*yaml/__init__.py\); .*yaml.py is another one"):
        import_function("yaml:short")
    with pytest.raises(ValueError, match=r"did you mean 'my_own_rewards', which is here\?"):
        import_function("my_own_reward:short")
    with pytest.raises(UsageError, match=r"has no 'shrot' .*; did you mean 'short'"):
        import_function("my_own_rewards:shrot")
    for file in ("my_own_rewards.py:short", "./my_own_rewards.py:short", "my_own_rewards.py.short"):
        with pytest.raises(UsageError, match=r"names a file; expected a module, 'my_own_rewards:short'"):
            import_function(file)


def test_the_installed_command_finds_it_too(my_folder: Path) -> None:
    """`rlaif` has its own folder first on sys.path, and not the current one."""
    rows = [{"prompt": "p", "response_a": "a", "response_b": "bb"}]
    (my_folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    program = "import sys; sys.path.remove(''); from rlaif.cli import main; main()"
    words = ["judge", "--pairs", "pairs.jsonl", "--judge", "my_own_rewards:short", "--output", "out"]
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=rlaif_env(), cwd=my_folder, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads((my_folder / "out/judgments.jsonl").read_text(encoding="utf-8"))["z"] == 1.0
