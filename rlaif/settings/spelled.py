"""Names of settings as people spell them: with dashes, under another name of the same thing, misspelt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlaif.errors.lines import UsageError
from rlaif.errors.words import did_you_mean, nearest, shown
from rlaif.settings.declared import Setting

__all__ = ["Names"]

_NOW = {"skip_malformed": ("on_bad_row", "skip")}  # a setting of an earlier version, and what says the same
# What people type for a setting that is called otherwise here, and for which difflib finds nothing or another one.
_MEANT = {
    "lr": ("learning_rate",),
    "epochs": ("num_train_epochs",),
    "batch_size": ("per_device_train_batch_size", "batch_tokens"),
    "train_batch_size": ("per_device_train_batch_size",),
    "eval_batch_size": ("per_device_eval_batch_size",),
    "grad_accum": ("gradient_accumulation_steps",),
    "resume": ("resume_from_checkpoint",),
    "quantize": ("load_in_4bit",),
    "peft": ("lora",),
    "max_new_tokens": ("max_length",),
    "max_completion_length": ("max_length",),
    "split": ("train_split", "test_split", "prompts_split"),
}


class Names:
    """The names that a program understands: its settings', and other spellings of them.

    A spelling that is itself the name of another setting of the program means that one; one that two settings would
    have means neither.
    """

    def __init__(self, settings: Mapping[str, Setting], program: str = "this program") -> None:
        self.settings = settings
        self.program = program
        self._fields = {name: name for name in settings}
        spellings = [(other, s.name) for s in settings.values() for other in s.spellings if other not in settings]
        meant = {other: {name for o, name in spellings if o == other} for other, _ in spellings}
        self._fields |= {other: min(names) for other, names in meant.items() if len(names) == 1}

    def field_of(self, name: str) -> str | None:
        """The field that a name means, dashes and all; None where it means none."""
        return self._fields.get(name.replace("-", "_"))

    def unknown(self, name: str) -> str:
        """What an error says of a name that means nothing here."""
        name = name.replace("-", "_")
        if _NOW.get(name, ("",))[0] in self.settings:
            return f"{name!r} is not a setting any more; expected --{' '.join(_NOW[name])}."
        known = [setting.shown or setting.name for setting in self.settings.values()]
        likely = [other for other in _MEANT.get(name, ()) if other in self.settings]
        for near in [] if likely else nearest(name, [*known, *self._fields, "config"]):
            setting = self.settings.get(self._fields.get(near, ""))
            likely.append(near if setting is None else setting.spellings[0])
        hint = did_you_mean(name, known, likely=list(dict.fromkeys(likely)), known_as="known are")
        return f"{name!r} is not a setting of {self.program}; {hint}"

    def of_mapping(self, values: Mapping[Any, Any], where: str = "") -> dict[str, Any]:
        """Values by field.

        Raises:
            UsageError: a name means no setting, or two mean one and have different values.
        """
        found: dict[str, Any] = {}
        first: dict[str, str] = {}
        for name, value in values.items():
            field = self.field_of(str(name))
            if field is None:
                raise UsageError(f"{where}{self.unknown(str(name))}")
            if field in found and found[field] != value:
                raise UsageError(where + _twice(first[field], shown(found[field]), str(name), shown(value)))
            found.setdefault(field, value)
            first.setdefault(field, str(name))
        return found

    def of_words(self, words: Sequence[str]) -> list[str]:
        """A command line with each option under its field's name: `--max-new-tokens 5` as `--max_completion_length 5`.

        Raises:
            UsageError: an option means no setting, or two mean one and have different values.
        """
        found: list[str] = []
        given: dict[str, tuple[str, list[str]]] = {}
        for option, values, joined in _options(words):
            if option is None:
                found += values
                continue
            name = option.replace("-", "_")
            field = self.field_of(name)
            negated = name.removeprefix("no_") if field is None and name.startswith("no_") else ""
            if negated and (setting := self.settings.get(self.field_of(negated) or "")) and setting.default is True:
                found += [f"--no_{setting.name}", *values]
                continue
            if field is None:
                raise UsageError(self.unknown(option))
            its = values or (["true"] if self.settings[field].kind == "bool" else [])  # `--name` alone
            before, earlier = given.setdefault(field, (name, its))
            if before != name and not self._same(field, earlier, its):
                raise UsageError(_twice(before, " ".join(earlier), name, " ".join(its)))
            given[field] = name, its
            found += [f"--{field}={values[0]}", *values[1:]] if joined else [f"--{field}", *values]
        return found

    def _same(self, field: str, one: list[str], other: list[str]) -> bool:
        if self.settings[field].kind == "bool":
            one, other = ([_TRUTH.get(word.lower(), word.lower()) for word in words] for words in (one, other))
        return one == other


_TRUTH = {**dict.fromkeys(("yes", "t", "y", "1"), "true"), **dict.fromkeys(("no", "f", "n", "0"), "false")}


def _twice(one: str, value: str, other: str, its: str) -> str:
    return f"{one} is {value} and {other} {its}, which are two names of one setting; expected one of them."


def _options(words: Iterable[str]) -> list[tuple[str | None, list[str], bool]]:
    """A command line as options with what follows each; None for what precedes the first. True: joined by "="."""
    found: list[tuple[str | None, list[str], bool]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            option, joined, value = word[2:].partition("=")
            found.append((option, [value] if joined else [], bool(joined)))
        elif found:
            found[-1][1].append(word)
        else:
            found.append((None, [word], False))
    return found
