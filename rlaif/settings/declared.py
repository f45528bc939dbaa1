"""What settings a program has, known from its dataclasses alone: nothing of it is started, and no library is loaded.

A program declares them at the top of its module:

    SETTINGS = (DataConfig, ModelConfig, DPO)

Each is a dataclass, or an `Around`: a dataclass of ours around one of TRL's, which takes seconds to import. What TRL's
holds is read from a kept index (rlaif.settings.library), so that help and a misspelt name cost no such seconds.

`@described(...)` says of a dataclass's fields under which headings help shows them, and which other names they have.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["REFUSED", "Around", "Setting", "declared", "described", "settings_of_class"]

Kind = TypeVar("Kind", bound=type)


@dataclass(frozen=True)
class Setting:
    """One setting of a program.

    Attributes:
        name: the field's.
        kind: "int", "float", "bool", "str" or "dict" (JSON on a command line).
        several: it takes one value or more.
        default: as JSON has it; None also where the help says what happens then.
        help: one sentence or more; "" where nobody has written any.
        choices: the values that it takes; () for any.
        also: other names that are understood.
        shown: the name that --help shows.
        heading: where it stands in --help.
        common: --help shows it; else only `--help all`.
        theirs: it is TRL's, as TRL has it.
    """

    name: str
    kind: str
    several: bool = False
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    shown: str = ""
    heading: str = ""
    common: bool = True
    theirs: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name of it, the shown one first."""
        return tuple(dict.fromkeys((self.shown or self.name, self.name, *self.also)))


@dataclass(frozen=True)
class Around:
    """Settings of ours around a dataclass of TRL's.

    Attributes:
        own: our dataclass, which imports nothing heavy.
        library: TRL's, "trl.DPOConfig".
        made: the class of both, "rlaif.training.trainers.SoftDPOConfig", imported when it is filled.
        heading: of our settings in --help.
        first: those of TRL's that are shown with ours.
        also: other names of any of the program's settings, (name, other) each.
    """

    own: type
    library: str
    made: str
    heading: str
    first: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()

    def make(self) -> Any:
        """The class of both."""
        module, _, name = self.made.rpartition(".")
        return getattr(importlib.import_module(module), name)


def described(
    headings: Mapping[str, str] | None = None,
    also: Mapping[str, tuple[str, ...]] | None = None,
    spelled: Mapping[str, str] | None = None,
) -> Callable[[Kind], Kind]:
    """Says of a dataclass's fields what help and command lines need beside their own help.

    Args:
        headings: {"first": "name"}: the heading from the field `first` on.
        also: {"field": ("other", ...)}: other names that are understood for it.
        spelled: {"field": "name"}: the name that help shows, where it is not the field's own.
    """

    def say(kind: Kind) -> Kind:
        kind.headings, kind.also, kind.spelled = headings or {}, also or {}, spelled or {}  # type: ignore[attr-defined]
        return kind

    return say


def declared(kinds: Sequence[Any]) -> dict[str, Setting]:
    """The settings of dataclasses and `Around`s by name, as --help orders them.

    A name that two of them have (`trust_remote_code`) is the first one's.
    """
    found: dict[str, Setting] = {}
    for kind in kinds:
        settings = _around(kind) if isinstance(kind, Around) else _own(kind)
        found = {**found, **{s.name: s for s in settings if s.name not in found}}
        for name, other in kind.also if isinstance(kind, Around) else ():
            if name in found:
                found[name] = dataclasses.replace(found[name], also=(*found[name].also, other))
    return found


def settings_of_class(kind: Any) -> list[Setting]:
    """A dataclass's settings in the order of its fields, without headings: those that it is made with."""
    hints = get_type_hints(kind)
    also, spelled = _said(kind, "also"), _said(kind, "spelled")
    settings = []
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        word, several, choices = _kind(hints[field.name])
        others = tuple(also.get(field.name, ()))
        settings.append(
            Setting(
                field.name,
                word,
                several,
                _plain(_default(field)),
                str(field.metadata.get("help", "")).replace("%%", "%"),
                tuple(map(str, field.metadata.get("choices", choices))),
                others,
                spelled.get(field.name, ""),
            )
        )
    return settings


def _own(kind: Any, otherwise: str = "settings") -> list[Setting]:
    """Of one dataclass, its own fields before those that it inherits, under its headings."""
    by_name = {setting.name: setting for setting in settings_of_class(kind)}
    found: dict[str, Setting] = {}
    for owner in kind.__mro__:
        heading = otherwise
        for name in inspect.get_annotations(owner):
            heading = vars(owner).get("headings", {}).get(name, heading)
            if name in by_name and name not in found:
                found[name] = dataclasses.replace(by_name[name], heading=heading)
    return list(found.values())


def _around(kind: Around) -> list[Setting]:
    """Ours and the first of TRL's under our heading, then TRL's under theirs, then what is refused."""
    from rlaif.settings.library import heading_of, library_settings, ordered

    theirs = {setting.name: setting for setting in library_settings(kind.library)}
    own = {setting.name: setting for setting in _own(kind.own, kind.heading)}
    hidden = {field.name for field in dataclasses.fields(kind.own) if not field.init}
    refused = _said(kind.own, "refused")
    also, spelled = _said(kind.own, "also"), _said(kind.own, "spelled")
    first, rest = [], []
    for name in dict.fromkeys(["output_dir", *own, *kind.first, *ordered(), *theirs]):
        if name in hidden or (name not in own and name not in theirs):
            continue
        given = own.get(name) or dataclasses.replace(
            theirs[name], also=tuple(also.get(name, ())), shown=spelled.get(name, ""), theirs=True
        )
        heading, common = heading_of(name)
        if name in refused:
            rest.append(dataclasses.replace(given, heading=REFUSED, common=False))
        elif name in kind.first or name == "output_dir" or (name in own and not heading):
            first.append(dataclasses.replace(given, heading=given.heading or kind.heading))
        else:
            rest.append(dataclasses.replace(given, heading=heading or kind.heading, common=bool(heading) and common))
    headed = {heading: at for at, heading in enumerate(dict.fromkeys(heading_of(name)[0] for name in ordered()))}
    return first + sorted(rest, key=lambda setting: headed.get(setting.heading, len(headed)))


REFUSED = "refused"  # the heading of settings with one possible value


def _said(kind: Any, name: str) -> dict[str, Any]:
    """A class variable that is a mapping, what subclasses say of it over what their bases do."""
    said: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        said |= vars(owner).get(name, {})
    return said


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    factory: Callable[[], Any] | Any = field.default_factory
    return None if factory is dataclasses.MISSING else factory()


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _kind(hint: Any) -> tuple[str, bool, tuple[Any, ...]]:
    """Of a type hint: the kind of a value, whether a command line takes several, the choices that it names."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    parts = tuple(part for part in parts if part is not types.NoneType)
    for part in parts:
        if isinstance(part, type) and issubclass(part, Enum):
            return "str", False, tuple(choice.value for choice in part)
    if len(parts) == 1 and get_origin(parts[0]) is Literal:
        return "str", False, get_args(parts[0])
    if any((get_origin(part) or part) is dict for part in parts):
        return "dict", False, ()
    if len(parts) == 1 and (get_origin(parts[0]) or parts[0]) is list:
        return _kind(get_args(parts[0])[0])[0], True, ()
    plain = [part.__name__ for part in parts if part in (bool, int, float, str)]
    return (plain[0] if plain else "str"), False, ()
