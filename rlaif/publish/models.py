"""A reward model's or a policy's folder, made ready for others: what it needs to be loaded, its card, nothing else.

    goes out    weights (safetensors), tokenizer, configs, rlaif.json, licence files, the plot of a PPO run that was
                watched; and written for the occasion: README.md (the card), report.json (the numbers behind it)
    stays       checkpoints, optimizer and trainer state, pickles (training_args.bin among them), logs, replies, votes,
                tokenized data, the manifest; counted by kind

Paths of this machine become names. Before anything is put in place, the staged model is loaded and must give the bits
that the source gives: a reward model's scores, a policy's logits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.files.room import names_place
from rlaif.files.sources import write_json
from rlaif.models.adapters import base_of
from rlaif.models.reward_model import METADATA, RewardModel, RewardModelCard
from rlaif.publish import lineage, staging
from rlaif.publish.card import CardFields, check_fields
from rlaif.publish.lineage import Source
from rlaif.publish.model_card import model_card, settings
from rlaif.publish.model_facts import Example, Kind, ModelFacts
from rlaif.publish.provenance import bare_names, public_name, read_json

__all__ = ["publish_model"]

ADAPTER = "adapter_config.json"
PLOT = "over_optimization.png"

_OF_WHOLE = ("config.json", "generation_config.json")
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("chat_template.json", "additional_chat_templates/*.jinja", "vocab.json", "vocab.txt", "merges.txt"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json"),
)
_TERMS = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")

_STAYS = {  # what stays -> why; the first that fits
    "checkpoint-*": "checkpoints",
    "*.partial": "unfinished writes",
    **dict.fromkeys(("replies/*", "votes.jsonl", "judgments.jsonl", "best.jsonl"), "replies and votes"),
    **dict.fromkeys(("votes/*", "ratings/*", "completions*"), "replies and votes"),  # of earlier versions
    "tokenized/*": "tokenized data",
    **dict.fromkeys(("runs/*", "logs/*", "*.log", "events.out.tfevents*"), "logs"),
    **dict.fromkeys(
        ("training_args.bin", "trainer_state.json", "ppo_state.json", "optimizer*", "scheduler*", "rng_state*"),
        "trainer and optimizer state",
    ),
    **dict.fromkeys(("global_step*", "critic.safetensors"), "trainer and optimizer state"),
    **dict.fromkeys(("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt"), "pickles"),
    **dict.fromkeys(("manifest.json", "report.json", "report.md", "checks.jsonl", "loss.png"), "records of the run"),
    "README.md": "an earlier card",
}

# What every model is asked before and after staging. The first one (of a reward model: that fits) stands in its card.
EXAMPLES = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Hello", "Hi!"),
    ("Write a short poem about the sea.", "Blue on blue,\nthe sea is wide,\nand slow it breathes\nwith every tide."),
    ("Explain why 17 is prime.", "17 is prime."),
    ("Is it safe to mix bleach and ammonia?", "No. It makes a poisonous gas."),
)
NEW_TOKENS = 40
# A value that is an absolute path and nothing else; special tokens and templates are none.
_IS_PATH = re.compile(r"(?:/|~/|[A-Za-z]:[\\/])[^\n{}<>]*[\\/][^\n{}<>]+")


def publish_model(
    folder: Path,
    output: Path,
    kind: Kind,
    fields: CardFields,
    *,
    base_model: str | None = None,
    evaluation: Path | None = None,
    repo_id: str | None = None,
    names: Mapping[str, str] | None = None,
    example: tuple[str, str] | None = None,
    note: staging.Note | None = None,
) -> dict[str, Any]:
    """Writes `output`: what a stranger needs to load the model in `folder`, and its card. Nothing is sent.

    Args:
        folder: what reward_models/bradley_terry.py or a recipe wrote.
        output: the staging folder; what an earlier staging left in it is replaced whole.
        kind: which of the two it is.
        fields: what only the publisher knows.
        base_model: the base model on the Hub, "org/name" or "org/name@revision", where the run started from a folder.
            An adapter is of no use to anybody without.
        evaluation: report.json of `rlaif evaluate`, or its folder; None: the card says "not measured".
        repo_id: where the model will be on the Hub: the card's snippets load it from there. None: from their folder.
        names: public names (Hub ids, where there are any) of models and datasets, by the names that the run knew.
        example: a prompt and a response for the card to score (of a policy: the prompt for it to answer), in the
            language and field of the model. Default: a question about France.
        note: writes the manifest and what is returned here to a folder, which stands beside the model in the end.

    Returns:
        `files` with their sizes, `left_behind` by kind (`files`, `bytes`, and the `names` of what is of no known kind),
        `checks` (how many outputs were `compared`, `paths_replaced` in which files), the card's `example`.

    Raises:
        ValueError: no model, or one of the other kind; weights that are no safetensors; no tokenizer; an adapter on a
            folder, without `base_model`; a report that does not know the model, or knew other weights; an output
            folder with something else in it; a staged model that gives other bits than its source.
    """
    check_fields(fields)
    names = names or {}
    model = _Model.open(folder, kind)
    if changed := lineage.rewritten_data(model.manifest):
        raise ValueError(
            f"{changed} was written anew since {folder} was trained on it; expected the data that it was trained on, "
            "of which the card tells. Train it again, or put that data back."
        )
    given = lineage.hub_model(base_model) if base_model else None
    base, start, base_check = lineage.base_models(
        folder, model.manifest, model.adapter, given, names, online=repo_id is not None
    )
    measured = None
    if evaluation:
        measured = lineage.evaluation(evaluation, folder, kind == "reward_model", model.manifest, names)
    staging.check(output, folder, kind)
    asked = (*([example] if example else []), *EXAMPLES)
    before = _outputs(folder, model, asked)
    with staging.staged_for(output) as partial:
        staged = _stage(model, partial, base if model.adapter else next(iter(start), None), names)
        with _loadable(partial, model) as copy:
            after = _outputs(copy, model, asked)
        different = sum(ours != theirs for ours, theirs in zip(after.bits, before.bits, strict=True))
        if after != before:
            raise ValueError(
                f"what was staged is not the model in {folder}: {different} of {len(before.bits)} outputs differ; "
                "expected equal bits. Nothing was published. Is something writing to that folder?"
            )
        facts = _facts(model, staged, before.example, base, start, base_check, measured, fields, repo_id, names)
        write_json(partial / "report.json", _record(facts))
        (partial / "README.md").write_text(model_card(facts, fields), encoding="utf-8")
        sent = sorted([*model.files, "README.md", "report.json"])
        report = {
            "files": {name: (partial / name).stat().st_size for name in sent},
            "left_behind": _left_behind(model),
            "checks": {"bit_identical": True, "compared": len(before.bits), "paths_replaced": staged.rewritten},
            "example": dataclasses.asdict(before.example),
        }
        (partial / staging.NOTES).mkdir()
        if note:
            note(partial / staging.NOTES, report)
        earlier = [path.name for path in output.iterdir() if not path.name.startswith(".")]
        staging.replace_staged(partial, output, kind, [name for name in earlier if name != "README.md"])
    return report


# The folder -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Model:
    """A model's folder, read and checked: what of it is known without its weights.

    `files` go out; `adapter`, `reward`, `manifest` and `run` are what adapter_config.json, rlaif.json, manifest.json
    and report.json hold, None or empty where there is none. `parameters` numbers in `dtype` are in the weights' files.
    """

    folder: Path
    files: list[str]
    adapter: dict[str, Any] | None
    reward: RewardModelCard | None
    manifest: dict[str, Any]
    run: dict[str, Any]
    rendering: dict[str, Any]
    parameters: int
    dtype: str

    @property
    def load_in_4bit(self) -> bool:
        if self.reward:
            return self.reward.load_in_4bit
        return bool(self.adapter and self.manifest.get("config", {}).get("load_in_4bit"))

    @classmethod
    def open(cls, folder: Path, kind: Kind) -> _Model:
        from rlaif.models.loading import NeedsCode, load_tokenizer
        from rlaif.models.rendering import Rendering

        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder; expected what reward_models/bradley_terry.py or a recipe wrote.")
        adapter = read_json(folder / ADAPTER) or None
        weights = _weights(folder, adapter is not None)
        size = _size([folder / name for name in weights if name.endswith(".safetensors")])
        _check_kind(folder, kind, adapter)
        reward = RewardModelCard.read(folder) if kind == "reward_model" else None
        if reward is not None and reward.assumed:
            raise ValueError(
                f"{folder} has no {METADATA}, so it was trained elsewhere; expected what "
                "reward_models/bradley_terry.py wrote."
            )
        try:
            rendering = Rendering.of(load_tokenizer(folder))
        except NeedsCode:
            raise ValueError(
                f"{folder} needs code of its own to be loaded, which is neither run nor sent here; send such a model "
                "by other means."
            ) from None
        if reward:
            rendering.check(reward.rendering, str(folder))
        elif rendering.kind == "pair":
            raise ValueError(f"{folder} has an encoder's tokenizer (no EOS); expected a causal language model.")
        run = read_json(folder / "report.json")
        patterns = [*([ADAPTER] if adapter else _OF_WHOLE), *([METADATA] if reward else []), *_TOKENIZER, *_TERMS]
        patterns += [PLOT] if (run.get("over_optimization") or {}).get("marked") else []
        rest = [name for name in _listed(folder) if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
        manifest = read_json(folder / "manifest.json")
        return cls(folder, [*weights, *rest], adapter, reward, manifest, run, rendering.row(), *size)


def _listed(folder: Path) -> list[str]:
    """Every file of a folder, as "sub/name"."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _weights(folder: Path, adapter: bool) -> list[str]:
    """The files that hold the weights, chosen as transformers and PEFT choose them."""
    whole = [name for name in ("model.safetensors", "model.safetensors.index.json") if (folder / name).is_file()]
    if adapter and whole:
        raise ValueError(
            f"{folder} holds both an adapter ({ADAPTER}) and whole weights ({whole[0]}), and what is loaded depends on "
            "the reader; expected one of them. Take the other away."
        )
    if adapter and (folder / "adapter_model.safetensors").is_file():
        return ["adapter_model.safetensors"]
    if not whole:
        pickles = sorted(path.name for path in folder.glob("*_model*.bin"))
        if pickles:
            raise ValueError(
                f"{folder} has its weights in {pickles[0]}, a pickle, which can run code where it is loaded; expected "
                "safetensors. Load the model and save it again with `save_pretrained`."
            )
        raise ValueError(
            f"{folder} is no model: it holds no {'adapter_' if adapter else ''}model.safetensors; expected what "
            "reward_models/bradley_terry.py or a recipe wrote when it had ended."
        )
    if whole[0] == "model.safetensors":
        return whole[:1]
    shards = sorted(set(read_json(folder / whole[0]).get("weight_map", {}).values()))
    for name in shards:
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"{folder / whole[0]} names {name}, which is not beside it; copy that shard too.")
    return [whole[0], *shards]


