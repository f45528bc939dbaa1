"""Which code a program executes, as a fingerprint: what it imports, directly and on the way, without its comments.

A stage that has run is used again only for the code that it ran. The whole package's hash would be simpler, and throw
every stage away for a change in a page's layout; so the imports are followed (`ast`, functions' own imports included),
and of each file the syntax tree is hashed, without comments, layout and docstrings, which no program computes with.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import rlaif

__all__ = ["code_files", "code_fingerprint", "command_names", "forget", "function_file", "versions"]

PACKAGE = Path(rlaif.__file__).parent
_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "datasets", "numpy")


def code_fingerprint(program: str, functions: tuple[str, ...] = ()) -> str:
    """A hash of the code that `program` ("rlaif judge", or a path) executes, and of `functions`, "module:name" each."""
    digest = hashlib.sha256()
    for file in sorted(code_files(program, functions)):
        digest.update(f"{file.name}:{_tree_hash(file)};".encode())
    return digest.hexdigest()[:16]


def command_names() -> list[str]:
    """The commands of `rlaif`: cli.py stands on a higher floor, so it is read and not imported."""
    for node in _tree(PACKAGE / "cli.py").body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "COMMANDS":
            assert isinstance(node.value, ast.Dict)
            return [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    raise AssertionError("cli.py has no COMMANDS")


def code_files(program: str, functions: tuple[str, ...] = ()) -> set[Path]:
    """The files of that code: those of rlaif, those beside the program, and the functions' own."""
    words = program.split()
    if words[0] == "rlaif":
        entry, beside = PACKAGE / "cli.py", None
        todo = {entry, *_reached(entry, None, f"_{words[1]}")}
        done = {entry}  # hashed whole, but only this command's own function is followed
    else:
        entry = Path(program)
        beside, todo, done = entry.parent, {entry}, set()
    theirs = {file for name in functions if (file := function_file(name)) is not None}
    todo |= theirs
    files = set(todo)
    # What somebody's function imports is looked for where it stands, and where its package does.
    where: dict[Path, Path | None] = {file: _root_of(file) for file in theirs}
    while todo := todo - done:
        file = todo.pop()
        done.add(file)
        root = where.get(file, beside)
        found = _reached(file, root)
        where.update(dict.fromkeys(found - where.keys(), root))
        files |= found
        todo |= found
    return files


def _root_of(file: Path) -> Path:
    """The folder that a module is imported from: above the packages that it is in."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


@cache
def _reached(file: Path, beside: Path | None, function: str | None = None) -> frozenset[Path]:
    """The files that `file` imports: of rlaif, and of the folder `beside` that a program is launched from.

    With `function`, what the file's top and this function import.
    """
    body = _tree(file).body
    if function is not None:
        body = [node for node in body if not isinstance(node, ast.FunctionDef) or node.name == function]
    found = set()
    package = list(file.parent.relative_to(root).parts) if file.is_relative_to(root := _root_of(file)) else []
    imported = [name for node in body for name in _imports(node, package)]
    for name in [*imported, *(home for given in imported for home in _homes(given))]:
        parts = name.split(".")
        # Importing a.b.c runs the packages a and a.b too; the last part may be a name within the module.
        for length in range(1, len(parts) + 1):
            if (path := _module_file(".".join(parts[:length]), beside)) is not None:
                found.add(path)
    return frozenset(found)


def _imports(node: ast.AST, package: list[str]) -> Iterator[str]:
    """The dotted names that are imported anywhere in `node`, which stands in a module of `package`.

    What stands under `if TYPE_CHECKING:` is for checkers alone: no program executes it.
    """
    for inner in _executed(node):
        if isinstance(inner, ast.Import):
            yield from (name.name for name in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            above = package[: len(package) - inner.level + 1] if inner.level else []
            module = ".".join([*above, *([inner.module] if inner.module else [])])
            yield from (f"{module}.{name.name}" if module else name.name for name in inner.names)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and everything in it but what is for checkers alone."""
    if isinstance(node, ast.If) and _for_checkers(node):
        children: Iterable[ast.AST] = node.orelse
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _executed(child)


def _for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _homes(name: str) -> Iterator[str]:
    """Where a name of the package itself is loaded from at its first use; of `import rlaif`, all of its names."""
    package, _, wanted = name.partition(".")
    if package == "rlaif":
        for block in filter(_for_checkers, _tree(PACKAGE / "__init__.py").body):
            for node in ast.walk(block):
                if isinstance(node, ast.ImportFrom):
                    yield from (f"{node.module}.{given.name}" for given in node.names if wanted in ("", given.name))


@cache
def _module_file(dotted: str, beside: Path | None) -> Path | None:
    """The file of a module of rlaif, or of one in the folder `beside`; None for a library's."""
    parts = dotted.split(".")
    roots = [root for root in (PACKAGE.parent if parts[0] == "rlaif" else None, beside) if root is not None]
    for root in roots:
        for file in (root.joinpath(*parts).with_suffix(".py"), root.joinpath(*parts, "__init__.py")):
            if file.is_file():
                return file
    return None


def function_file(name: str) -> Path | None:
    """The source file of "module:function", which may be anybody's; None where there is none to read."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where `python -m rlaif`, which will import it, looks first
    try:
        spec = importlib.util.find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _tree_hash(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def forget() -> None:
    """Reads every file anew the next time: it may have been changed since."""
    for cached in (_reached, _module_file, _tree, _tree_hash):
        cached.cache_clear()


@cache
def versions() -> str:
    """The versions of what the programs compute with, as one line of JSON: another one gives other numbers."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(found)
