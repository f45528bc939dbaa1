"""A trained reward model, loaded so that it scores exactly as it did when it was measured.

A reward model is a folder: a one-label `AutoModelForSequenceClassification` checkpoint (or a LoRA adapter with its
head) and its tokenizer, which anyone can load, plus `rlaif.json`: what else has to be the same for a score to mean the
same. Rendering, maximum length, precision and quantization are read from it, and the rendering is checked against the
tokenizer beside it.

    reward_model = RewardModel.load("runs/quickstart/reward_model")
    scores_N = reward_model.score(prompts, responses)        # raw; differences are log-odds
    rewards_N = scores_N - reward_model.zero                 # 0: an average response of the training data

A Bradley-Terry model is known up to a constant: only differences were trained. `zero` fixes that constant.

A reward model that was trained elsewhere has no `rlaif.json`. A one-label classifier among them scores all the same, in
a rendering that is assumed, and `assumed` says which (rlaif.models.foreign).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.errors.theirs import is_number
from rlaif.errors.words import shown
from rlaif.files.sources import write_json
from rlaif.metrics import sigmoid
from rlaif.models.batching import plan_batches, split_on_oom
from rlaif.models.rendering import Encoded, Rendering, Unrenderable
from rlaif.records import Prompt, check_prompt, check_text

__all__ = ["METADATA", "RewardModel", "RewardModelCard"]

METADATA = "rlaif.json"
# A head is never quantized: it is new, trained in full, and as small as one row of a matrix.
HEADS = ["score", "classifier", "pooler", "pre_classifier"]
VERSION = 1
_DTYPES = ("float32", "bfloat16", "float16", "auto")
_IN_A_RENDERING = {"kind", "template_hash", "tokenizer_hash", "eos_token"}


@dataclass(frozen=True)
class RewardModelCard:
    """The content of `rlaif.json`.

    Attributes:
        rendering: the row of the `Rendering` that the model was trained in.
        max_length: the longest conversation it takes, in tokens.
        base_model: the folder or Hub id that training started from.
        dtype: the precision that it was measured in and is loaded in.
        load_in_4bit: whether its base model was quantized (QLoRA). An adapter fits the weights it was trained on.
        zero: the mean score of the training data's responses, chosen and rejected alike; None until measured.
        temperature: P(chosen) = sigmoid(delta / temperature); None where the model has not been calibrated.
        training_data: source, fingerprint and number of pairs.
        version: of this format.
        assumed: of a model without `rlaif.json`, in words, which rendering is taken; never written.
    """

    rendering: dict[str, Any]
    max_length: int
    base_model: str
    dtype: str = "float32"
    load_in_4bit: bool = False
    zero: float | None = None
    temperature: float | None = None
    training_data: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION
    assumed: str | None = None

    @classmethod
    def read(cls, folder: str | Path, trust_remote_code: bool = False) -> RewardModelCard:
        """The card of a reward model's folder or Hub id; of one that was trained elsewhere, what is assumed of it.

        Raises:
            ValueError: it is no reward model, or one with several labels; its card is broken or of a later version.
        """
        path: Path | None = Path(folder) / METADATA
        if not Path(folder).exists():
            path = _from_hub(str(folder))
        if path is None or not path.is_file():
            return cls._assumed(folder, trust_remote_code)
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            version = row.get("version")
        except (ValueError, AttributeError):
            raise ValueError(f"{path} is no JSON object; restore the file that was written with the model.") from None
        if version != VERSION:
            raise ValueError(
                f"{path} is of version {version}; this rlaif reads version {VERSION}. Update rlaif, or train the "
                "reward model again."
            )
        names = {f.name for f in dataclasses.fields(cls)} - {"assumed"}
        try:
            card = cls(**{name: value for name, value in row.items() if name in names})
        except TypeError:
            raise ValueError(
                f"{path} has no rendering, max_length or base_model; restore the file that was written with the model."
            ) from None
        card._check(path)
        return card

    def _check(self, path: Path) -> None:
        """A ValueError unless the numbers are numbers: a score is a number less `zero`, over `temperature`."""

        rendering = self.rendering
        wrong = {
            "rendering": (
                "a mapping with kind, template_hash, tokenizer_hash and eos_token",
                isinstance(rendering, dict) and rendering.keys() >= _IN_A_RENDERING,
            ),
            "max_length": ("a whole number above 0", type(self.max_length) is int and self.max_length > 0),
            "base_model": ("a folder or a Hub id", isinstance(self.base_model, str)),
            "dtype": ("float32, bfloat16 or float16", self.dtype in _DTYPES),
            "load_in_4bit": ("true or false", isinstance(self.load_in_4bit, bool)),
            "training_data": ("a mapping", isinstance(self.training_data, dict)),
            "zero": ("a finite number or null", self.zero is None or is_number(self.zero)),
            "temperature": (
                "a finite number above 0 or null",
                self.temperature is None or (is_number(self.temperature) and self.temperature > 0),
            ),
        }
        for name, (wanted, right) in wrong.items():
            if not right:
                raise ValueError(
                    f"{path} has the {name} {shown(getattr(self, name))}; expected {wanted}. Restore the file that was "
                    "written with the model."
                )

    @classmethod
    def _assumed(cls, folder: str | Path, trust_remote_code: bool) -> RewardModelCard:
        """What is assumed of a one-label classifier without a card."""
        from rlaif.models.foreign import assumed_rendering, check_one_label, longest
        from rlaif.models.loading import adapter_config, load_config, load_tokenizer

        if adapter_config(folder):
            raise ValueError(
                f"{folder} is an adapter without {METADATA}, so the format that it was trained in is unknown; expected "
                "what reward_models/bradley_terry.py wrote, or a whole reward model."
            )
        if Path(folder).is_dir() and not (Path(folder) / "config.json").is_file():
            raise ValueError(
                f"{folder} has no {METADATA} and no config.json, so it holds no reward model; expected a folder that "
                "reward_models/bradley_terry.py wrote, or a sequence classifier with one label."
            )
        config = load_config(folder, trust_remote_code=trust_remote_code)
        check_one_label(config, folder, trust_remote_code)
        tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        rendering, words = assumed_rendering(tokenizer, folder)
        return cls(
            rendering=rendering.row(),
            max_length=longest(config, tokenizer),
            base_model=str(folder),
            dtype="auto",
            assumed=words,
        )

    def reader(self, folder: str | Path, trust_remote_code: bool = False) -> tuple[Any, Rendering]:
        """The tokenizer in `folder` and the rendering; a ValueError unless it is the one that was trained with."""
        from rlaif.models.foreign import assumed_rendering
        from rlaif.models.loading import load_tokenizer

        tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        if self.assumed:
            return tokenizer, assumed_rendering(tokenizer, folder)[0]
        rendering = Rendering.of(tokenizer)
        rendering.check(self.rendering, str(folder))
        return tokenizer, rendering

    def write(self, folder: str | Path) -> None:
        """Writes `rlaif.json`, whole or not at all."""
        row = dataclasses.asdict(self)
        del row["assumed"]
        write_json(Path(folder) / METADATA, row)


@dataclass
class RewardModel:
    """A sequence-classification model with one label, and all that its scores depend on.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: its own.
        rendering: how a conversation becomes its tokens.
        card: the content of its `rlaif.json`.
        unscored: how many conversations the last `score` left unscored (NaN): longer than `card.max_length`, or
            `refused`.
        refused: of those, the ones that cannot be rendered: why, in the chat template's own words, by place.
        distinct: how many different ones it scored; one that is there several times is scored once.
    """

    model: Any
    tokenizer: Any
    rendering: Rendering
    card: RewardModelCard
    unscored: int = 0
    distinct: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    _reads_padding: bool | None = field(default=None, init=False, repr=False)  # not known before lengths differ

    def __post_init__(self) -> None:
        _align(self.model)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dtype: str | None = None,
        load_in_4bit: bool | None = None,
        device_map: str | None = None,
        trust_remote_code: bool = False,
    ) -> RewardModel:
        """A reward model from its folder or Hub id, on this process's device.

        Args:
            path: what reward_models/bradley_terry.py wrote; an adapter's folder loads its base model and head too. Or
                a one-label classifier that was trained elsewhere: its rendering is then assumed (`assumed`).
            dtype: "float32", "bfloat16" or "float16"; None: as it was measured. Others change the scores.
            load_in_4bit: whether to quantize the base model; None: as it was trained.
            device_map: "auto" spreads a model too large for one device.
            trust_remote_code: whether code of the model's repository may run.

        Raises:
            ValueError: it is no reward model or one of several labels; no such dtype; no tokenizer, or not the one
                trained with; its weights are not whole.
        """
        if not isinstance(path, str | Path) or not str(path).strip():
            raise ValueError(f"the reward model is {shown(path)}; expected a folder or a Hub id.")
        if dtype is not None and dtype not in _DTYPES:
            raise ValueError(f"dtype is {shown(dtype)}; expected {', '.join(_DTYPES)}.")
        card = RewardModelCard.read(path, trust_remote_code)
        tokenizer, rendering = card.reader(path, trust_remote_code)
        dtype = card.dtype if dtype is None else dtype
        load_in_4bit = card.load_in_4bit if load_in_4bit is None else load_in_4bit
        model = _load_model(path, dtype, load_in_4bit, device_map, trust_remote_code)
        if card.assumed:
            from rlaif.models.foreign import padding_of

            tokenizer.pad_token = padding_of(model.config, tokenizer)
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        return cls(model.eval(), tokenizer, rendering, card)

    @property
    def zero(self) -> float:
        """What to subtract from a score so that 0 is an average response of the training data; 0 where unknown."""
        return self.card.zero or 0.0

    @property
    def assumed(self) -> str | None:
        """Which rendering is assumed, in words, of a model that does not name its own; None of one that does."""
        return self.card.assumed

    def score(
        self, prompts: Sequence[Prompt], responses: Sequence[str], *, tokens: int = 16384, progress: bool = False
    ) -> NDArray[np.float64]:
        """The raw score of each response to its prompt: (N,), NaN where prompt and response exceed `max_length`, and
        where the chat template refuses them or leaves out a turn (`refused`).

        A conversation that is there several times is scored once (`distinct` counts them), so that equal ones have
        equal scores. Deterministic: batches follow from the lengths alone, so equal calls give equal bits. (A response
        among other neighbours is padded differently, which moves a float32 score by about 1e-7.)

        Args:
            prompts, responses: N each.
            tokens: the size of a batch, padding included; a batch that does not fit into memory is halved.
            progress: show a bar.

        Raises:
            ValueError: a prompt, a response or `tokens` is none, or the model gives a score that is no number.
        """
        import torch
        from tqdm.auto import tqdm

        from rlaif.models.loading import quiet

        if not isinstance(tokens, int) or tokens < 1:
            raise ValueError(f"tokens is {shown(tokens)}; expected a whole number from 1.")
        prompts, responses = _given(prompts, responses)
        with quiet():  # a tokenizer warns of a sequence longer than its model's: those stay unscored
            encoded = self._encoded(prompts, responses)
        scores_N = np.full(len(encoded), np.nan)
        alike: dict[Any, list[int]] = {}  # the places of each conversation
        for i, conversation in enumerate(encoded):
            if i not in self.refused and len(conversation) <= self.card.max_length:
                alike.setdefault((*conversation.ids, None, *(conversation.segments or ())), []).append(i)
        fits = [places[0] for places in alike.values()]
        self.unscored = len(encoded) - sum(map(len, alike.values()))
        self.distinct = len(fits)
        pad = self.tokenizer.pad_token_id

        def run(batch: Sequence[int]) -> list[float]:
            width = max(len(encoded[i]) for i in batch)
            rows = [(encoded[i].ids, encoded[i].segments, width - len(encoded[i])) for i in batch]
            inputs = {
                "input_ids": [ids + [pad] * gap for ids, _, gap in rows],
                "attention_mask": [[1] * len(ids) + [0] * gap for ids, _, gap in rows],
            }
            if "token_type_ids" in self.tokenizer.model_input_names:
                inputs["token_type_ids"] = [(segments or [0] * len(ids)) + [0] * gap for ids, segments, gap in rows]
            tensors = {name: torch.tensor(value, device=self.model.device) for name, value in inputs.items()}
            with torch.inference_mode():
                logits_B1 = self.model(**tensors, use_cache=False).logits
            if logits_B1.shape != (len(batch), 1):
                shape = " x ".join(map(str, logits_B1.shape))
                raise ValueError(
                    f"the reward model gave {shape} numbers for {len(batch)} responses; expected one for each."
                )
            scores_B = logits_B1.squeeze(-1).float().cpu()
            if not scores_B.isfinite().all():
                at = batch[int((~scores_B.isfinite()).nonzero()[0])]
                raise ValueError(
                    f"the reward model gave {float(scores_B[~scores_B.isfinite()][0])} to the response "
                    f"{responses[at][:60]!r}; expected a finite score. Its weights are broken, or too large for its "
                    "dtype."
                )
            return [float(score) for score in scores_B]

        with tqdm(total=len(fits), desc="scoring", unit="response", disable=not progress, mininterval=1.0) as bar:
            lengths = [len(encoded[i]) for i in fits]
            if self._reads_padding is None and len(set(lengths)) > 1:
                at = lengths.index(min(lengths)), lengths.index(max(lengths))
                self._reads_padding = self._moved_by_padding(run, *(fits[i] for i in at))
            parts = [list(range(len(fits)))]
            if self._reads_padding:
                by_length = sorted(range(len(fits)), key=lengths.__getitem__)
                parts = [list(group) for _, group in itertools.groupby(by_length, lengths.__getitem__)]
            for part in parts:
                for plan in plan_batches([lengths[i] for i in part], tokens):
                    batch = [fits[part[i]] for i in plan]
                    scores_N[batch] = split_on_oom(run, batch)
                    bar.update(len(batch))
        for first, *others in alike.values():
            scores_N[others] = scores_N[first]
        return scores_N

    def _moved_by_padding(self, run: Callable[[Sequence[int]], list[float]], short: int, long: int) -> bool:
        """Whether a score changes by more than rounding where padding follows: FNet and XLNet, say, take no mask of it.

        Their scores would depend on who shares the batch: conversations of one length share one then.
        """
        alone, beside = run([short])[0], split_on_oom(run, [short, long])[0]
        rounding = 1e-4 if next(self.model.parameters()).dtype.itemsize > 2 else 3e-2
        return abs(alone - beside) > rounding * max(1.0, abs(alone))

    def _encoded(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Encoded]:
        """The conversations' tokens, none of what cannot be rendered."""
        encoded, self.refused = [], {}
        for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            try:
                self.rendering.check_turns(self.tokenizer, prompt, answered=True)
                encoded.append(self.rendering.encode(self.tokenizer, prompt, response))
            except Unrenderable as error:
                encoded.append(Encoded([], []))
                self.refused[i] = str(error)
        return encoded

    def probabilities(
        self,
        prompts: Sequence[Prompt],
        responses_a: Sequence[str],
        responses_b: Sequence[str],
        *,
        tokens: int = 16384,
        progress: bool = False,
    ) -> NDArray[np.float64]:
        """P(response_a is preferred) = sigmoid((score_a - score_b) / temperature): (N,), NaN where one is unscored."""
        scores_2N = self.score([*prompts, *prompts], [*responses_a, *responses_b], tokens=tokens, progress=progress)
        delta_N = scores_2N[: len(prompts)] - scores_2N[len(prompts) :]
        return sigmoid(delta_N / (self.card.temperature or 1.0))


