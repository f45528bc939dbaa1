"""What a command may write into: a new or empty folder, its own earlier output, or nothing.

A command's own output is known by the `command` of its manifest.json or, as long as there is none (a run was killed),
by a hidden mark that it left when it began. Everything else belongs to somebody else, and a command that is refused has
changed nothing: it has not even made the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from rlaif.files.bad_rows import BAD_ROWS_FILE, bad_rows_beside, lists_bad_rows
from rlaif.files.model_files import is_checkpoint, is_generated_card, is_read_by_a_loader
from rlaif.files.occupied import LEFT, WRITTEN_BY, occupied
from rlaif.files.room import names_place_of_run
from rlaif.files.sources import fingerprint, is_still, json_object, write_json

__all__ = [
    *("PAGE_MARK", "begin", "check_file", "check_output", "check_place", "claim", "claim_file", "claim_store"),
    "commands_of",
]

MARK = WRITTEN_BY
PAGE_MARK = '<meta name="generator" content="rlaif">'  # what a page of HTML of this house has at its top
MANIFEST = "manifest.json"

# The two that share a folder with others: each writes these names and touches nothing else.
_SHARING = {
    "rlaif sandbox": ("prompts.jsonl", "evaluation.jsonl", "demonstrations.jsonl"),
    "rlaif evaluate": (
        *("replies", "responses.jsonl", BAD_ROWS_FILE, "report.json", "report.md", "report.html", MANIFEST),
        *("win_rates.png", "reward_kl.png", "judge_calibration.png", "reward_calibration.png"),
    ),
}
# What a killed run of a version without marks left: these go on from the stored replies, whoever asked for them.
_STORING = {"rlaif sample", "rlaif judge", "rlaif evaluate", "recipes/best_of_n.py", "recipes/ppo.py"}
_STORED = re.compile(r"\d{8}T\d+-.+\.jsonl")
_OF_OLDER_STORES = ("votes", "ratings", "completions")  # refused by name where they are continued
_SAYS = "expected a new or empty folder, or one that `{command}` wrote. Nothing was changed."


@contextmanager
def claim(
    folder: str | Path,
    command: str,
    reads: Iterable[str | Path | None] = (),
    *,
    setting: str = "output",
    resuming: bool = False,
) -> Iterator[None]:
    """Makes `folder` the output of `command`, for this process alone until the block ends.

    Where the block ends with an error and has written nothing, the folder is as it was, or not there. In a launcher's
    other processes this does nothing.

    Args:
        folder, command, reads, setting, resuming: as in `check_output`.

    Raises:
        ValueError: as in `check_output`; or another process is at work there.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    path = Path(folder)
    check_output(path, command, reads, setting=setting, resuming=resuming)
    new = [place for place in (path, *path.parents) if not place.exists()]
    empty, marked = bool(new) or not any(path.iterdir()), True
    try:
        with names_place_of_run(path), occupied(path, command):
            marked = (path / MARK).exists()
            _note(path, command)
            yield
            _forget(path, command)
    except BaseException:
        if empty:
            _undo(path, new)
        elif not marked:
            _forget(path, command)
        raise


def begin(folder: str | Path, command: str, reads: Iterable[str | Path | None] = (), *, empty: bool = False) -> None:
    """Makes `folder` the output of a script that writes no manifest: it is marked, and stays so.

    Args:
        folder, command, reads: as in `check_output`.
        empty: remove what an earlier run of the script left there.
    """
    path = Path(folder)
    check_output(path, command, reads)
    if empty:
        shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, exist_ok=True)
    _note(path, command)


