"""Tokenizers of a few hundred tokens or fewer, built in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

WORD_TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }} </s> {% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
)
WORDS = ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "d"]  # ids 0, 1, ...


def byte_tokenizer(chat: bool, eos: str | None = "</s>", merges: Sequence[tuple[str, str]] = ()) -> Any:
    """256 bytes, three special tokens, and one for each of `merges`: any text becomes tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for token in ("<pad>", "<s>", "</s>"):
        vocabulary[token] = len(vocabulary)
    for merged in map("".join, merges):
        vocabulary[merged] = len(vocabulary)
    raw = Tokenizer(models.BPE(vocabulary, [*merges]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token=eos, clean_up_tokenization_spaces=False
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def word_tokenizer(
    chat: bool | str = False, words: Sequence[str] = WORDS, letters: bool = False, **special: Any
) -> Any:
    """One token for each of `words`, which blanks separate; or for each letter, and blanks are of them.

    Args:
        chat: a chat template, or True for a plain one.
        words: their places are their ids.
        special: its special tokens by name, instead of those of WORDS; the rest are settings of the tokenizer. One
            with a `cls_token` and a `sep_token` puts prompt and response into two segments, as BERT's does.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import BertProcessing
    from transformers import PreTrainedTokenizerFast

    special = special or {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    ids = {word: i for i, word in enumerate(words)}
    raw = Tokenizer(models.WordLevel(ids, unk_token=special["unk_token"]))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated") if letters else pre_tokenizers.WhitespaceSplit()
    if special.get("sep_token"):
        first, last = special["cls_token"], special["sep_token"]
        raw.post_processor = BertProcessing((last, ids[last]), (first, ids[first]))
        special["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **special)
    if chat:
        tokenizer.chat_template = WORD_TEMPLATE if chat is True else chat
    return tokenizer


def bert_tokenizer(folder: Path) -> Any:
    """A word-piece tokenizer with CLS and SEP and neither BOS nor EOS, as BERT's."""
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "up", "?", "the", "sky", "##s"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return BertTokenizer(str(folder / "vocab.txt"))
