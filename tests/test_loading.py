"""What is loaded is whole: its files, its weights, its tokenizer, its adapter; and no code runs that nobody allowed."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import byte_tokenizer, save_model, tiny_llama, write_rows
from support.bad import run_here
from support.models import tiny_reward_model

from rlaif.files.manifest import write_manifest
from rlaif.models.adapters import adapter_config, put_adapter
from rlaif.models.loading import load_causal_lm, load_tokenizer, model_fingerprint
from rlaif.models.reward_model import RewardModel
from rlaif.training.models import ModelConfig, load_policy, load_reward_backbone, modules_of

MLP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def model(chat_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny policy, to be spoiled."""
    return shutil.copytree(chat_model, tmp_path / "model")


def weights(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "model.safetensors") -> None:
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name, {"format": "pt"})


def config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def policy(folder: Path, **settings: Any) -> Any:
    return load_policy(ModelConfig(model=str(folder), **settings), load_tokenizer(folder))


# Files ----------------------------------------------------------------------------------------------------------------


def sharded(folder: Path) -> dict[str, str]:
    tiny_llama().save_pretrained(folder, max_shard_size="50KB")
    (folder / "model.safetensors").unlink()
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return dict(index["weight_map"])


def pickled(folder: Path) -> Path:
    """The weights as older models have them."""
    file = folder / "pytorch_model.bin"
    if not file.exists():
        torch.save(load_file(folder / "model.safetensors"), file)
        (folder / "model.safetensors").unlink()
    return file


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b""), r"model\.safetensors has 0 bytes and is cut short"),
        (lambda f: (f / "model.safetensors").write_bytes(b"not weights at all"), r"model\.safetensors has 18 bytes"),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-7]),
            r"model\.safetensors is cut short: it has \d+ bytes, expected \d+; copy or download it again",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes() + b"more"),
            r"model\.safetensors is no whole safetensors file",
        ),
        (
            lambda f: (f / sorted(sharded(f).values())[1]).unlink(),
            r"model\.safetensors\.index\.json names model-0000\d-of-\d+\.safetensors, which is not there",
        ),
        (lambda f: pickled(f).write_bytes(b""), r"pytorch_model\.bin is empty or cut short"),
        (lambda f: pickled(f).write_bytes(pickled(f).read_bytes()[:-99]), r"pytorch_model\.bin is empty or cut short"),
        (
            lambda f: [sharded(f), (f / "model.safetensors.index.json").write_text("{}")],
            r"index\.json is no index of weights",
        ),
    ],
)
def test_a_file_of_weights_that_is_not_whole_is_named(spoil: Callable[[Path], object], line: str, model: Path) -> None:
    spoil(model)
    with pytest.raises(ValueError, match=line):
        load_causal_lm(model)


def test_pickles_that_are_whole_load(model: Path) -> None:
    before = load_causal_lm(model).state_dict()
    pickled(model)
    after = load_causal_lm(model).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_shards_that_are_whole_load(model: Path) -> None:
    assert len(set(sharded(model).values())) > 2
    load_causal_lm(model)


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_causal_lm, policy])
@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            lambda f: weights(f, lambda t: t.pop(MLP)),
            rf"has no {MLP}, which a LlamaForCausalLM needs: it would be random",
        ),
        (lambda f: weights(f, lambda t: t.pop("lm_head.weight")), r"has no lm_head\.weight"),
        (lambda f: weights(f, dict.clear), r"has no lm_head\.weight, model\.embed\S+, \S+ and 18 more"),
        (lambda f: config(f, num_hidden_layers=1), r"holds model\.layers\.1\.\S+, .* and 6 more, for which the model"),
        (lambda f: config(f, num_hidden_layers=3), r"has no model\.layers\.2\.\S+, .* and 6 more"),
        (lambda f: config(f, intermediate_size=48), r"is 32 x 64, but its config\.json makes it 32 x 48"),
        (
            lambda f: weights(f, lambda t: t.update({MLP.replace("weight", "bias"): torch.zeros(64)})),
            r"holds model\.layers\.1\.mlp\.up_proj\.bias, for which",
        ),
        (
            lambda f: weights(f, lambda t: t.update({MLP.replace(".weight", ".lora_A.weight"): torch.zeros(2, 32)})),
            r"holds \S+lora_A\.weight, for which",
        ),
        (lambda f: weights(f, lambda t: t[MLP].view(-1)[5].fill_(torch.nan)), rf"{MLP} in .* NaN or infinite"),
        (lambda f: weights(f, lambda t: t[MLP].view(-1)[5].fill_(-torch.inf)), rf"{MLP} in .* NaN or infinite"),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_named(
    spoil: Callable[[Path], object], line: str, load: Callable[[Path], Any], model: Path
) -> None:
    spoil(model)
    with pytest.raises(ValueError, match=line):
        load(model)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.layers.1.self_attn.masked_bias",
        "v_head.summary.weight",
        "value_head.bias",
        "vision_tower.layers.0.fc.weight",
        "mtp.layers.0.fc.weight",
    ],
)
def test_what_belongs_to_another_module_is_no_fault(name: str, model: Path) -> None:
    before = load_causal_lm(model).state_dict()
    weights(model, lambda t: t.update({name: torch.ones(4)}))
    after = load_causal_lm(model).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_layers_that_predict_further_tokens_are_no_fault(model: Path) -> None:
    weights(model, lambda t: t.update({"model.layers.2.enorm.weight": torch.ones(32)}))
    with pytest.raises(ValueError, match=r"holds model\.layers\.2\.enorm\.weight"):
        load_causal_lm(model)
    config(model, num_nextn_predict_layers=1)
    load_causal_lm(model)


