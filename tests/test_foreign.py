"""Reward models that were trained elsewhere score as their own model cards do it, or are refused in a line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import byte_tokenizer, rows_of, save_model, tiny_llama, word_tokenizer, write_rows
from support.bad import run_here
from support.models import OF_BYTES, tiny, tiny_reward_model
from support.programs import ROOT

from rlaif.judging.rewards import check_rewards
from rlaif.judging.unscorable import say_of_models
from rlaif.models.loading import load_tokenizer
from rlaif.models.reward_model import RewardModel, RewardModelCard

CHAT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Two and two?"}]
PROMPTS = ["What is two and two?", CHAT, "Say something long.", "Hi"]
RESPONSES = ["Four.", "It is 4, I think", "Something " * 30, "Hello </s> there"]


def messages(prompt: Any, response: str) -> list[dict[str, str]]:
    start = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [*start, {"role": "assistant", "content": response}]


def decoder(folder: Path, *, pad: int | None, kind: str = "Llama", labels: int = 1, **config: Any) -> Path:
    """A reward model as others publish them: config, weights and tokenizer, with a chat template."""
    settings = {**OF_BYTES, "max_position_embeddings": 1024, "num_labels": labels, "pad_token_id": pad, **config}
    model = tiny(f"{kind}ForSequenceClassification", 3, **settings)
    torch.nn.init.normal_(model.score.weight)
    return save_model(folder, model, byte_tokenizer(chat=True))


def by_hand(folder: Path) -> list[float]:
    """The scores as a model card computes them: one conversation at a time, in the tokenizer's chat template."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    scores = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        text = tokenizer.apply_chat_template(messages(prompt, response), tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            scores.append(float(model(ids).logits[0][0]))
    return scores


@pytest.mark.parametrize("pad", [None, 256, 258])
@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_a_decoder_scores_in_its_own_chat_template_whatever_its_padding(
    kind: str, pad: int | None, tmp_path: Path
) -> None:
    folder = decoder(tmp_path / "rm", pad=pad, kind=kind)
    model = RewardModel.load(folder)
    scores, expected = model.score(PROMPTS, RESPONSES), by_hand(folder)
    np.testing.assert_allclose(scores[:3], expected[:3], atol=2e-5)
    assert abs(scores[3] - expected[3]) > 1e-3  # the spelling of a control token is text here
    assert model.assumed == "its own chat template (it has no rlaif.json)"
    assert (model.zero, model.card.max_length, model.card.temperature) == (0.0, 1024, None)


def test_its_precision_is_the_stored_one(tmp_path: Path) -> None:
    folder = decoder(tmp_path / "rm", pad=256)
    from transformers import AutoModelForSequenceClassification

    AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    assert RewardModel.load(folder).model.dtype is torch.bfloat16
    assert RewardModel.load(folder, dtype="float32").model.dtype is torch.float32


