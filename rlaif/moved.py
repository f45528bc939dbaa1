"""Modules under the names that they had before the package got its rooms: `import rlaif.rendering` still works.

Scripts and model cards of earlier versions name them. Each such import gives the module that stands in its place, with
a DeprecationWarning that says where that is.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "watch_imports"]

MOVED = {
    "rlaif.batching": "rlaif.models.batching",
    "rlaif.endpoint": "rlaif.models.endpoint",
    "rlaif.evaluate": "rlaif.commands.evaluate",
    "rlaif.language_models": "rlaif.models.loading",
    "rlaif.parallel": "rlaif.models.parallel",
    "rlaif.preferences": "rlaif.files.preferences",
    "rlaif.rendering": "rlaif.models.rendering",
    "rlaif.reward_model": "rlaif.models.reward_model",
    "rlaif.runs": "rlaif.files.runs",
    "rlaif.shards": "rlaif.files.shards",
    "rlaif.sources": "rlaif.files.sources",
}


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, _Loader()) if name in MOVED else None


class _Loader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        warnings.warn(f"{name} is {MOVED[name]} now; import it from there.", DeprecationWarning, stacklevel=2)
        sys.modules[name] = importlib.import_module(MOVED[name])


def watch_imports() -> None:
    """Looks a module up here once nothing else finds it; a second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