def _given(prompts: Sequence[Prompt], responses: Sequence[str]) -> tuple[list[Prompt], list[str]]:
    """What is to be scored, checked as rows of a file are; a ValueError that says which of them is none."""
    for name, given in (("prompts", prompts), ("responses", responses)):
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            raise ValueError(f"{name} is {shown(given)}; expected a list, one entry for each response.")
    found: tuple[list[Prompt], list[str]] = list(prompts), list(responses)
    if len(found[0]) != len(found[1]):
        raise ValueError(f"got {len(found[0])} prompts and {len(found[1])} responses; expected as many of both.")
    for at, (prompt, response) in enumerate(zip(*found, strict=True)):
        try:
            found[0][at] = check_prompt(prompt)
            if not isinstance(response, str):
                raise ValueError(f"response is {shown(response)}; expected text.")
            check_text(response, "response")
        except ValueError as error:
            raise ValueError(f"row {at}: {error}") from None
    return found


def _align(model: Any) -> None:
    """Moves weights to addresses that are multiples of 64 bytes, in place.

    A checkpoint is mapped from its file at whatever address the header leaves, and the CPU's matrix kernels add up in
    another order at another alignment: the same weights then score 2e-7 apart, and a reload would not be the model.
    """
    for weight in model.parameters():
        if weight.device.type == "cpu" and weight.is_floating_point() and weight.data_ptr() % 64:
            weight.data = weight.data.clone()


