"""The environment of every test, and the fixtures that several files share."""

from __future__ import annotations

import gc
import os
import signal

# The workers and the hundreds of programs that tests start read the package compiled, as where it is installed.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Before anything imports torch or a Hugging Face library.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
os.environ.pop("OPENAI_BASE_URL", None)

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import Server, byte_tokenizer, save_model, tiny_llama
from support.hub import Hub
from support.world import make_world

from rlaif import secrets

# A job in the background may have been told to ignore interrupts, and what it starts with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("rlaif", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rlaif")


@pytest.fixture(autouse=True)
def secrets_are_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test's settings hold that may be a key is hidden in that test alone, not in those that come after it."""
    monkeypatch.setattr(secrets, "_kept", set(secrets._kept))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is alive once the tests are collected is never garbage: no collection looks through it.

    The libraries look for garbage after each training; in this heap that would be half a second each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# The files that take longest, in that order (seconds: `pytest --durations 0`). One that began last would run alone.
LONGEST = (
    *("ablate", "ppo_recipe", "bad_starts", "recipes", "publish_models", "ppo_trainer", "parallel_training", "methods"),
    *("finite", "ppo_roles", "judge", "evaluate", "bad_inputs", "publish", "store", "best_of_n", "many_faults", "face"),
    *("saving", "sample", "push", "rewards", "resumed", "errors", "reward_model", "training", "sandbox", "templates"),
    "starts",
)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist would begin with the files of most tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    assert not [name for name in places if not Path(__file__).with_name(f"{name}.py").is_file()]
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama with a chat template."""
    return save_model(tmp_path_factory.mktemp("models") / "chat", tiny_llama(), byte_tokenizer(chat=True))


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama without a chat template."""
    return save_model(tmp_path_factory.mktemp("models") / "plain", tiny_llama(seed=1), byte_tokenizer(chat=False))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of inputs that are right: rows, judgments, a dataset, a policy, a reward model (`support.world`)."""
    return make_world(tmp_path_factory.mktemp("world"))