def test_tied_weights_are_not_missing(model: Path) -> None:
    weights(model, lambda t: t.pop("lm_head.weight"))
    config(model, tie_word_embeddings=True)
    loaded = load_causal_lm(model)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_a_new_head_is_named_and_nothing_else_may_be_new(model: Path) -> None:
    start = ModelConfig(model=str(model))
    backbone, new = load_reward_backbone(start, load_tokenizer(model))
    assert new == ["score.weight"]
    assert modules_of(new) == ["score"]
    backbone.save_pretrained(model)
    assert load_reward_backbone(start, load_tokenizer(model))[1] == []
    weights(model, lambda t: t.pop(MLP))
    with pytest.raises(ValueError, match=rf"has no {MLP}, which a LlamaForSequenceClassification needs"):
        load_reward_backbone(start, load_tokenizer(model))


def test_a_classifier_of_three_labels_is_no_backbone(model: Path) -> None:
    from transformers import LlamaForSequenceClassification

    config(model, num_labels=3)
    LlamaForSequenceClassification.from_pretrained(model, num_labels=3).save_pretrained(model)
    with pytest.raises(
        ValueError, match=r"score\.weight in .* is 3 x 32, but its config\.json makes it 1 x 32.*labels"
    ):
        load_reward_backbone(ModelConfig(model=str(model)), load_tokenizer(model))


@pytest.mark.parametrize("tied", [False, True])
def test_a_reward_model_is_no_policy(tied: bool, tmp_path: Path) -> None:
    folder = tiny_reward_model(tmp_path / "reward")
    config(folder, tie_word_embeddings=tied)
    with pytest.raises(ValueError, match=r"is a LlamaForSequenceClassification|has no lm_head\.weight"):
        load_causal_lm(folder)


# Adapters -------------------------------------------------------------------------------------------------------------