def _load_model(
    path: str | Path, dtype: str, load_in_4bit: bool, device_map: str | None, trust_remote_code: bool
) -> Any:
    """The checkpoint at `path`; an adapter is put on its base model, with its own head."""
    from peft.utils import load_peft_weights
    from transformers import AutoModelForSequenceClassification

    from rlaif.models.adapters import adapter_config, put_adapter
    from rlaif.models.loading import device, keep_backward, load_pretrained, quantization, quiet, whole
    from rlaif.models.weights import check_files, check_finite

    adapter = adapter_config(path)
    base, revision, brought = str(path), None, set()
    if adapter:
        base, revision = adapter["base_model_name_or_path"], adapter.get("revision")
        check_files(path)
        brought = {name.removeprefix("base_model.model.") for name in load_peft_weights(str(path), device="cpu")}
    config = quantization(load_in_4bit)
    if config is not None:
        config.llm_int8_skip_modules = HEADS
    where = device_map if device_map is not None else ({"": device()} if config is not None else None)
    with whole():
        model, _ = load_pretrained(
            AutoModelForSequenceClassification,
            base,
            "reward model",
            may_be_new=lambda _, key: key in brought,
            trust_remote_code=trust_remote_code,
            revision=revision,
            num_labels=1,
            dtype=dtype,
            quantization_config=config,
            device_map=where,
        )
        if adapter:
            with quiet():
                model = put_adapter(model, path)
    # A reward model scores alike alone and as an adapter on a policy that is trained.
    model = keep_backward(model) if where is not None else model.to(device())
    check_finite(model, path)
    return model


def _from_hub(model: str) -> Path | None:
    """The card of a Hub model; None where the repository has none."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, METADATA))
    except LocalEntryNotFoundError:
        if isinstance(try_to_load_from_cache(model, "config.json"), str):
            return None  # offline, and what is there of the model has no card
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, HFValidationError, OSError):
        pass
    raise ValueError(
        f"{model} is neither a folder nor a Hub model that can be reached from here; expected what "
        "reward_models/bradley_terry.py wrote, or a sequence classifier with one label."
    )