def _size(files: Sequence[Path]) -> tuple[int, str]:
    """How many numbers safetensors files hold, and in which precision most of them are: from their headers alone."""
    counts: dict[str, int] = {}
    for path in files:
        with path.open("rb") as file:
            try:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            except (ValueError, MemoryError, OverflowError):
                raise ValueError(f"{path} is no safetensors file; expected weights. Is it a Git LFS pointer?") from None
        for name, row in header.items():
            if name != "__metadata__":
                counts[row["dtype"]] = counts.get(row["dtype"], 0) + int(np.prod(row["shape"], dtype=np.int64))
    most = max(counts, key=lambda dtype: counts[dtype])
    return sum(counts.values()), {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(most, most)


def _check_kind(folder: Path, kind: Kind, adapter: Mapping[str, Any] | None) -> None:
    """A ValueError where the model is of the other kind, or was saved in a way that the programs do not save."""
    config = read_json(folder / "config.json")
    if not adapter and not config:
        raise ValueError(f"{folder} is no model: it holds no config.json beside its weights. Copy it from the run.")
    if not adapter and "quantization_config" in config:
        method = config["quantization_config"].get("quant_method")
        raise ValueError(
            f"{folder} holds whole weights that were saved quantized ({method}); expected them as they were trained. "
            "Publish the adapter, or merge it into unquantized weights."
        )
    architectures = " ".join(config.get("architectures") or [])
    classifies = adapter.get("task_type") == "SEQ_CLS" if adapter else "SequenceClassification" in architectures
    if kind == "policy" and (classifies or (folder / METADATA).is_file()):
        raise ValueError(f"{folder} holds a reward model or a classifier, not a policy; give it as --reward_model.")
    if kind == "reward_model" and not classifies:
        raise ValueError(f"{folder} holds a language model, not a reward model; give it as --policy.")


def _left_behind(model: _Model) -> dict[str, dict[str, Any]]:
    """What of a folder stays, by kind: how many files and bytes; some names of what is of no known kind."""
    found: dict[str, dict[str, Any]] = {}
    for name in _listed(model.folder):
        if name in model.files:
            continue
        why = next((why for pattern, why in _STAYS.items() if fnmatch.fnmatchcase(name, pattern)), "other")
        row = found.setdefault(why, {"files": 0, "bytes": 0})
        row["files"] += 1
        row["bytes"] += (model.folder / name).stat().st_size
        if why == "other":
            row["names"] = [*row.get("names", []), name][:16]
    return found


# Equal bits -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outputs:
    """What a model makes of the examples. Equal `bits` mean equal numbers, to the last bit."""

    bits: list[str]
    example: Example


def _outputs(folder: Path, model: _Model, asked: Sequence[tuple[str, str]]) -> _Outputs:
    return _scores(folder, asked) if model.reward else _logits(folder, asked, model.load_in_4bit)


def _scores(folder: Path, asked: Sequence[tuple[str, str]]) -> _Outputs:
    reward_model = RewardModel.load(folder)
    prompts, responses = [prompt for prompt, _ in asked], [response for _, response in asked]
    scores_N = reward_model.score(prompts, responses)
    fits = np.flatnonzero(~np.isnan(scores_N))
    if not fits.size:
        raise ValueError(
            f"{folder} takes {reward_model.card.max_length} tokens at most, and none of the texts that it is checked "
            "with is that short; expected a reward model of conversations."
        )
    prompt, response = asked[fits[0]]
    # Alone, as in the card: beside longer texts it would be padded, which moves the last bits.
    score = float(reward_model.score([prompt], [response])[0])
    return _Outputs([score.hex() for score in scores_N], Example(prompt, response, _where(reward_model.model), score))


def _logits(folder: Path, asked: Sequence[tuple[str, str]], load_in_4bit: bool) -> _Outputs:
    import torch

    from rlaif.models.loading import load_causal_lm, load_tokenizer
    from rlaif.models.rendering import Rendering, stop_ids
    from rlaif.models.spelling import Spelling

    tokenizer = load_tokenizer(folder)
    rendering = Rendering.of(tokenizer)
    model = load_causal_lm(folder, load_in_4bit=load_in_4bit)
    ids_11T = [torch.tensor([rendering.encode_prompt(tokenizer, p)], device=model.device) for p, _ in asked]
    bits, stops = [], stop_ids(model, tokenizer)
    with torch.inference_mode():
        for ids_1T in ids_11T:
            logits_1TV = model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits
            bits.append(hashlib.sha256(logits_1TV.float().cpu().numpy().tobytes()).hexdigest())
        out_1T = model.generate(
            input_ids=ids_11T[0],
            attention_mask=torch.ones_like(ids_11T[0]),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
        )
    special = set(tokenizer.all_special_ids)
    hidden = Spelling.of(tokenizer).hidden | special.intersection(stops)
    new = [token for token in out_1T[0, ids_11T[0].shape[1] :].tolist() if token not in hidden]
    several = stops if len(stops) > 1 else None
    letters = sorted(special - hidden) or None
    example = Example(
        asked[0][0],
        tokenizer.decode(new),
        _where(model),
        max_new_tokens=NEW_TOKENS,
        stops=several,
        letters=letters,
    )
    return _Outputs(bits, example)


def _where(model: Any) -> str:
    """What a model computes on, in words."""
    import torch
    import transformers

    threads = torch.get_num_threads()
    if model.device.type == "cpu":
        device = f"a CPU ({threads} thread{'s' if threads > 1 else ''})"
    else:
        device = torch.cuda.get_device_name(model.device)
    return f"{device} with torch {torch.__version__} and transformers {transformers.__version__}"


# Staging --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Staged:
    """adapter_config.json and rlaif.json as they go out, and the files in which paths became names."""

    adapter: dict[str, Any] | None
    reward: RewardModelCard | None
    rewritten: list[str]


def _stage(model: _Model, target: Path, base: Source | None, names: Mapping[str, str]) -> _Staged:
    """Fills the empty folder `target`: weights are linked where they can be, the rest is copied, paths become names.

    `base` is what adapter_config.json and rlaif.json are to name.
    """
    adapter, reward, rewritten = None, None, []
    for name in model.files:
        source, copy = model.folder / name, target / name
        copy.parent.mkdir(exist_ok=True)
        if name.endswith(".safetensors"):
            _link_or_copy(source.resolve(), copy)
            continue
        before = read_json(source) if name.endswith("_config.json") or name in ("config.json", METADATA) else {}
        after = bare_names(before, _IS_PATH)
        if name == ADAPTER:
            assert base is not None
            after = adapter = {**after, "base_model_name_or_path": base.hub_id, "revision": base.revision}
        elif name == METADATA and model.reward:
            reward = _public_reward(model.reward, base, names)
            after = dataclasses.asdict(reward)
        if after == before:
            _copy(source, copy)
        else:
            write_json(copy, after)
            rewritten.append(name)
    return _Staged(adapter, reward, rewritten)


def _link_or_copy(source: Path, copy: Path) -> None:
    """A second name for a large file: it takes no room and no time. A copy where the file system cannot."""
    try:
        os.link(source, copy)
    except OSError:
        _copy(source, copy)


def _copy(source: Path, copy: Path) -> None:
    """A copy of a file. `shutil.copyfile` would say of a full disk that the source has no room."""
    with names_place(copy), source.open("rb") as read, copy.open("wb") as written:
        shutil.copyfileobj(read, written)


def _public_reward(card: RewardModelCard, base: Source | None, names: Mapping[str, str]) -> RewardModelCard:
    """rlaif.json with names for paths; nothing that a score depends on is touched."""
    data = dict(card.training_data)
    if data.get("source"):
        data["source"] = public_name(str(data["source"]), names)
    named = (base.hub_id or base.name) if base else public_name(card.base_model, names) or card.base_model
    return dataclasses.replace(card, base_model=named, training_data=data)


@contextlib.contextmanager
def _loadable(staged: Path, model: _Model) -> Iterator[Path]:
    """A folder that loads here what `staged` loads elsewhere: an adapter whose base is a folder finds it there."""
    path = base_of(model.folder, model.adapter["base_model_name_or_path"]) if model.adapter else None
    if path is None or not Path(path).is_dir():
        yield staged
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in _listed(staged):
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).symlink_to((staged / name).resolve())
        (Path(folder) / ADAPTER).unlink()
        public = read_json(staged / ADAPTER)
        write_json(Path(folder) / ADAPTER, {**public, "base_model_name_or_path": path, "revision": None})
        yield Path(folder)


