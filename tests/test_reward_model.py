"""A reward model must score, wherever it is loaded, what it scored when it was saved."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from support import rlaif_env, word_tokenizer
from support.hub import Hub
from support.models import CAUSAL, ENCODER, SCORING, tiny
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from rlaif.models.loading import load_causal_lm, load_tokenizer, whole
from rlaif.models.rendering import Rendering
from rlaif.models.reward_model import METADATA, RewardModel, RewardModelCard

WORDS = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "[CLS]",
    "[SEP]",
    *["a", "b", "c", "d", "good", "bad", "which", "one", "?", "."],
]
PROMPTS = ["which one ?", "a b", "c", "a b c d"]
RESPONSES = ["good", "bad bad bad .", "a good d c b a", "d"]


def save_tokenizer(folder, **special):
    word_tokenizer(False, WORDS, unk_token="<unk>", **special).save_pretrained(folder)


def save_card(folder, **changes):
    rendering = Rendering.of(load_tokenizer(folder)).row()
    card = RewardModelCard(rendering=rendering, max_length=64, base_model="tiny")
    RewardModelCard(**{**card.__dict__, **changes}).write(folder)


@pytest.fixture
def decoder(tmp_path):
    """A random Llama reward model whose padding token differs from its EOS."""
    save_tokenizer(tmp_path, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    model = tiny(SCORING, vocab_size=len(WORDS), num_hidden_layers=2, num_labels=1, **special)
    torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(tmp_path)
    save_card(tmp_path, zero=0.25)
    return tmp_path


@pytest.fixture
def encoder(tmp_path):
    """A random BERT reward model; its tokenizer has no EOS."""
    save_tokenizer(tmp_path, pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]")
    model = tiny(ENCODER, vocab_size=len(WORDS), num_hidden_layers=2, num_labels=1)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(tmp_path)
    save_card(tmp_path)
    return tmp_path


def test_decoder_scores_are_those_of_the_plain_checkpoint(decoder):
    """By hand: prompt and response apart, an EOS at the end, the head's output at that EOS, nothing padded."""
    plain = AutoModelForSequenceClassification.from_pretrained(decoder).eval()
    expected = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = [WORDS.index(word) for word in [*prompt.split(), *response.split(), "</s>"]]
        with torch.no_grad():
            hidden = plain.model(torch.tensor([ids])).last_hidden_state[0, -1]
            expected.append(float(plain.score(hidden)))
    model = RewardModel.load(decoder)
    np.testing.assert_allclose(model.score(PROMPTS, RESPONSES), expected, atol=1e-5)
    assert model.zero == 0.25
    assert model.unscored == 0


def test_encoder_scores_are_those_of_the_plain_checkpoint(encoder):
    plain = BertForSequenceClassification.from_pretrained(encoder).eval()
    expected = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        first, second = ["[CLS]", *prompt.split(), "[SEP]"], [*response.split(), "[SEP]"]
        ids = [WORDS.index(word) for word in first + second]
        segments = [0] * len(first) + [1] * len(second)
        with torch.no_grad():
            expected.append(float(plain(torch.tensor([ids]), token_type_ids=torch.tensor([segments])).logits))
    np.testing.assert_allclose(RewardModel.load(encoder).score(PROMPTS, RESPONSES), expected, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 24, 16384])
def test_scores_keep_their_order_whatever_the_batches(decoder, tokens):
    whole = RewardModel.load(decoder).score(PROMPTS, RESPONSES)
    np.testing.assert_allclose(RewardModel.load(decoder).score(PROMPTS, RESPONSES, tokens=tokens), whole, atol=1e-5)


def test_scoring_twice_gives_equal_bits(decoder):
    one, two = RewardModel.load(decoder), RewardModel.load(decoder)
    np.testing.assert_array_equal(one.score(PROMPTS, RESPONSES), two.score(PROMPTS, RESPONSES))


def test_a_conversation_that_is_too_long_is_unscored_and_counted_not_cut(decoder):
    model = RewardModel.load(decoder)
    scores = model.score([*PROMPTS, "a " * 100_000], [*RESPONSES, "good"])
    assert np.isnan(scores[-1])
    assert model.unscored == 1
    np.testing.assert_allclose(scores[:-1], model.score(PROMPTS, RESPONSES), atol=1e-6)
    assert model.unscored == 0