def check_output(
    folder: str | Path,
    command: str,
    reads: Iterable[str | Path | None] = (),
    *,
    setting: str = "output",
    resuming: bool = False,
) -> None:
    """Refuses a folder that `command` must not write into; changes nothing.

    Args:
        folder: the output.
        command: as in its manifest: "rlaif judge", "recipes/sft.py".
        reads: the files and folders that the command reads; Hub ids and None are passed over.
        setting: what the folder is called on the command line.
        resuming: whether a checkpoint of the folder is gone on from, which an older version may have left unmarked.

    Raises:
        ValueError: a file; the working directory, the home folder, the root; a folder that is read, is within one or
            holds one; a folder that holds what `command` did not write, also by a name of its own (`bad_rows.jsonl`, a
            plot). Names what was found.
    """
    path = Path(folder)
    check_place(path, setting)
    for read in reads:
        _check_read(path, command, read, setting)
    if not path.exists():
        return
    writers = commands_of(path)
    own = _SHARING.get(command)
    if command in writers:
        _check_own_names(path, command, setting)
        return
    if own is not None and writers and all(writer in _SHARING for writer in writers):
        found = next((name for name in _listed(path) if any(fnmatchcase(name, known) for known in own)), None)
    else:
        found = next((name for name in _listed(path) if not _is_known(path / name, command, resuming)), None)
    if found is not None:
        whose = f"is what `{writers[-1]}` wrote (it holds {found})" if writers else f"holds {found}"
        raise ValueError(f"{setting} is {folder}, which {whose}; {_SAYS.format(command=command)}")


def _check_own_names(path: Path, command: str, setting: str) -> None:
    """Refuses an output of `command` to which a user has added a file by a name that the next run writes or removes.

    A run writes these now and then, so that its manifest does not say whose one is: a list of bad rows is known by its
    lines, a plot by the report that shows it, a page by what it says of its maker.
    """
    if command in json_object(path / MARK).get("commands", []):
        return  # a run was killed while it put its files in place
    theirs = [BAD_ROWS_FILE] if not lists_bad_rows(path / BAD_ROWS_FILE) else []
    report = path / "report.md"
    if command in _SHARING and report.is_file():
        said = report.read_text(encoding="utf-8", errors="replace")
        theirs += [name for name in _SHARING[command] if name.endswith(".png") and f"({name})" not in said]
    if command == "rlaif evaluate" and not _is_page(path / "report.html"):
        theirs.append("report.html")
    found = next((name for name in theirs if os.path.lexists(path / name)), None)
    if found is not None:
        raise ValueError(
            f"{setting} is {path}, which holds {found}, and `{command}` did not write that; the name is its own. Move "
            "the file elsewhere. Nothing was changed."
        )


def _is_page(path: Path) -> bool:
    """Whether a page of HTML, if it is there, is one of this house."""
    try:
        with path.open("rb") as file:
            return PAGE_MARK.encode() in file.read(8192)
    except OSError:
        return not path.is_file()


def check_place(folder: str | Path, setting: str = "output") -> None:
    """Refuses what can be no output folder, whatever it holds: a file, the working directory, home, the root."""
    path = Path(folder)
    if path.is_symlink() and not path.exists():
        raise ValueError(
            f"{setting} is {folder}, a link to {os.readlink(path)}, which does not exist; expected a folder."
        )
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            which = "which is" if place == path else f"and {place} is"
            raise ValueError(f"{setting} is {folder}, {which} a file; expected a folder. Nothing was changed.")
    resolved = path.resolve()
    named = {Path.cwd().resolve(): "the working directory", Path(resolved.anchor): "the root of the file system"}
    with contextlib.suppress(RuntimeError):  # a user without a home
        named[Path.home().resolve()] = "your home folder"
    if resolved in named:
        raise ValueError(
            f"{setting} is {folder}, {named[resolved]}; expected a folder of its own. Nothing was changed."
        )


def _check_read(path: Path, command: str, read: str | Path | None, setting: str) -> None:
    if not read or not os.path.exists(read):
        return
    output, source = path.resolve(), Path(read).resolve()
    if output == source:
        relation = "is read too"
    elif source.is_dir() and output.is_relative_to(source):
        relation = f"is within {read}, which is read"
    elif source.is_relative_to(output):
        within = source.relative_to(output).parts[0]
        own = _SHARING.get(command, ("*",))
        if not any(fnmatchcase(within, known) for known in own):
            return
        relation = f"holds {read}, which is read"
    else:
        return
    raise ValueError(
        f"{setting} is {path}, which {relation}; expected a folder of its own, since what is read must stay as it is. "
        "Nothing was changed."
    )