def adapter(folder: Path, base: Path, kind: str = "CAUSAL_LM", **settings: Any) -> Path:
    """The folder of a LoRA adapter on `base`, with a tokenizer; of a reward model with its head and card."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    reward = kind == "SEQ_CLS"
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    torch.manual_seed(5)
    loaded = auto.from_pretrained(base, **({"num_labels": 1} if reward else {}))
    lora = LoraConfig(
        task_type=kind,
        r=2,
        init_lora_weights=False,
        modules_to_save=["score"] if reward else None,
        **{"target_modules": ["up_proj", "q_proj"], **settings},
    )
    tuned = get_peft_model(loaded, lora)
    tuned.save_pretrained(folder)
    tokenizer = load_tokenizer(base)
    tokenizer.save_pretrained(folder)
    if reward:
        from rlaif.models.rendering import Rendering
        from rlaif.models.reward_model import RewardModelCard

        RewardModelCard(rendering=Rendering.of(tokenizer).row(), max_length=256, base_model=str(base)).write(folder)
    return folder


ADAPTER = "adapter_model.safetensors"
UP = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"


def edit_adapter(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_model_that_reads_padding_is_no_judge_and_no_policy(tmp_path: Path) -> None:
    """What it says of a text depends on who shares the batch."""
    from transformers import RwkvConfig, RwkvForCausalLM

    shape = {"hidden_size": 16, "attention_hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    model = RwkvForCausalLM(RwkvConfig(vocab_size=259, context_length=64, **shape))
    folder = save_model(tmp_path / "m", model, byte_tokenizer(chat=True))
    for load in (load_causal_lm, policy):
        with pytest.raises(ValueError, match="is a rwkv model, which reads the padding of a batch"):
            load(folder)


def test_an_adapter_that_fits_loads_alike_everywhere(chat_model: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter", chat_model)
    ids = torch.arange(40)[None]
    loaded = [load_causal_lm(folder), policy(folder, lora=True), policy(folder)]
    first, second, merged = (one.eval()(ids).logits for one in loaded)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, merged, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(first, load_causal_lm(chat_model)(ids).logits, atol=1e-2)


@pytest.mark.parametrize("load", [load_causal_lm, lambda f: policy(f, lora=True), policy])
@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            lambda f: weights(f, lambda t: t.pop(UP), ADAPTER),
            r"has no \S*layers\.0\.mlp\.up_proj\.lora_A\S*, which its",
        ),
        (
            lambda f: weights(f, lambda t: t.update({UP.replace("up_", "down_"): torch.zeros(2, 64)}), ADAPTER),
            r"holds \S*layers\.0\.mlp\.down_proj\.lora_A\S*, for which the base model with this adapter has no place",
        ),
        (lambda f: edit_adapter(f, r=4), r"the adapter .* (does not fit|could not be put on) its base model"),
        (lambda f: edit_adapter(f, target_modules=["query"]), r"could not be put on its base model .*query"),
        (lambda f: (f / ADAPTER).write_bytes(b""), r"adapter_model\.safetensors has 0 bytes"),
        (lambda f: weights(f, lambda t: t[UP].fill_(torch.nan), ADAPTER), r"up_proj\S+ in .* NaN or infinite"),
        (lambda f: (f / "adapter_config.json").write_text("{"), r"adapter_config\.json is no JSON"),
        (lambda f: edit_adapter(f, base_model_name_or_path=None), r"adapter_config\.json names no base model"),
        (lambda f: tiny_llama().save_pretrained(f), r"holds a whole model and an adapter .* too"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_line(
    spoil: Callable[[Path], object], line: str, load: Callable[[Path], Any], chat_model: Path, tmp_path: Path
) -> None:
    folder = adapter(tmp_path / "adapter", chat_model)
    spoil(folder)
    with pytest.raises(ValueError, match=line):
        load(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"modules_to_save": ["embed_tokens", "lm_head", "norm"]},
        {"bias": "all"},
        {"trainable_token_indices": [1, 258]},
        {"use_rslora": True, "rank_pattern": {"0.self_attn.q_proj": 3}, "alpha_pattern": {"0.self_attn.q_proj": 9}},
    ],
    ids=str,
)
def test_adapters_of_every_kind_load_as_peft_loads_them(settings: Any, chat_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(chat_model)

    lora = LoraConfig(task_type="CAUSAL_LM", r=2, **{"target_modules": ["q_proj"], **settings})
    tuned, folder = get_peft_model(base(), lora), tmp_path / "adapter"
    for weight in tuned.parameters():
        if weight.requires_grad:
            weight.data += 0.3 * torch.randn_like(weight)
    whole = "embed_tokens" in lora.target_modules  # said, or PEFT warns that it does so
    tuned.save_pretrained(folder, save_embedding_layers=whole or "auto")
    load_tokenizer(chat_model).save_pretrained(folder)
    ids = torch.arange(40)[None]
    expected = PeftModel.from_pretrained(base(), folder).eval()(ids).logits
    assert not torch.allclose(expected, base()(ids).logits, atol=1e-2)
    for loaded in (load_causal_lm(folder), policy(folder, lora=True).eval()):
        assert torch.equal(loaded(ids).logits, expected)
    torch.testing.assert_close(policy(folder).eval()(ids).logits, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("load", [load_causal_lm, lambda f: policy(f, lora=True), policy])
def test_an_adapter_that_changes_no_layers_or_stands_on_another_is_one_line(
    load: Callable[[Path], Any], chat_model: Path, tmp_path: Path
) -> None:
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

    for number, kind in enumerate((PromptTuningConfig, PrefixTuningConfig)):
        folder = tmp_path / str(number)
        get_peft_model(load_causal_lm(chat_model), kind(task_type="CAUSAL_LM", num_virtual_tokens=2)).save_pretrained(
            folder
        )
        load_tokenizer(chat_model).save_pretrained(folder)
        with pytest.raises(ValueError, match=r"which puts learned tokens before text"):
            load(folder)
    folder, other = adapter(tmp_path / "adapter", chat_model), adapter(tmp_path / "other", chat_model)
    edit_adapter(folder, base_model_name_or_path=str(other))
    with pytest.raises(ValueError, match=r"stands on \S+other, which is an adapter too"):
        load(folder)


@pytest.mark.parametrize("reward", [False, True])
def test_an_adapter_on_a_base_model_that_was_trained_anew_is_one_line(
    reward: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another model stands under the relative path that it names, or none, its own is found where it was."""
    monkeypatch.chdir(tmp_path)
    folder = adapter(tmp_path / "adapter", Path("model"), "SEQ_CLS" if reward else "CAUSAL_LM")
    loads: list[Callable[[Path], Any]] = [RewardModel.load] if reward else [load_causal_lm, policy]
    write_manifest(folder, "recipes/sft.py", {}, [])
    (model / "README.md").write_text("A card that was written later.")
    before = model_fingerprint(folder)
    for load in loads:
        load(folder)
    (tmp_path / "there").mkdir()
    save_model(tmp_path / "there" / "model", tiny_llama(seed=5), byte_tokenizer(chat=True))
    monkeypatch.chdir(tmp_path / "there")
    for load in loads:
        load(folder)
    assert adapter_config(folder)["base_model_name_or_path"] == str(model)  # type: ignore[index]
    assert model_fingerprint(folder) == before
    (tmp_path / "there" / "model").rename(tmp_path / "there" / "away")
    assert model_fingerprint(folder) == before
    (tmp_path / "there" / "away").rename(tmp_path / "there" / "model")
    # What is trained of it names a base model that is found.
    trained = put_adapter(load_causal_lm(model), folder) if not reward else None
    assert trained is None or trained.active_peft_config.base_model_name_or_path == str(model)
    model.rename(tmp_path / "moved")
    for load in loads:
        with pytest.raises(ValueError, match=r"trained on other weights than .* model holds: that is not \S+/model"):
            load(folder)
    shutil.rmtree(tmp_path / "there" / "model")
    for load in loads:
        with pytest.raises(
            ValueError, match=r"stands on model, which is no folder here, nor is \S+/model, where it was"
        ):
            load(folder)
    (tmp_path / "moved").rename(model)
    monkeypatch.chdir(tmp_path)
    tiny_llama(seed=5).save_pretrained(model)
    for load in loads:
        with pytest.raises(ValueError, match=r"trained on other weights than .* holds: that was written anew"):
            load(folder)
    # What was sampled from the one is no answer of the other.
    assert model_fingerprint(folder) != before


