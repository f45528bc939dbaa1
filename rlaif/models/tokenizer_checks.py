"""Whether a tokenizer is the one that was saved, and fits the model beside it.

transformers 5 chooses a tokenizer's class by the model_type of config.json in places. A class of its own (Qwen2's,
Llama's) takes the vocabulary and merges of tokenizer.json and writes the rest anew: the same file beside another
config.json then splits text elsewhere, without a word. And a token that was added without making the embeddings longer
is an index error in the middle of a run, or on a GPU an assertion without a name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlaif.models.weights import some

__all__ = ["check_embeddings", "check_faithful", "check_template"]

# Texts that pre-tokenizers treat differently: numbers, contractions, white space, scripts, accents that are composed or
# not, code, signs. No rare character and no white space at the start: there transformers' own classes differ from their
# models' files by a token and mean no harm (a ligature in DeBERTa's, a first space in Llama 2's).
_PROBES = (
    "Which response is better, 1 or 2? I'd say it's the first; they've 12345 reasons, 3.14 of them GOOD.",
    "one  two spaces,\ttabs\n\nand   lines\nend",
    "The na\u00efve caf\u00e9, the nai\u0308ve cafe\u0301: \u6771\u4eac\u306e\u5929 \u041f\u0440\u0438\u0432.",
    "def f(x: int) -> str:\n    return f'{x**2:,}'  # __init__ != <none> && a||b => \"q\" \\d+ {[()]}",
)
# Multimodal tokens that text never becomes: placeholders beyond the embeddings of a model for text (Gemma 3's).
_NOT_TEXT = ("image", "audio", "video", "boi", "eoi", "boa", "eoa", "vision")


def check_faithful(tokenizer: Any, model: str | Path, revision: str | None = None) -> None:
    """A ValueError unless `tokenizer`, loaded from `model`, splits text as the tokenizer.json there does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    file = _saved(model, revision)
    if backend is None or file is None:
        return
    from tokenizers import Tokenizer

    try:
        saved = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{file} cannot be read ({' '.join(str(error).split()):.150}); copy it again.") from None
    saved.no_truncation()
    saved.no_padding()
    known = tokenizer.get_vocab()
    if moved := sorted(token for token, index in saved.get_vocab().items() if known.get(token, index) != index):
        raise ValueError(
            f"the tokenizer of {model} loads otherwise than it was saved: {some(moved)} have other ids than in "
            f"{file.name}, because tokenizer_config.json or another file beside it says so. Save the tokenizer again."
        )
    for text in _PROBES:
        before, now = (_tokens(one, text) for one in (saved, backend))
        if before != now:
            raise ValueError(
                f"the tokenizer of {model} loads otherwise than it was saved: beside this config.json transformers "
                f"makes a {type(tokenizer).__name__} of it, which splits {text[:20]!r} into {len(now)} tokens and not "
                f"{len(before)} or into others. Put a tokenizer of that kind beside the model, or, if none has been "
                "trained with it yet, save it again as it loads (AutoTokenizer.from_pretrained, then save_pretrained)."
            )


def check_template(tokenizer: Any, model: str | Path) -> None:
    """A ValueError where the chat template of `model` is no Jinja: no conversation at all could be rendered.

    What else a template raises says that it refuses a conversation, which is the rows' matter.
    """
    from jinja2 import TemplateSyntaxError

    if not isinstance(tokenizer.chat_template, str):
        return
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "Which?"}], tokenize=False)
    except TemplateSyntaxError as error:
        raise ValueError(
            f"the chat template of {model} cannot be read ({' '.join(str(error).split()):.150}, at its line "
            f"{error.lineno}); expected a Jinja template. Mend it, or copy the tokenizer again."
        ) from None
    except Exception:  # a template is a program of others: what it raises is of any class
        return


def _tokens(backend: Any, text: str) -> list[tuple[int, str]]:
    encoding = backend.encode(text, add_special_tokens=False)
    # A tokenizer.json may pad to a fixed length, as those of sentence-transformers do.
    rows = zip(encoding.ids, encoding.tokens, encoding.attention_mask, strict=True)
    return [(index, token) for index, token, real in rows if real]


def _saved(model: str | Path, revision: str | None) -> Path | None:
    """The tokenizer.json of a folder or Hub id; None where there is none."""
    if Path(model).is_dir():
        file = Path(model) / "tokenizer.json"
        return file if file.is_file() else None
    from transformers.utils import cached_file

    found = cached_file(
        str(model),
        "tokenizer.json",
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return Path(found) if found else None


def check_embeddings(tokenizer: Any, rows: int, model: str | Path) -> None:
    """A ValueError where `tokenizer` has ids that the model's embeddings, `rows` of them, do not have."""
    not_text = {
        str(token)
        for name, token in tokenizer.special_tokens_map.items()
        if name.startswith(_NOT_TEXT) and isinstance(token, str)
    }
    beyond = {token: index for token, index in tokenizer.get_vocab().items() if index >= rows and token not in not_text}
    if beyond:
        listed = some((f"{token!r} ({index})" for token, index in beyond.items()))
        raise ValueError(
            f"the tokenizer of {model} has {listed}, but the model's embeddings end at {rows - 1}: tokens were added "
            "without new rows. Call model.resize_token_embeddings(len(tokenizer)) and save the model, or take the "
            "tokenizer without them."
        )