def test_exactly_max_length_is_scored(decoder):
    save_card(decoder, max_length=5)
    model = RewardModel.load(decoder)
    scores = model.score(["a b", "a b"], ["c d", "c d c"])  # 2 + 2 + EOS; 2 + 3 + EOS
    assert not np.isnan(scores[0])
    assert np.isnan(scores[1])


def test_probabilities_are_of_the_difference_and_swap(decoder):
    save_card(decoder, temperature=2.0)
    model = RewardModel.load(decoder)
    p = model.probabilities(PROMPTS, RESPONSES, RESPONSES[::-1])
    difference = model.score(PROMPTS, RESPONSES) - model.score(PROMPTS, RESPONSES[::-1])
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-difference / 2)), atol=1e-6)
    np.testing.assert_allclose(model.probabilities(PROMPTS, RESPONSES[::-1], RESPONSES), 1 - p, atol=1e-6)


def test_out_of_memory_halves_the_batch(decoder):
    model = RewardModel.load(decoder)
    expected = model.score(PROMPTS, RESPONSES)
    forward, sizes = model.model.forward, []

    def small_memory(input_ids, **kwargs):
        sizes.append(len(input_ids))
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(input_ids=input_ids, **kwargs)

    model.model.forward = small_memory
    np.testing.assert_allclose(model.score(PROMPTS, RESPONSES), expected, atol=1e-5)
    assert sizes[0] == 4
    assert sizes.count(1) == 4


def test_without_rlaif_json_nothing_is_loaded(decoder):
    (decoder / METADATA).unlink()
    with pytest.raises(ValueError, match=r"has no rlaif\.json.*bradley_terry\.py"):
        RewardModel.load(decoder)


def test_a_path_that_is_nowhere_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="neither a folder nor a Hub model"):
        RewardModel.load("runs/no-such-reward-model")


def test_another_tokenizer_is_refused(decoder):
    save_tokenizer(decoder, pad_token="<pad>", bos_token="<s>", eos_token="[SEP]")
    with pytest.raises(ValueError, match="trained with rendering"):
        RewardModel.load(decoder)