def test_a_reward_models_adapter_is_no_policy_and_a_policys_no_reward_model(chat_model: Path, tmp_path: Path) -> None:
    reward = adapter(tmp_path / "reward", chat_model, "SEQ_CLS")
    assert RewardModel.load(reward).score(["a"], ["b"]).shape == (1,)
    for load in (load_causal_lm, policy):
        with pytest.raises(ValueError, match=r"holds \S*score\S*, for which"):
            load(reward)
    answers = adapter(tmp_path / "policy", chat_model)
    shutil.copy(reward / "rlaif.json", answers)
    with pytest.raises(ValueError, match=r"has no score\.weight, which a LlamaForSequenceClassification needs"):
        RewardModel.load(answers)
    (reward / "rlaif.json").unlink()
    with pytest.raises(ValueError, match=r"is an adapter without rlaif\.json"):
        RewardModel.load(reward)


# Tokenizers -----------------------------------------------------------------------------------------------------------


def test_a_tokenizer_that_loads_otherwise_than_it_was_saved_is_one_line(model: Path) -> None:
    from transformers import Qwen2Config

    Qwen2Config(vocab_size=300).save_pretrained(model)
    with pytest.raises(
        ValueError, match=r"loads otherwise than it was saved: .* makes a Qwen2Tokenizer of it"
    ) as error:
        load_tokenizer(model)
    assert "save it again" in str(error.value)
    # As it says: what is loaded, saved again, is what loads from then on.
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(model).save_pretrained(model)
    load_tokenizer(model)