# The card's facts -----------------------------------------------------------------------------------------------------


def _facts(
    model: _Model,
    staged: _Staged,
    example: Example,
    base: Source | None,
    start: Sequence[Source],
    base_check: str,
    evaluation: dict[str, Any] | None,
    fields: CardFields,
    repo_id: str | None,
    names: Mapping[str, str],
) -> ModelFacts:
    return ModelFacts(
        kind="reward_model" if model.reward else "policy",
        title=fields.pretty_name or (repo_id or model.folder.resolve().name).rpartition("/")[2],
        repo_id=repo_id,
        parameters=model.parameters,
        dtype=model.dtype,
        rendering=model.rendering,
        adapter=staged.adapter,
        load_in_4bit=model.load_in_4bit,
        reward=staged.reward,
        manifest=model.manifest,
        run=lineage.no_paths(model.run),
        base=base,
        start=start,
        base_check=base_check,
        data=lineage.training_data(model.manifest, model.reward.training_data if model.reward else {}, names),
        rewards=lineage.rewards(model.manifest, names),
        evaluation=evaluation,
        example=example,
        plot=PLOT if PLOT in model.files else None,
    )


def _record(facts: ModelFacts) -> dict[str, Any]:
    """report.json: the numbers behind the card."""
    return {
        "command": facts.command or None,
        "settings": settings(facts.manifest, facts.run),
        "versions": facts.manifest.get("versions"),
        "git_commit": facts.manifest.get("git_commit"),
        "data": dataclasses.asdict(facts.data) if facts.data else None,
        "start": [dataclasses.asdict(source) for source in facts.start],
        "run": facts.run or None,
        "evaluation": facts.evaluation,
        "example": dataclasses.asdict(facts.example),
    }
