"""Names in a folder of a trained model: what a loader goes by, and what is a checkpoint of a run.

Only exact names: a folder may hold other files of its owner's, called tokenizer_notes.txt or data.bin.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["NUMBERED", "is_checkpoint", "is_generated_card", "is_read_by_a_loader", "pieces_of", "weights_fingerprint"]

NUMBERED = re.compile(r"checkpoint-\d+")
_READ = re.compile(
    r"""
    (config|adapter_config|generation_config|processor_config|preprocessor_config)\.json
    | (model|adapter_model)(-\d+-of-\d+)?\.safetensors | model\.safetensors\.index\.json
    | (pytorch_model|adapter_model)(-\d+-of-\d+)?\.bin | pytorch_model\.bin\.index\.json
    | tokenizer(_config)?\.json | tekken\.json | special_tokens_map\.json | added_tokens\.json
    | vocab\.(json|txt|bpe) | merges\.txt | (tokenizer|spiece|sentencepiece(\.bpe)?|spm)\.model
    | chat_template\.(jinja|json) | additional_chat_templates
    | rlaif\.json | trainer_state\.json | training_args\.bin | global_step\d+ | zero_to_fp32\.py
    """,
    re.VERBOSE,
)
_OF_NUMBERED = ("trainer_state.json", "training_args.bin", "run.json", "optimizer.pt", "scheduler.pt")


def is_read_by_a_loader(path: Path) -> bool:
    """Whether something in a model's folder changes what is loaded, or how a run goes on, whoever put it there."""
    if path.name == "latest":  # DeepSpeed's pointer to its folder
        return path.is_file() and path.read_bytes()[:11] == b"global_step"
    return _READ.fullmatch(path.name) is not None


def is_generated_card(path: Path) -> bool:
    """Whether a README.md is the draft that TRL writes beside checkpoints, not anybody's own."""
    if path.name != "README.md" or not path.is_file():
        return False
    head = path.read_bytes()[:1_000]
    return head.startswith(b"---\n") and b"\n- generated_from_trainer\n" in head


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint of a run, whole or cut off by a kill: by its name and what it holds."""
    if not NUMBERED.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    inside = list(path.iterdir())
    return not inside or any(entry.name in _OF_NUMBERED or is_read_by_a_loader(entry) for entry in inside)


_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
_PIECE, _PIECES = 1 << 16, 64


def weights_fingerprint(folder: str | Path) -> str:
    """What tells the weights in a model's folder from others, whatever else is written there.

    Of each file its size and `pieces_of` it are read: 100 GB take no longer than 1 GB. What a process has read once is
    read again only where a file was written since.
    """
    files = sorted(path for path in Path(folder).iterdir() if _WEIGHTS.fullmatch(path.name))
    return _of_weights(
        tuple((file.absolute(), (at := file.stat()).st_size, at.st_mtime_ns, at.st_ino) for file in files)
    )


@functools.lru_cache(maxsize=64)
def _of_weights(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, size, _, _ in files:
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as handle:
            for piece in pieces_of(handle, size):
                digest.update(piece)
    return f"sha256:{digest.hexdigest()[:16]}"


def pieces_of(file: IO[bytes], size: int) -> Iterator[bytes]:
    """64 pieces of 64 KiB of a file, from its first to its last byte in equal steps: some of every large matrix."""
    for at in range(_PIECES):
        file.seek(max(size - _PIECE, 0) * at // (_PIECES - 1))
        yield file.read(_PIECE)