@pytest.mark.parametrize("direction", ["left", "right"])
def test_a_tokenizer_that_pads_to_a_fixed_length_is_the_one_that_was_saved(model: Path, direction: str) -> None:
    from tokenizers import Tokenizer

    saved = Tokenizer.from_file(str(model / "tokenizer.json"))
    saved.enable_padding(direction=direction, length=500)
    saved.save(str(model / "tokenizer.json"))
    assert load_tokenizer(model)("a").input_ids


def test_a_token_without_an_embedding_is_one_line(model: Path) -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save_pretrained(model)
    for load in (load_tokenizer, policy):
        with pytest.raises(
            ValueError, match=r"has '</think>' \(260\), '<think>' \(259\), but .* embeddings end at 258"
        ):
            load(model)
    longer = tiny_llama()
    longer.resize_token_embeddings(len(tokenizer))
    save_model(model, longer, tokenizer)
    assert policy(model).get_input_embeddings().weight.shape[0] == 261


def test_a_placeholder_for_images_needs_no_embedding(model: Path) -> None:
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra_special_tokens": {"image_token": "<img>"}}))
    assert len(load_tokenizer(model)) == 260


def test_an_adapters_tokenizer_is_held_against_its_base(chat_model: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter", chat_model)
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.add_tokens(["<think>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"has '<think>' \(259\)"):
        load_tokenizer(folder)


# Code of a repository -------------------------------------------------------------------------------------------------

CODE = """
import pathlib
from transformers import LlamaConfig, LlamaForCausalLM

pathlib.Path({ran!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own"


class Own(LlamaForCausalLM):
    config_class = OwnConfig
"""


def with_code(folder: Path, ran: Path) -> Path:
    """A model whose class is in its own folder; it leaves the file `ran` when that is run."""
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    config(folder, model_type="own", auto_map=auto)
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    return folder


def test_code_of_a_repository_runs_where_it_is_allowed_alone(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    ran = tmp_path / "ran"
    with_code(model, ran)
    for load in (load_causal_lm, load_tokenizer, policy, RewardModel.load):
        with pytest.raises(ValueError, match=r"needs code of its own repository .* say --trust_remote_code true"):
            load(model)
    assert not ran.exists()
    loaded = load_causal_lm(model, trust_remote_code=True)
    assert type(loaded).__name__ == "Own"
    assert ran.exists()
    load_tokenizer(model, trust_remote_code=True)


def test_code_beside_an_architecture_that_is_known_is_left_alone(model: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with_code(model, ran)
    config(model, model_type="llama")
    with pytest.raises(ValueError, match="needs code of its own repository"):  # another architecture, on its own code
        load_causal_lm(model)
    config(model, auto_map={"AutoModelForCausalLM": "own.LlamaForCausalLM"})
    assert type(load_causal_lm(model)).__name__ == "LlamaForCausalLM"
    assert not ran.exists()


def test_nobody_is_asked_on_standard_input(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = tmp_path / "ran"
    with_code(model, ran)
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": "p"}])
    answers = io.StringIO("y\n" * 9)
    monkeypatch.setattr(sys, "stdin", answers)
    words = ["--prompts", "prompts.jsonl", "--policy", str(model), "--output", "out"]
    assert run_here(["rlaif", "sample", *words], tmp_path) == 1
    assert "needs code of its own repository" in capfd.readouterr().err
    assert not ran.exists()
    assert answers.tell() == 0  # nobody has read


def test_every_loader_of_a_library_is_told_about_code() -> None:
    """Without the argument, transformers would ask on standard input."""
    import ast

    from support import ROOT

    untold = []
    for folder in ("rlaif", "recipes", "reward_models", "scripts"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                runs_none = getattr(node.func.value, "id", "") in ("GenerationConfig", "PeftConfig", "PeftModel")
                asks = node.func.attr == "from_pretrained" and not runs_none
                if asks and "trust_remote_code" not in {keyword.arg for keyword in node.keywords}:
                    untold.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert untold == []


def test_a_model_with_code_of_its_own_is_not_published(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = tmp_path / "ran"
    with_code(model, ran)
    words = ["--policy", str(model), "--output", "public", "--license", "apache-2.0"]
    assert run_here(["rlaif", "publish", *words], tmp_path) == 1
    assert "needs code of its own to be loaded, which is neither run nor sent here" in capfd.readouterr().err
    assert not ran.exists()
