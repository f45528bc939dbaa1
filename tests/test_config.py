"""Settings: a mistake costs a line and a second, whichever way it was made."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import here, refused

from rlaif.config import UsageError, parse, run


@dataclass
class Settings:
    output: str | None = None
    samples: int = 1
    limit: int | None = None
    temperature: float = 0.5
    orders: str = field(default="both", metadata={"choices": ["both", "ab", "no"]})
    consistent: bool = False
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; expected at least 1.")


def parsed(*args: object) -> Settings:
    (settings,) = parse(Settings, args=[str(arg) for arg in args])
    assert isinstance(settings, Settings)
    return settings


def config(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_wins(tmp_path: Path) -> None:
    path = config(tmp_path, "samples: 3\ntemperature: 1e-5\nconsistent: true\noutput: here\n")
    assert parsed("--config", path) == Settings("here", 3, None, 1e-5, "both", True)
    assert parsed(f"--config={path}", "--samples", 4, "--consistent", "false").samples == 4
    assert parsed("--samples", 4, "--config", path, "--consistent=false").consistent is False
    assert parsed() == Settings()
    assert parsed("--config", config(tmp_path, "limit:\noutput: null\n")) == Settings()
    assert parsed("--config", config(tmp_path, "names: one\n")).names == parsed("--names", "one").names == ["one"]
    assert parsed("--config", config(tmp_path, "names: [one, two]\nconsistent: 1\n")).names == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample: 3", "'sample' is not a setting of this program; did you mean 'samples'?"),
        ("temprature: 3", "did you mean 'temperature'?"),
        ("xyzzy: 3", "known are "),
        ("samples: 2.5", "samples is 2.5; expected a whole number"),
        ("samples: true", "samples is true; expected a whole number"),
        ("samples: [1, 2]", "samples is a list; expected a whole number"),
        ("temperature: {a: 1}", "temperature is a mapping; expected a number"),
        ("output: {a: b}", "output is a mapping; expected one value"),
        ("names: {a: b}", "names is a mapping; expected a list, `[..., ...]`, of what may follow --names"),
        ("samples: many", "samples is 'many'; expected a whole number"),
        ("temperature: yes", "temperature is true; expected a number"),
        ("output: 5", "output is 5; expected text in quotes"),
        ("samples:", "samples has no value; expected a whole number, or no such line for the default"),
        ("consistent: 2", "consistent is 2; expected true or false"),
        ("consistent: [true]", "consistent is a list; expected one value"),
        ("orders: bth", "orders is 'bth'; expected one of both, ab, no"),
        ("orders: no", "YAML reads a bare yes, no, on or off as true or false: quote it"),
        ("- samples", "holds a list; expected `name: value` lines"),
        ("", "holds nothing; expected `name: value` lines"),
        ("a: b: c", "is not YAML"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r".") as error:
        parsed("--config", config(tmp_path, text))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--sample", "3"], "'sample' is not a setting of this program; did you mean 'samples'?"),
        (["--temp", "3"], "did you mean 'temperature'?"),
        (["--samples", "0"], "samples is 0; expected at least 1"),
        (["--samples", "x"], "samples is 'x'; expected a whole number"),
        (["--samples"], "expected one argument"),
        (["--orders", "bth"], "orders is 'bth'; expected one of both, ab, no; did you mean 'both'?"),
        (["3"], "got '3' without an option before it"),
        (["--config"], "--config has no value"),
        (["--config", "/nowhere.yaml"], "cannot be read (No such file or directory)"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(args: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=r".") as error:
        parsed(*args)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (ValueError("two\n  lines"), "error: two lines\n", 1),
        (UsageError("no such setting"), "error: no such setting\n", 2),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "error: No space left on device: while writing; what was",
            1,
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/out"),
            "error: Permission denied: /out; what was stored",
            1,
        ),
        (KeyboardInterrupt(), "error: interrupted; what was stored is kept", 4),
    ],
)
def test_a_users_mistake_is_one_line(
    error: BaseException, line: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exit_:
        run(main)
    assert exit_.value.code == status
    written = capsys.readouterr().err
    assert written.startswith(line)
    assert written.count("\n") == 1


def test_a_bug_is_a_traceback() -> None:
    def main() -> Any:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run(main)


def test_the_real_program(tmp_path: Path) -> None:
    assert "did you mean 'judge'?" in refused(here("jugde"), 2)
    assert "expected one of sandbox, sample, judge" in refused(here("xyzzy"), 2)
    path = config(tmp_path, "judge_modell: x\n")
    line = refused(here("judge", "--config", path), 2)
    assert f"{path}: 'judge_modell' is not a setting of this program; did you mean 'judge_model'?" in line
    done = here("judge", "--help")
    assert done.returncode == 0
    assert "--retry_unjudged" in done.stdout