def commands_of(folder: str | Path) -> list[str]:
    """The commands whose output a folder is, the one that finished last at the end; empty where none of ours is."""
    found = json_object(Path(folder) / MARK).get("commands", [])
    commands = [str(command) for command in found] if isinstance(found, list) else []
    finished = json_object(Path(folder) / MANIFEST).get("command")
    if isinstance(finished, str) and "versions" in json_object(Path(folder) / MANIFEST):
        commands = [*(command for command in commands if command != finished), finished]
    return commands


def _listed(folder: Path) -> list[str]:
    """What a folder holds for others to see, but for what this process prints into."""
    printed = set()
    for number in (1, 2):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            printed.add((status.st_dev, status.st_ino))
    names = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or LEFT.search(entry.name):
            continue
        status = entry.lstat()
        if (status.st_dev, status.st_ino) not in printed:
            names.append(f"{entry.name}/" if entry.is_dir() else entry.name)
    return [name.rstrip("/") for name in names]


def _is_known(entry: Path, command: str, resuming: bool) -> bool:
    """Whether something in a folder without a mark may be there for `command`."""
    if command in _SHARING and entry.is_dir() and commands_of(entry):
        return True  # another command's folder, which is not touched
    if command in _STORING and entry.is_dir() and entry.name in ("replies", *_OF_OLDER_STORES):
        return _is_store(entry)
    return resuming and _is_of_an_older_run(entry)


def _is_of_an_older_run(entry: Path) -> bool:
    """Whether a killed run of a version without marks left this beside its checkpoints, one of them whole."""
    if not any(entry.parent.glob("checkpoint-*/trainer_state.json")):
        return False
    if entry.is_dir() and entry.name in ("runs", "tokenized"):
        return True
    return is_checkpoint(entry) or is_generated_card(entry) or is_read_by_a_loader(entry)


def _is_store(folder: Path) -> bool:
    return all(path.is_file() and _STORED.fullmatch(path.name) for path in folder.iterdir())


def _note(path: Path, command: str) -> None:
    """Adds `command` to the folder's mark."""
    found = json_object(path / MARK).get("commands", [])
    commands = [str(other) for other in found] if isinstance(found, list) else []
    if command not in commands:
        write_json(path / MARK, {"commands": [*commands, command]})


def _forget(path: Path, command: str) -> None:
    """Takes `command` from the folder's mark once its manifest says the same."""
    if json_object(path / MANIFEST).get("command") != command:
        return
    found = json_object(path / MARK).get("commands", [])
    others = [str(other) for other in found if other != command] if isinstance(found, list) else []
    if others:
        write_json(path / MARK, {"commands": others})
    else:
        (path / MARK).unlink(missing_ok=True)


