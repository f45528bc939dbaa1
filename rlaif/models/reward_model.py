"""A trained reward model, loaded so that it scores exactly as it did when it was measured.

A reward model is a folder: a one-label `AutoModelForSequenceClassification` checkpoint (or a LoRA adapter with its
head) and its tokenizer, which anyone can load, plus `rlaif.json`: what else has to be the same for a score to mean the
same. Rendering, maximum length, precision and quantization are read from it, and the rendering is checked against the
tokenizer beside it.

    reward_model = RewardModel.load("runs/quickstart/reward_model")
    scores_N = reward_model.score(prompts, responses)        # raw; differences are log-odds
    rewards_N = scores_N - reward_model.zero                 # 0: an average response of the training data

A Bradley-Terry model is known up to a constant: only differences were trained. `zero` fixes that constant.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.files.sources import write_json
from rlaif.metrics import sigmoid
from rlaif.models.batching import plan_batches, split_on_oom
from rlaif.models.rendering import Rendering
from rlaif.records import Prompt

__all__ = ["METADATA", "RewardModel", "RewardModelCard"]

METADATA = "rlaif.json"
# A head is never quantized: it is new, trained in full, and as small as one row of a matrix.
HEADS = ["score", "classifier", "pooler", "pre_classifier"]
VERSION = 1


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

    @classmethod
    def read(cls, folder: str | Path) -> RewardModelCard:
        """The card of a reward model's folder or Hub id; a ValueError if there is none or it is of a later version."""
        path = Path(folder) / METADATA
        if not Path(folder).exists():
            path = _from_hub(str(folder))
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {METADATA}, so the format that it was trained in is unknown; expected a folder that "
                "reward_models/bradley_terry.py wrote."
            )
        row = json.loads(path.read_text(encoding="utf-8"))
        if row.get("version") != VERSION:
            raise ValueError(
                f"{path} is of version {row.get('version')!r}; this rlaif reads version {VERSION}. Update rlaif, or "
                "train the reward model again."
            )
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in names})

    def write(self, folder: str | Path) -> None:
        """Writes `rlaif.json`, whole or not at all."""
        write_json(Path(folder) / METADATA, dataclasses.asdict(self))


@dataclass
class RewardModel:
    """A sequence-classification model with one label, and all that its scores depend on.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: its own.
        rendering: how a conversation becomes its tokens.
        card: the content of its `rlaif.json`.
        unscored: how many conversations the last `score` left unscored (NaN): longer than `card.max_length`.
    """

    model: Any
    tokenizer: Any
    rendering: Rendering
    card: RewardModelCard
    unscored: int = 0

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
    ) -> RewardModel:
        """A reward model from its folder or Hub id, on this process's device.

        Args:
            path: what reward_models/bradley_terry.py wrote; an adapter's folder loads its base model and head too.
            dtype: "float32", "bfloat16" or "float16"; None: as it was measured. Others change the scores.
            load_in_4bit: whether to quantize the base model; None: as it was trained.
            device_map: "auto" spreads a model too large for one device.

        Raises:
            ValueError: no `rlaif.json`, no tokenizer, a tokenizer that is not the one trained with, no model.
        """
        from rlaif.models.loading import load_tokenizer

        card = RewardModelCard.read(path)
        tokenizer = load_tokenizer(path)
        rendering = Rendering.of(tokenizer)
        rendering.check(card.rendering, str(path))
        dtype = card.dtype if dtype is None else dtype
        load_in_4bit = card.load_in_4bit if load_in_4bit is None else load_in_4bit
        model = _load_model(path, dtype, load_in_4bit, device_map)
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        return cls(model.eval(), tokenizer, rendering, card)

    @property
    def zero(self) -> float:
        """What to subtract from a score so that 0 is an average response of the training data; 0 where unknown."""
        return self.card.zero or 0.0

    def score(
        self, prompts: Sequence[Prompt], responses: Sequence[str], *, tokens: int = 16384, progress: bool = False
    ) -> NDArray[np.float64]:
        """The raw score of each response to its prompt: (N,), NaN where prompt and response exceed `max_length`.

        Deterministic: batches follow from the lengths alone, so equal calls give equal bits. (A response among other
        neighbours is padded differently, which moves a float32 score by about 1e-7.)

        Args:
            prompts, responses: N each.
            tokens: the size of a batch, padding included; a batch that does not fit into memory is halved.
            progress: show a bar.
        """
        import torch
        from tqdm.auto import tqdm

        from rlaif.models.loading import quiet

        if len(prompts) != len(responses):
            raise ValueError(f"got {len(prompts)} prompts and {len(responses)} responses; expected as many of both.")
        with quiet():  # a tokenizer warns of a sequence longer than its model's: those stay unscored
            encoded = [
                self.rendering.encode(self.tokenizer, prompt, response)
                for prompt, response in zip(prompts, responses, strict=True)
            ]
        scores_N = np.full(len(encoded), np.nan)
        fits = [i for i, conversation in enumerate(encoded) if len(conversation) <= self.card.max_length]
        self.unscored = len(encoded) - len(fits)
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
            for plan in plan_batches([len(encoded[i]) for i in fits], tokens):
                batch = [fits[i] for i in plan]
                scores_N[batch] = split_on_oom(run, batch)
                bar.update(len(batch))
        return scores_N

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


def _align(model: Any) -> None:
    """Moves weights to addresses that are multiples of 64 bytes, in place.

    A checkpoint is mapped from its file at whatever address the header leaves, and the CPU's matrix kernels add up in
    another order at another alignment: the same weights then score 2e-7 apart, and a reload would not be the model.
    """
    for weight in model.parameters():
        if weight.device.type == "cpu" and weight.is_floating_point() and weight.data_ptr() % 64:
            weight.data = weight.data.clone()


def _load_model(path: str | Path, dtype: str, load_in_4bit: bool, device_map: str | None) -> Any:
    """The checkpoint at `path`; an adapter is put on its base model, with its own head."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from rlaif.models.loading import adapter_config, device, keep_backward, quantization, quiet, whole

    adapter = adapter_config(path)
    base, revision = (adapter["base_model_name_or_path"], adapter.get("revision")) if adapter else (str(path), None)
    config = quantization(load_in_4bit)
    if config is not None:
        config.llm_int8_skip_modules = HEADS
    where = device_map if device_map is not None else ({"": device()} if config is not None else None)
    with quiet(), whole():
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                base, revision=revision, num_labels=1, dtype=dtype, quantization_config=config, device_map=where
            )
        except (OSError, ValueError) as error:
            first = " ".join(str(error).split())[:200]
            raise ValueError(
                f"no reward model could be loaded from {base} ({first}); expected a one-label sequence-classification "
                "checkpoint, or the base model of an adapter."
            ) from None
        if adapter:
            model = PeftModel.from_pretrained(model, str(path))
    # A reward model scores alike alone and as an adapter on a policy that is trained.
    return keep_backward(model) if where is not None else model.to(device())


def _from_hub(model: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, METADATA))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        raise ValueError(
            f"{model} is neither a folder nor a Hub model with a {METADATA} that can be reached from here; expected "
            "what reward_models/bradley_terry.py wrote."
        ) from None