def test_a_later_version_is_refused(decoder):
    row = json.loads((decoder / METADATA).read_text())
    (decoder / METADATA).write_text(json.dumps({**row, "version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        RewardModel.load(decoder)


def test_as_many_prompts_as_responses(decoder):
    with pytest.raises(ValueError, match="1 prompts and 2 responses"):
        RewardModel.load(decoder).score(["a"], ["b", "c"])


@pytest.mark.parametrize(
    ("prompts", "responses", "message"),
    [
        ("ab", "cd", "prompts is 'ab'; expected a list"),
        (None, ["b"], "prompts is null; expected a list"),
        (["a"], [None], "row 0: response is null; expected text"),
        (["a", "b"], ["c", "\ud83d"], "row 1: response holds half of a character"),
        ([PROMPTS[0], [{"from": "human", "value": "a"}]], ["b", "c"], r"row 1: prompt\[0\] is .*; expected a message"),
        ([[{"role": "user", "content": "a", "tool_calls": [{"id": 1}]}]], ["b"], "a message with tool_calls"),
        ([""], ["b"], "row 0: prompt is empty"),
    ],
)
def test_what_is_no_prompt_or_response_has_no_score(decoder, prompts, responses, message):
    """Tool calls are not left out, and the letters of a text are not scored one by one."""
    with pytest.raises(ValueError, match=message):
        RewardModel.load(decoder).score(prompts, responses)


def test_roles_of_other_names_are_the_users_and_the_assistants(decoder):
    model = RewardModel.load(decoder)
    said = [{"role": "Human", "content": "a"}, {"role": "gpt", "content": "b"}, {"role": "user", "content": "c"}]
    plain = [{**turn, "role": role} for turn, role in zip(said, ("user", "assistant", "user"), strict=True)]
    assert model.score([said], ["d"]) == model.score([plain], ["d"])


def test_a_score_that_is_no_number_is_an_error_and_not_unscored(decoder):
    model = RewardModel.load(decoder)
    with torch.no_grad():
        model.model.score.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="the reward model gave nan to the response 'good'; expected a finite score"):
        model.score(PROMPTS[:1], RESPONSES[:1])


def test_under_zero_3_what_no_engine_runs_is_loaded_whole():
    from transformers.integrations import deepspeed

    class Settings:
        def is_zero3(self):
            return True

    settings = Settings()
    deepspeed.set_hf_deepspeed_config(settings)
    try:
        with whole():
            assert not deepspeed.is_deepspeed_zero3_enabled()
        assert deepspeed.is_deepspeed_zero3_enabled()
    finally:
        deepspeed.unset_hf_deepspeed_config()


_LOADER = """
import json, sys
from rlaif.models.loading import load_causal_lm
from rlaif.models.reward_model import RewardModel
import torch
for kind, name, revision, prompts, responses in json.load(sys.stdin):
    if kind == "policy":
        print(json.dumps(load_causal_lm(name, revision=revision)(torch.arange(9)[None]).logits[0, -1].tolist()))
    else:
        print(json.dumps(RewardModel.load(name).score(prompts, responses).tolist()))
"""


def adapted(folder, kind, base, revision=None):
    """The folder of an adapter on `base`, a reward model's or a policy's."""
    model = tiny(kind, 7, vocab_size=len(WORDS), num_labels=1, pad_token_id=0)
    policy = kind == CAUSAL
    lora = LoraConfig(
        task_type="CAUSAL_LM" if policy else "SEQ_CLS",
        r=2,
        target_modules="all-linear",
        exclude_modules=None if policy else ["score"],
        modules_to_save=None if policy else ["score"],
        init_lora_weights=False,
        revision=revision,
    )
    model = get_peft_model(model, lora)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    save_tokenizer(folder, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    save_card(folder)
    return folder


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_adapter_from_the_hub_is_put_on_the_revision_that_it_was_trained_on(tmp_path):
    """The base model's repository has moved on since; where a revision of the adapter is asked for, so has its own."""
    jobs, expected = [], []
    with Hub() as hub:
        for kind, name in ((CAUSAL, "policy"), (SCORING, "reward")):
            base = hub.add(f"models/ada/{name}-base")
            values = []
            for seed in (0, 1):
                model = tiny(kind, seed, vocab_size=len(WORDS), num_labels=1, pad_token_id=0, initializer_range=0.3)
                model.save_pretrained(tmp_path / f"{name}{seed}")
                base.commit(files_of(tmp_path / f"{name}{seed}"))
                here = adapted(tmp_path / f"{name}-on{seed}", kind, tmp_path / f"{name}{seed}")
                if name == "policy":
                    values.append(load_causal_lm(here)(torch.arange(9)[None]).logits[0, -1].tolist())
                else:
                    values.append(RewardModel.load(here).score(PROMPTS, RESPONSES).tolist())
            assert values[0] != values[1]
            pin = base.commits[-2].oid
            pinned = adapted(tmp_path / f"{name}-pinned", kind, f"ada/{name}-base", pin)
            free = adapted(tmp_path / f"{name}-free", kind, f"ada/{name}-base")
            hub.add(f"models/ada/{name}-pinned", files_of(pinned))
            hub.add(f"models/ada/{name}-free", files_of(free))
            cases = [(pinned, None, 0), (f"ada/{name}-pinned", None, 0), (free, None, 1), (f"ada/{name}-free", None, 1)]
            if name == "policy":
                moved = hub.add("models/ada/policy-moved", files_of(pinned))
                first = moved.head.oid
                moved.commit({"adapter_config.json": b"{}"}, delete=["adapter_model.safetensors"])
                cases += [("ada/policy-moved", first, 0), (free, pin, 0)]
            for where, revision, at in cases:
                jobs.append((name, str(where), revision, PROMPTS, RESPONSES))
                expected.append(values[at])
        done = subprocess.run(
            [sys.executable, "-c", _LOADER],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            timeout=120,
            env=rlaif_env(**hub.env),
        )
    assert done.returncode == 0, done.stderr
    for job, line, values in zip(jobs, done.stdout.splitlines(), expected, strict=True):
        assert json.loads(line) == values, job
