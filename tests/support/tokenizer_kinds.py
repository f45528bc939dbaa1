"""Tokenizers of all kinds, in memory, each with the same control tokens; chat templates in the shapes of known ones."""

from __future__ import annotations

from typing import Any

CONTROL = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "</s>", "<s>", "<unk>"]
NOT_SPECIAL = ["<think>", "</think>"]
KINDS = ("byte_bpe", "llama_bpe", "unigram", "wordpiece", "python")

TEMPLATES = {
    "chat": (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "gemma": (
        "{{ '<s>' }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{{ ('<|user|>' if m['role'] == 'user' else '<|assistant|>') + '\n' + m['content'] | trim + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
        "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{% if m['role'] == 'user' %}{{ '<s>[INST] ' + (system if loop.first else '') }}"
        "{{ m['content'].strip() + ' [/INST]' }}{% else %}{{ ' ' + m['content'].strip() + ' </s>' }}"
        "{% endif %}{% endfor %}"
    ),
    "qwen3": (
        "{% for m in messages %}{% set content = m['content'] %}{% set thought = '' %}"
        "{% if m['role'] == 'assistant' and '</think>' in content %}"
        "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
        "{{ '<|' + m['role'] + '|>\n' }}"
        "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}"
        "{{ content + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
        "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
        "{% endif %}{% endif %}"
    ),
    "shout": (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | lower }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "border": (
        "{% for m in messages %}<|{{ m['role'] }}|><{{ m['content'] }}|><|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "no_system": (
        "{% for m in messages if m['role'] != 'system' %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "last_turn": (
        "{% for m in messages[-1:] %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "parts": (
        "{% for m in messages %}<|{{ m['role'] }}|>{% for part in m['content'] %}{% if part['type'] == 'text' %}"
        "{{ part['text'] }}{% endif %}{% endfor %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "phi_dated": (
        "{{ '<|system|>' + strftime_now('%Y') + (tools | length if tools else '') | string + '<|end|>' }}"
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
    ),
}


def tokenizer_of(kind: str, template: str | None = None, **flags: bool) -> Any:
    """A tokenizer with CONTROL and NOT_SPECIAL as added tokens, and `flags` (lstrip, rstrip, ...) on those."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

    letters = [chr(code) for code in range(33, 127)] + ["é", "京"]
    if kind == "python":
        tokenizer: Any = ByT5Tokenizer(extra_ids=0)
        tokenizer.bos_token = "<s>"
        tokenizer.eos_token = "</s>"
    else:
        if kind == "byte_bpe":
            vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
            merges = [
                ("<", "|"),
                ("|", ">"),
                ("e", "n"),
                ("en", "d"),
                ("<|", "end"),
                ("<|end", "|>"),
                ("<", "/"),
                ("Ġ", "<"),
            ]
            for left, right in merges:
                vocabulary[left + right] = len(vocabulary)
            raw = Tokenizer(models.BPE(vocabulary, merges))
            raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            raw.decoder = decoders.ByteLevel()
        elif kind == "llama_bpe":
            pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "</", "s>"]
            vocabulary = {piece: i for i, piece in enumerate(pieces)}
            merges = [("<", "/"), ("s", ">"), ("</", "s>")]
            raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
            raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
            raw.decoder = decoders.Sequence(
                [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
            )
        elif kind == "unigram":
            scored = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("<|end|>", -0.5), ("▁", -2.0)]
            scored += [(letter, -3.0) for letter in letters] + [("▁the", -2.5), ("end", -2.5), ("<|", -2.5)]
            scored += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
            raw = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
            raw.normalizer = normalizers.NFKC()
            raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
            raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
        else:
            pieces = ["[PAD]", *CONTROL, "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), "end", "s"]
            vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
            raw = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
            raw.normalizer = normalizers.BertNormalizer(lowercase=True)
            raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")  # words whole, "<|end|>" among them
            raw.decoder = decoders.WordPiece()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=raw,
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            clean_up_tokenization_spaces=False,
        )
    own = CONTROL[:4] + (["<s>"] if kind == "python" else [])
    tokenizer.add_tokens([AddedToken(token, **{"special": True, "normalized": False, **flags}) for token in own])
    tokenizer.add_tokens([AddedToken(token, **{"normalized": False, **flags}) for token in NOT_SPECIAL])
    tokenizer.pad_token = "<unk>"
    if template:
        tokenizer.chat_template = TEMPLATES[template]
    return tokenizer