def encoder(folder: Path, kind: str) -> Path:
    """An encoder with one label, as OpenAssistant's DeBERTa is; DeBERTa's EOS is its SEP."""
    import transformers

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *["what", "is", "two", "and", "four", "it", "I", "think", "yes", "no", "?", "."],
    ]
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    if kind == "DebertaV2":
        special |= {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    tokenizer = word_tokenizer(False, words, model_max_length=32, **special)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_labels=1,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    torch.nn.init.normal_(getattr(model.classifier, "out_proj", model.classifier).weight)
    return save_model(folder, model, tokenizer)


@pytest.mark.parametrize("kind", ["Bert", "DebertaV2"])
def test_an_encoder_reads_the_pair(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = encoder(tmp_path / "rm", kind)
    prompts, responses = ["what is two and two ?", "is it ?", "what ?"], ["it is four .", "yes", "I think yes " * 30]
    model = RewardModel.load(folder)
    scores = model.score(prompts, responses)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = [
            float(plain(**tokenizer(p, r, return_tensors="pt")).logits[0])
            for p, r in zip(prompts[:2], responses[:2], strict=True)
        ]
    np.testing.assert_allclose(scores[:2], expected, atol=1e-5)
    assert math.isnan(scores[2])
    assert (model.unscored, model.card.max_length) == (1, 32)
    assert model.assumed is not None
    assert model.assumed.startswith("a pair of prompt and response")


def test_an_encoder_whose_positions_begin_behind_its_padding_reads_all_that_it_has(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "rm", "Roberta")
    edited(folder, pad_token_id=1)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model = RewardModel.load(folder)
    assert model.card.max_length == 62  # of 64 positions
    scores = model.score(["what"] * 2, ["yes " * 58, "yes " * 59])
    assert list(np.isnan(scores)) == [False, True]


def edited(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def without_template(folder: Path) -> Path:
    (folder / "chat_template.jinja").unlink()
    return folder


def custom(folder: Path) -> Path:
    """ArmoRM's kind: attributes as labels, and a class of its own that turns them into one number."""
    auto = {"AutoModelForSequenceClassification": "gated.LlamaForRewardModelWithGating"}
    (folder / "gated.py").write_text("raise SystemExit('this must not run')\n")
    return edited(folder, architectures=["LlamaForRewardModelWithGating"], auto_map=auto)


REFUSED = {
    "two labels": (lambda f: decoder(f, pad=256, labels=2), r"is a LlamaForSequenceClassification with 2 labels"),
    "five attributes": (
        lambda f: decoder(f, pad=256, labels=5, problem_type="regression"),
        r"with 5 labels, of which none is the reward; expected .* with one label",
    ),
    "attributes and a gate": (
        lambda f: custom(decoder(f, pad=256, labels=19)),
        r"is a LlamaForRewardModelWithGating with 19 labels",
    ),
    "one label and code of its own": (
        lambda f: custom(decoder(f, pad=256)),
        r"needs code of its own repository .*--trust_remote_code true",
    ),
    "a class that nobody has": (
        lambda f: edited(decoder(f, pad=256), architectures=["LlamaForRewardModel"]),
        r"is a LlamaForRewardModel with 1 label, which transformers does not know",
    ),
    "a classifier of tokens": (
        lambda f: edited(decoder(f, pad=256), architectures=["LlamaForTokenClassification"]),
        r"is a LlamaForTokenClassification, which labels each token and gives no score to the whole; expected what",
    ),
    "a classifier of images": (
        lambda f: edited(decoder(f, pad=256), architectures=["ViTForImageClassification"]),
        r"is a ViTForImageClassification, which labels images; expected what",
    ),
    "a language model": (
        lambda f: save_model(f, tiny_llama(), byte_tokenizer(chat=True)),
        r"has no rlaif\.json and is a LlamaForCausalLM, which gives no score; expected what .*bradley_terry",
    ),
    "no chat template": (
        lambda f: without_template(decoder(f, pad=256)),
        r"has no rlaif\.json, so the format .* is unknown, and the tokenizer has no chat template",
    ),
    "no configuration": (
        lambda f: [decoder(f, pad=256), (f / "config.json").unlink()],
        r"has no rlaif\.json and no config\.json",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_single_score_is_one_line(name: str, tmp_path: Path) -> None:
    make, line = REFUSED[name]
    make(tmp_path / "rm")
    for load in (RewardModelCard.read, RewardModel.load, lambda path: check_rewards([f"reward_model={path}"])):
        with pytest.raises(ValueError, match=line):
            load(tmp_path / "rm")


def test_the_report_says_that_the_rendering_is_assumed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = decoder(tmp_path / "rm", pad=256)
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "p", "response": "r"}, {"prompt": "p", "response": "s"}])
    program = str(ROOT / "reward_models" / "score.py")
    words = ["--reward_model", "rm", "--input", "rows.jsonl", "--output", "scored.jsonl"]
    assert run_here([program, *words], tmp_path) == 0
    said = capfd.readouterr()
    assert "the rendering is assumed to be its own chat template (it has no rlaif.json)" in said.out + said.err
    scores = RewardModel.load(folder).score(["p", "p"], ["r", "s"])
    np.testing.assert_allclose([row["reward"] for row in rows_of(tmp_path / "scored.jsonl")], scores, atol=1e-6)
    own = tiny_reward_model(tmp_path / "own")
    line = f"a: the rendering is assumed to be {RewardModel.load(folder).assumed}"
    assert say_of_models({"a": str(folder), "own": str(own)}, ["p"], response_tokens=4) == [line]
    assert capfd.readouterr().err == f"warning: {line}\n"
    assert "assumed" not in json.loads((own / "rlaif.json").read_text())


# A card ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"zero": math.nan}, r"rlaif\.json has the zero nan; expected a finite number or null"),
        ({"zero": "0"}, r"has the zero '0'; expected a finite number"),
        ({"temperature": math.inf}, r"has the temperature inf; expected a finite number above 0 or null"),
        ({"temperature": 0.0}, r"has the temperature 0\.0"),
        ({"temperature": -1.0}, r"has the temperature -1\.0"),
        ({"max_length": 0}, r"has the max_length 0; expected a whole number above 0"),
        ({"max_length": math.nan}, r"has the max_length nan"),
        ({"rendering": "chat"}, r"has the rendering 'chat'; expected a mapping"),
        ({"rendering": {}}, r"has the rendering \{\}; expected a mapping with kind, template_hash, tokenizer_hash and"),
        ({"dtype": "float8"}, r"has the dtype 'float8'; expected float32, bfloat16 or float16"),
        ({"load_in_4bit": "x"}, r"has the load_in_4bit 'x'; expected true or false"),
        ({"base_model": 3}, r"has the base_model 3; expected a folder or a Hub id"),
        ({"training_data": None}, r"has the training_data null; expected a mapping"),
    ],
)
def test_a_card_whose_numbers_are_none_is_one_line(values: dict[str, Any], line: str, tmp_path: Path) -> None:
    folder = tiny_reward_model(tmp_path / "rm")
    row = json.loads((folder / "rlaif.json").read_text())
    (folder / "rlaif.json").write_text(json.dumps({**row, **values}))
    with pytest.raises(ValueError, match=line):
        RewardModel.load(folder)


