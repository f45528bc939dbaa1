"""Reward models that were trained elsewhere: what is known of them without an `rlaif.json`, and what is assumed.

Taken is what scores as its model card says: a sequence classifier with one label. Of a decoder (Skywork's, say) the
conversation is rendered in its own chat template, as it stands; an encoder without one (OpenAssistant's DeBERTa) reads
the pair of prompt and response. The longest conversation, the precision and the padding are those of its config. What
its mean is, and whether its differences are log-odds, is not known.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rlaif.models.loading import NeedsCode
from rlaif.models.rendering import Rendering

__all__ = ["assumed_rendering", "check_one_label", "longest", "padding_of"]

_LONGEST = 1 << 20  # tokenizers say 10 ** 30 where they do not know


# Classifiers of other things than a sequence, which have labels in their config too.
_OTHER_CLASSIFIERS = {
    "ForTokenClassification": "labels each token and gives no score to the whole",
    "ForImageClassification": "labels images",
    "ForVideoClassification": "labels videos",
    "ForAudioFrameClassification": "labels each frame of a sound",
    "ForMultipleChoice": "chooses among answers that it reads together",
    "ForNextSentencePrediction": "tells whether one sentence follows another",
}


def check_one_label(config: Any, model: str | Path, trust_remote_code: bool = False) -> None:
    """A ValueError unless a model, by its config, is a sequence classifier with one label."""
    named = (getattr(config, "architectures", None) or ["model of no known architecture"])[0]
    custom = "AutoModelForSequenceClassification" in (getattr(config, "auto_map", None) or {})
    whose = f"{model} has no rlaif.json and is a {named}"
    wanted = "expected what reward_models/bradley_terry.py wrote, or a sequence classifier with one label"
    classifies = "Classification" in named or named.endswith(tuple(_OTHER_CLASSIFIERS))
    if not custom and not classifies and "Reward" not in named:
        raise ValueError(f"{whose}, which gives no score; {wanted}.")
    what = next((words for kind, words in _OTHER_CLASSIFIERS.items() if named.endswith(kind)), None)
    if what is not None:
        raise ValueError(f"{whose}, which {what}; {wanted}.")
    labels = int(config.num_labels)
    if labels != 1:
        raise ValueError(f"{whose} with {labels} labels, of which none is the reward; {wanted}.")
    if custom and not trust_remote_code and not named.endswith("ForSequenceClassification"):
        raise NeedsCode(model)
    if not custom and not named.endswith("ForSequenceClassification"):
        raise ValueError(f"{whose} with {labels} label, which transformers does not know; {wanted}.")


def assumed_rendering(tokenizer: Any, model: str | Path) -> tuple[Rendering, str]:
    """The rendering to assume of a reward model that names none, and in words what is assumed.

    Raises:
        ValueError: none can be assumed.
    """
    if not tokenizer.chat_template and tokenizer.cls_token and tokenizer.sep_token:
        pair = dataclasses.replace(Rendering.of(tokenizer), kind="pair")
        return pair, "a pair of prompt and response, as its encoder takes two texts (it has no rlaif.json)"
    try:
        return Rendering.assumed(tokenizer), "its own chat template (it has no rlaif.json)"
    except ValueError as error:
        raise ValueError(
            f"{model} has no rlaif.json, so the format that it was trained in is unknown, and {error} Or give what "
            "reward_models/bradley_terry.py wrote."
        ) from None


# Their positions are counted from the one after the padding token's number: so many of the table are never used.
_COUNTED_FROM_PADDING = {
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "xmod", "data2vec-text"),
    *("longformer", "ibert", "luke", "mpnet"),
}


def longest(config: Any, tokenizer: Any) -> int:
    """The longest conversation that a model reads, in tokens, by its config and its tokenizer."""
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if positions is not None and text.model_type in _COUNTED_FROM_PADDING:
        positions -= (1 if text.pad_token_id is None else text.pad_token_id) + 1
    known = [positions, tokenizer.model_max_length]
    lengths = [int(length) for length in known if isinstance(length, int | float) and 0 < length < _LONGEST]
    return min(lengths, default=_LONGEST)


def padding_of(config: Any, tokenizer: Any) -> str:
    """The token to pad with: the config's own, where it names one.

    A decoder's score is read at the last token that is not the config's padding. Where that is the end-of-text token,
    the score was trained on the token before it; another padding would read another score.
    """
    index = getattr(config.get_text_config(), "pad_token_id", None)
    token = tokenizer.convert_ids_to_tokens(index) if isinstance(index, int) and 0 <= index < len(tokenizer) else None
    return str(token or tokenizer.pad_token)
