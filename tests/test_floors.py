"""The house stands as shared plans say: no import points up, nothing heavy is loaded by the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, rlaif_env

# A file imports its own floor or a lower one: a rule a folder.
FLOORS = {
    "rlaif/__init__.py": 0,
    "rlaif/records.py": 0,
    "rlaif/config.py": 0,
    "rlaif/metrics.py": 0,
    "rlaif/moved.py": 0,
    "rlaif/secrets.py": 0,
    "rlaif/settings/": 0,
    "rlaif/settings_checks.py": 0,
    "rlaif/errors/": 0,
    "rlaif/files/": 1,
    "rlaif/models/": 2,
    "rlaif/judging/": 3,
    "rlaif/assess/": 4,
    "rlaif/formats/": 4,
    "rlaif/sandbox/": 4,
    "rlaif/training/": 5,
    "rlaif/pages/": 5,
    "rlaif/publish/": 6,
    "rlaif/evaluating/": 6,
    "rlaif/ablations/": 6,
    "rlaif/commands/": 7,
    "rlaif/face.py": 8,
    "rlaif/cli.py": 8,
    "rlaif/__main__.py": 8,
    "reward_models/": 8,
    "recipes/": 8,
    "scripts/": 8,
}
PROGRAMS = ("reward_models/", "recipes/", "scripts/")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("rlaif", *PROGRAMS)
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)


def room(file: str) -> str | None:
    """The entry of FLOORS that a file stands in."""
    if file in FLOORS:
        return file
    return next((name for name in FLOORS if name.endswith("/") and file.startswith(name)), None)


def is_command(file: str) -> bool:
    return file.startswith("rlaif/commands/") and not file.endswith("__init__.py")


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, at its top or within its functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute in this house"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def file_of(dotted: str) -> str | None:
    """The file of this repository that an import reaches; None for a library."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if file in FILES:
                return file
    return None


def arrows(file: str, source: str) -> list[str]:
    """The imports of `source`, standing in `file`, that no file there may have."""
    here = room(file)
    assert here is not None, f"{file} stands on no floor: add it to FLOORS and to the plans"
    wrong = []
    if file == "rlaif/__init__.py":
        return []  # the public face: it names what stands anywhere, and loads it when it is used
    for line, name in imports(source):
        target = file_of(name)
        if target is None or target == file:
            continue
        there = room(target)
        assert there is not None, target
        if FLOORS[there] > FLOORS[here]:
            wrong.append(f"{file}:{line} (floor {FLOORS[here]}) imports {target} (floor {FLOORS[there]})")
        elif target.startswith(PROGRAMS) or (is_command(target) and (is_command(file) or file.startswith(PROGRAMS))):
            wrong.append(f"{file}:{line} imports the program {target}: programs meet through files")
    return wrong


def test_no_arrow_points_up() -> None:
    assert len(FILES) > 30
    assert [arrow for file in FILES for arrow in arrows(file, (ROOT / file).read_text(encoding="utf-8"))] == []


def test_every_room_is_there() -> None:
    assert {room(file) for file in FILES} == set(FLOORS)


@pytest.mark.parametrize(
    ("file", "source", "count"),
    [
        ("rlaif/records.py", "from rlaif.judging import ask", 1),
        ("rlaif/records.py", "def f():\n    import rlaif.cli", 1),
        ("rlaif/records.py", "from rlaif.files import sources, store", 2),
        ("rlaif/assess/length.py", "from rlaif.training.losses import x", 1),
        ("rlaif/commands/judge.py", "from rlaif.commands.sample import sample", 1),
        ("recipes/dpo.py", "from rlaif.commands.build import build", 1),
        ("rlaif/cli.py", "from rlaif.commands import sandbox\nimport torch", 0),
        ("rlaif/models/api.py", "from rlaif.judging.question import Question", 1),
        ("rlaif/files/store.py", "from rlaif.models.base import Reply", 1),
        (
            "rlaif/judging/question.py",
            "from rlaif.judging.reading import Reading\nfrom rlaif.models.base import Call",
            0,
        ),
    ],
)
def test_this_test_can_fail(file: str, source: str, count: int) -> None:
    assert len(arrows(file, source)) == count
    with pytest.raises(AssertionError, match="stands on no floor"):
        arrows("rlaif/attic.py", "")


def test_programs_are_not_called_like_packages() -> None:
    """Launching by path puts a program's folder first on `sys.path`."""
    taken = {"datasets", "evaluate", "trl", "peft", "accelerate", "transformers", "torch", *sys.stdlib_module_names}
    programs = [Path(file) for file in FILES if file.startswith(PROGRAMS)]
    assert [str(file) for file in programs if file.stem in taken or file.name == "__init__.py"] == []


def test_the_visible_top_level_is_what_was_asked_for() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {file.split("/")[0] for file in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        *["pyproject.toml", "README.md", "LICENSE"],
        *["rlaif", "recipes", "reward_models", "scripts", "tests"],
        *(top & {"findings", "CITATION.cff"}),
    }


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["judge", "--help"], ["build", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    watch = (
        "import sys; from rlaif.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = ['torch', 'transformers', 'datasets', 'accelerate', 'peft', 'pyarrow', 'aiohttp', 'matplotlib']\n"
        "if len(sys.argv) == 2:\n    heavy += ['trl', 'numpy']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", watch, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=rlaif_env(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_module_works_at_import() -> None:
    """Importing everything loads no model, prints nothing and warns of nothing."""
    modules = [
        file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for file in FILES
        if file.startswith("rlaif/") and not file.endswith("__main__.py")
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(f"import {module}" for module in modules)],
        capture_output=True,
        text=True,
        env=rlaif_env(),
        timeout=120,
    )
    # bitsandbytes says which of its own kernels it lacks; that is nobody's here.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Failed to load CPU gemm_4bit_forward")]
    assert (done.returncode, done.stdout, said) == (0, "", [])


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("rlaif/") and "__main__" not in file])
def test_every_module_says_what_it_is_and_what_it_gives(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if len(tree.body) == 1:
        return  # a package's docstring alone
    names = {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    assert "__all__" in names


# Docstrings -----------------------------------------------------------------------------------------------------------


def public(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions of a module and the methods of its classes that do not begin with "_"."""
    for part in getattr(node, "body", []):
        if isinstance(part, ast.ClassDef) and not part.name.startswith("_"):
            yield from public(part, f"{part.name}.")
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
            if any(ast.unparse(mark).endswith("overload") for mark in part.decorator_list):
                continue  # the one that they are of says it
            yield f"{within}{part.name}", part


def raised_by(function: ast.AST) -> set[str]:
    """The errors of a user's that stand in `raise` within a function."""
    found = {ast.unparse(node.exc) for node in ast.walk(function) if isinstance(node, ast.Raise) and node.exc}
    return {error for error in found if error.startswith(("ValueError(", "UsageError(", "GateError("))}


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("rlaif/")])
def test_a_public_function_says_what_it_does_and_what_it_refuses(file: str) -> None:
    """What a method says that another one of its name stands for, its base class says."""
    for name, function in public(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        said = ast.get_docstring(function)
        assert said or "." in name, f"{name} has no docstring"
        if said and raised_by(function):
            assert any(word in said for word in ("Raises", "Error", "Refuses", "refuse", "error")), f"{name}: Raises?"