# Scored once ----------------------------------------------------------------------------------------------------------


def test_a_response_that_is_there_many_times_is_scored_once(tmp_path: Path) -> None:
    model = RewardModel.load(tiny_reward_model(tmp_path / "rm"))
    forward, seen = model.model.forward, []

    def counted(input_ids: Any, **kwargs: Any) -> Any:
        seen.append(len(input_ids))
        return forward(input_ids=input_ids, **kwargs)

    model.model.forward = counted
    prompts = [f"Question {i % 4}?" for i in range(200)]
    responses = [f"Answer {i % 3}." for i in range(200)]
    scores = model.score(prompts, responses)
    assert sum(seen) == model.distinct == 12
    assert model.unscored == 0
    assert len(set(zip(prompts, responses, scores, strict=True))) == 12
    alone = model.score(prompts[:12], responses[:12])
    np.testing.assert_array_equal(scores[:12], alone)
    long = model.score(["a", *prompts, "a"], ["long " * 500, *responses, "long " * 500])
    assert model.unscored == 2
    assert np.isnan(long[[0, -1]]).all()
    np.testing.assert_array_equal(long[1:-1], scores)


def test_a_pair_in_many_rows_costs_two_scores(tmp_path: Path) -> None:
    model = RewardModel.load(tiny_reward_model(tmp_path / "rm"))
    model.probabilities(["p"] * 50, ["a"] * 50, ["b"] * 50)
    assert model.distinct == 2


def test_a_tokenizer_is_read_once_for_its_rendering(tmp_path: Path) -> None:
    folder = decoder(tmp_path / "rm", pad=256)
    card = RewardModelCard.read(folder)
    assert card.reader(folder)[1].row() == card.rendering
    assert load_tokenizer(folder).chat_template


@pytest.mark.parametrize("kind", ["FNet", "XLNet"])
def test_a_score_does_not_depend_on_who_shares_the_batch(kind: str, tmp_path: Path) -> None:
    """Of models that take no mask of the padding, or read their score at the end of it."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}
    if kind == "XLNet":
        shape = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"]
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = AutoConfig.for_model(
        kind.lower(), vocab_size=len(words), num_labels=1, pad_token_id=0, initializer_range=0.5, **shape
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    folder = save_model(tmp_path / "model", model, word_tokenizer(words=words, **special))
    reward_model = RewardModel.load(folder)
    prompts, responses = ["a", "a b", "c", "b"], ["b", "c d " * 9, "d", "a"]
    alone = [float(reward_model.score([p], [r])[0]) for p, r in zip(prompts, responses, strict=True)]
    assert reward_model.score(prompts, responses) == pytest.approx(alone, abs=1e-5)
