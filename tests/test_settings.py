"""What settings a program has, without starting it; the help that it prints; other spellings of a name."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support import ROOT

from rlaif.settings.declared import REFUSED, Around, declared, settings_of_class
from rlaif.settings.library import HEADINGS, INDEX, KEPT, index, library_settings, ordered
from rlaif.settings.programs import program_module

TRAINING = [
    *("recipes/sft.py", "recipes/dpo.py", "recipes/ppo.py", "recipes/best_of_n.py"),
    "reward_models/bradley_terry.py",
]
COMMANDS = [f"rlaif {name}" for name in ("sandbox", "sample", "judge", "build", "convert", "evaluate", "publish")]
SCRIPTS = [
    "reward_models/score.py",
    *(f"scripts/{name}.py" for name in ("compare_ppo", "compare_roles", "measure_publish", "benchmark", "ablate")),
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
