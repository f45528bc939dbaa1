"""Names of modules that scripts and model cards of earlier versions import."""

from __future__ import annotations

import importlib
import sys

import pytest

from rlaif.moved import MOVED


@pytest.mark.parametrize("name", MOVED)
def test_a_module_is_found_under_its_earlier_name(name: str) -> None:
    for known in [module for module in sys.modules if module == name]:
        del sys.modules[known]
    with pytest.warns(DeprecationWarning, match=rf"{name} is {MOVED[name]} now"):
        found = importlib.import_module(name)
    assert found is importlib.import_module(MOVED[name])
    assert found.__spec__ is not None
    assert found.__spec__.name == MOVED[name]


def test_what_never_was_is_still_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"rlaif\.renderings"):
        importlib.import_module("rlaif.renderings")