def _undo(path: Path, new: list[Path]) -> None:
    """Removes the mark of a run that wrote nothing into an empty folder, and the folders that were made for it."""
    with contextlib.suppress(OSError):
        for place in sorted((p for p in path.rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True):
            with contextlib.suppress(OSError):
                place.rmdir()  # only what is empty: a store that was opened and not written to
        if [entry.name for entry in path.iterdir()] in ([MARK], []):
            (path / MARK).unlink(missing_ok=True)
            for place in new:
                place.rmdir()


@contextmanager
def claim_store(folder: str | Path, what: str) -> Iterator[None]:
    """`claim` for a call that only adds replies to a folder: any output of this package will do.

    Raises:
        ValueError: a file, the working directory or the like; a folder that holds something and no output of ours.
    """
    path = Path(folder)
    check_place(path, "store")
    if path.exists() and not commands_of(path):
        stores = ("replies", *_OF_OLDER_STORES)
        known = (name in stores and (path / name).is_dir() and _is_store(path / name) for name in _listed(path))
        found = next((name for name, fits in zip(_listed(path), known, strict=True) if not fits), None)
        if found is not None:
            raise ValueError(
                f"store is {folder}, which holds {found} and no replies; expected a new or empty folder, or one that "
                "keeps replies already. Nothing was changed."
            )
    with occupied(path, what):
        yield


# Files ----------------------------------------------------------------------------------------------------------------


def check_file(
    path: str | Path, command: str, reads: Iterable[str | Path | None] = (), *, setting: str = "output"
) -> None:
    """Refuses a file that `command` must not write: one that it did not write itself; changes nothing.

    Its own is known by `NAME.manifest.json` beside it, and by the fingerprints in there: of the file, and of
    `NAME.bad_rows.jsonl`, which a run without bad rows removes. Of a run that was killed before it wrote that manifest
    there is a mark: what took a file's place since is that run's.

    Args:
        path: the output.
        command: as in its manifest.
        reads: the files and folders that the command reads.
        setting: what the file is called on the command line.

    Raises:
        ValueError: a folder; what is read, or a file within a folder that is read; a file of somebody else's, or one
            that was changed since.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{setting} is {path}, which is a folder; expected a file. Nothing was changed.")
    for place in path.parents:
        if place.exists() and not place.is_dir():
            raise ValueError(
                f"{setting} is {path}, and {place} is a file; expected a folder there. Nothing was changed."
            )
    for read in reads:
        if not read or not os.path.exists(read):
            continue
        source = Path(read).resolve()
        if path.resolve() == source or (path.exists() and path.samefile(read)):
            raise ValueError(f"{setting} is {path}, which is read too; expected another file. Nothing was changed.")
        if source.is_dir() and path.resolve().is_relative_to(source):
            raise ValueError(
                f"{setting} is {path}, which is within {read}, which is read; expected a file elsewhere. Nothing was "
                "changed."
            )
    manifest = _manifest_of(path)
    about = json_object(manifest)
    mark = json_object(_file_mark(path))
    own = about.get("command") == command or command in mark.get("commands", [])
    before = mark.get("before")
    for there in (path, manifest, bad_rows_beside(path)):
        if os.path.lexists(there) and not own:
            raise ValueError(
                f"{setting} is {path}, and {there} was not written by `{command}`; expected a new file, or one that "
                f"`{command}` wrote. Remove it or name another. Nothing was changed."
            )
    wrote = {path: about.get("wrote")}
    if "wrote_bad_rows" in about:  # not of an earlier version
        wrote[bad_rows_beside(path)] = about["wrote_bad_rows"] or "no file"
    for there, content in wrote.items():
        killed = isinstance(before, dict) and before.get(there.name) != _inode(there)
        if there.exists() and isinstance(content, str) and not killed and not is_still(there, content):
            raise ValueError(
                f"{setting} is {path}, and {there} was changed since `{command}` wrote it; expected a new file, or one "
                f"as `{command}` wrote it. Remove it or name another. Nothing was changed."
            )


@contextmanager
def claim_file(
    path: str | Path, command: str, reads: Iterable[str | Path | None] = (), *, setting: str = "output"
) -> Iterator[None]:
    """Makes a file the output of `command`: what the block writes there is its own, also after a kill.

    The block writes the file (whole, `whole_file`) and then `NAME.manifest.json`.

    Args:
        path, command, reads, setting: as in `check_file`.

    Raises:
        ValueError: as in `check_file`.
    """
    path = Path(path)
    check_file(path, command, reads, setting=setting)
    new = [place for place in path.parents if not place.exists()]
    before = _state(path)
    mark = _file_mark(path)
    left = json_object(mark)  # of a run that was killed
    try:
        with names_place_of_run(path):
            there = {file.name: _inode(file) for file in (path, bad_rows_beside(path))}
            write_json(mark, {"commands": [command], "before": left.get("before", there)})
            yield
    except BaseException:
        if _state(path) == before and not left:
            mark.unlink(missing_ok=True)
        for place in new:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise
    manifest = _manifest_of(path)
    if (about := json_object(manifest)).get("command") == command:
        bad = bad_rows_beside(path)
        listed = fingerprint(bad) if bad.exists() else None
        write_json(manifest, {**about, "wrote": fingerprint(path), "wrote_bad_rows": listed})
        mark.unlink(missing_ok=True)


def _manifest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.manifest.json")


def _inode(path: Path) -> int | None:
    """What a file that is put in another one's place does not share with it."""
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return None


def _state(path: Path) -> tuple[int, int] | None:
    """What tells a file from one that was put in its place."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _file_mark(path: Path) -> Path:
    return path.with_name(f".{path.name}{MARK}")
