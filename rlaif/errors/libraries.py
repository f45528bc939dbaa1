"""Whose fault an exception is, and its words: a user's mistake, a library's refusal, or a bug of this code (none).

It is told apart by where it was raised. A ValueError of a `raise` in this code is a user's mistake, in our own words.
What a library raised becomes a line that names the library, or what it asks for where that is known. Everything else
is a bug: a KeyError of ours, a ValueError that no `raise` of ours made (`int("x")`), a TypeError in the standard
library. A bug keeps its traceback.
"""

from __future__ import annotations

import dis
import errno
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

__all__ = ["in_words", "installed_as"]

# A full disk, a folder that may not be written, a file where a folder should be, a connection: not a bug to trace.
_FILE_TROUBLE = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_FILE_TROUBLE |= {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY}
_FILE_TROUBLE |= {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY, errno.ESTALE, errno.EXDEV, errno.ETXTBSY}
_FILE_TROUBLE |= {errno.EADDRINUSE, errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH}
_FILE_TROUBLE |= {errno.ENETUNREACH, errno.EPIPE}

_HOUSE = Path(__file__).parents[1]
_ROOMS = tuple(
    f"{folder}/" for folder in (_HOUSE, *(_HOUSE.parent / name for name in ("recipes", "reward_models", "scripts")))
)
_HERE = f"{Path(__file__).parent}/"
_PATHS = sysconfig.get_paths()
_INSTALLED = tuple({f"{_PATHS[name]}/" for name in ("purelib", "platlib")})
_STANDARD = tuple({f"{_PATHS[name]}/" for name in ("stdlib", "platstdlib")})

# What is asked for by a setting, and how it is installed or done without.
_ASKED_FOR = {
    "bitsandbytes": "--load_in_4bit and the optimizers with bnb or 8bit in their names need it",
    "deepspeed": "--deepspeed and an accelerate config with DeepSpeed need it",
    "flash_attn": "--attn_implementation flash_attention_2 needs it; sdpa does not",
    "kernels": "an --attn_implementation of the Hub needs it; sdpa does not",
    "liger_kernel": "--use_liger_kernel needs it",
    "tensorboard": "--report_to tensorboard needs it",
    "vllm": "--use_vllm needs it",
    "wandb": "--report_to wandb needs it",
}

# What is installed under another name than it is imported by, beside "-" for "_".
_INSTALLED_AS = {"azureml": "azureml-sdk", "flash_attn_interface": "flash-attn-3", "optimi": "torch-optimi"}

# Library's words (a regular expression), and ours; \1 is what the expression's group found.
_SAYS = [
    (r"didn't pass an `eval_dataset`",
     "eval_strategy measures on held-out rows, and there are none; give --test_split, or leave it out"),
    (r"Target modules .* not found in the base model",
     "lora_target_modules names no layer of the model; leave it out for every linear layer"),
    (r"CUDA out of memory|CUBLAS_STATUS_ALLOC_FAILED|out of memory",
     "the device has too little memory for this; take a smaller batch, shorter texts, a smaller model, --lora true or "
     "--gradient_checkpointing true"),
    (r"No CUDA GPUs are available|Found no NVIDIA driver|Torch not compiled with CUDA",
     "a GPU is asked for, and there is none that PyTorch can use; take a launch file without one, such as "
     "recipes/accelerate/cpu.yaml, and no --bf16 or --fp16"),
    (r"[Ii]nvalid device ordinal",
     "more processes are started than there are GPUs; set num_processes of the launch file to their number"),
    (r"NCCL error|ProcessGroupNCCL is only supported with GPUs",
     "the processes could not be tied together over NCCL, which needs a GPU for each; set num_processes of the launch "
     "file to the number of GPUs, or take a launch file for CPUs"),
    (r"InvalidCxxCompiler|No working C\+\+ compiler|Failed to find C compiler|C compiler",
     "--torch_compile needs a C++ compiler, and none was found; install one (g++), or leave it out"),
    (r"(?:Header|header)[ A-Za-z]*(?:too large|too small|Large|Small|Incomplete)|MetadataIncompleteBuffer|"
     r"deserializing header|incomplete metadata",
     "a .safetensors file is cut short or is none; copy or download it again"),
    (r"PytorchStreamReader|invalid magic number|unexpected EOF, expected",
     "a file of weights or of a checkpoint is cut short or is none; copy it again"),
]  # fmt: skip


def in_words(error: Exception) -> str | None:
    """One line for what a user can mend; None for a bug.

    Args:
        error: as it was caught, with its traceback.
    """
    frames = [*_frames(error)]
    owner, place = _owner(frames)
    if isinstance(error, ImportError):
        return _not_installed(error)
    if isinstance(error, MemoryError):
        return "there is too little memory for this; take smaller batches, fewer rows or a smaller model."
    if isinstance(error, ValueError):
        if _owner_of(frames[-1][0].f_code.co_filename) == "ours" and not (
            _is_raised(frames[-1]) or _of_the_data(error)
        ):
            return None
        if owner != "library" or isinstance(error, UnicodeError):
            return _text(error)
        return _known(error) or _text(error)
    if isinstance(error, OSError):
        if error.errno in _FILE_TROUBLE:
            return f"{error.strerror or _text(error)}: {_path(error)}; what was stored is kept."
        if isinstance(error, ConnectionError | TimeoutError):
            return f"a connection failed ({_text(error)})."
        if error.errno is not None or owner == "ours":
            return None
    if owner != "library" and not _library_of(error):
        return None
    if words := _known(error):
        return words
    library = _library_of(error) or _owner_name(frames)
    where = f", called from {place}" if place else ""
    return (
        f"{library} failed ({type(error).__name__}: {_text(error):.300}){where}; RLAIF_TRACEBACK=1 in the environment "
        "shows where."
    )


def installed_as(package: str) -> str:
    """What pip calls a package that is imported as `package`."""
    return _INSTALLED_AS.get(package, package.replace("_", "-"))


def _not_installed(error: ImportError) -> str | None:
    name = (error.name or "").partition(".")[0]
    said = _text(error)
    if name in {"rlaif", "recipes", "reward_models"}:
        return None
    if isinstance(error, ModuleNotFoundError) and name.isidentifier():
        why = f"; {_ASKED_FOR[name]}" if name in _ASKED_FOR else ""
        return f"the package {name} is not installed{why}. Install it (pip install {installed_as(name)})."
    for package, why in _ASKED_FOR.items():
        if re.search(package.replace("_", "[-_ ]?"), said, re.IGNORECASE):
            return f"{package} is not installed or cannot be used here ({said:.200}); {why}."
    return f"a package is missing or cannot be used here ({said:.300})."


def _known(error: Exception) -> str | None:
    """Our words for what libraries are known to say."""
    said = f"{type(error).__name__}: {error}"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}:
        return f"the Hub is not reached, and what is asked for is not in the cache here ({_text(error):.200})."
    if kinds & {"GatedRepoError"}:
        return (
            f"the Hub wants its terms accepted and a token first: `hf auth login`, or HF_TOKEN ({_text(error):.200})."
        )
    if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"}:
        return f"the Hub has no such repository, revision or file, or wants a token for it ({_text(error):.200})."
    if kinds & {"HfHubHTTPError", "HTTPError", "RequestException", "TransportError"}:
        return f"a request failed ({_text(error):.200}); try again, or load from a folder."
    if kinds & {"TemplateError"}:
        return f"the chat template cannot be used ({_text(error):.200}); mend it in the tokenizer's folder."
    for pattern, words in _SAYS:
        if re.search(pattern, said):
            return f"{words} ({_text(error):.200})."
    return None


def _text(error: BaseException) -> str:
    """What it says, on one line; a set of Python's is a list of names."""
    said = re.sub(r"\{('[^{}:]*')\}", lambda names: names[1].replace("'", ""), str(error))
    return " ".join(said.split()) or type(error).__name__


def _path(error: OSError) -> str:
    name = error.filename
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return "while writing" if name is None or isinstance(name, int) else str(name)


def _of_the_data(error: ValueError) -> bool:
    """A text that is no text: what a file holds, not what this code does."""
    return isinstance(error, UnicodeError) or "null byte" in str(error) or "null character" in str(error)


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lasti
        trace = trace.tb_next


# `raise`, and the steps of an `await`, which has what was awaited raise.
_RAISING = {"RAISE_VARARGS", "RERAISE", "SEND", "YIELD_VALUE", "RESUME", "JUMP_BACKWARD_NO_INTERRUPT", "CLEANUP_THROW"}


def _is_raised(at: tuple[FrameType, int]) -> bool:
    """Whether a frame is at a `raise` of its own or awaits one, and not at a call or an operator that failed."""
    frame, last = at
    return last >= 0 and dis.opname[frame.f_code.co_code[last]] in _RAISING


def _owner(frames: list[tuple[FrameType, int]]) -> tuple[str, str]:
    """Who raised: "ours", "library" or "theirs" (a user's module), and the last place of ours before.

    What the standard library raised is whose it was called by.
    """
    owner, place = "theirs", ""
    for frame, _ in frames:
        file = frame.f_code.co_filename
        if (here := _owner_of(file)) != "standard":
            owner = here
        if here == "ours" and not file.startswith(_HERE):
            place = f"{Path(file).parent.name}/{Path(file).name}, {frame.f_code.co_name}"
    return owner, place


def _owner_of(file: str) -> str:
    if file.startswith(_ROOMS):
        return "ours"
    if file.startswith(_INSTALLED) or "/site-packages/" in file or file in {"<template>", "<unknown>"}:
        return "library"
    if file.startswith(_STANDARD) or file.startswith("<frozen"):
        return "standard"
    return "theirs" if Path(file).is_absolute() or file.startswith("<") else "library"  # Cython: "pyarrow/error.pxi"


def _owner_name(frames: list[tuple[FrameType, int]]) -> str:
    """The name of the library that an exception was raised in."""
    file = next(
        frame.f_code.co_filename for frame, _ in reversed(frames) if _owner_of(frame.f_code.co_filename) == "library"
    )
    inside = file.rpartition("site-packages/")[2] if "site-packages/" in file else file
    return inside.partition("/")[0].removesuffix(".py")


def _library_of(error: BaseException) -> str | None:
    """The library whose class this exception is: those of Rust and C leave no frame."""
    for kind in type(error).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in _SPEAKING:
            return _SPEAKING[name]
        if name == "builtins":
            return None
    return None


_SPEAKING = {
    **{name: name for name in ("accelerate", "aiohttp", "datasets", "httpx", "huggingface_hub", "jinja2", "peft")},
    **{name: name for name in ("pyarrow", "requests", "safetensors", "tokenizers", "torch", "transformers", "trl")},
    **{name: name for name in ("bitsandbytes", "deepspeed", "matplotlib", "vllm", "wandb")},
    "safetensors_rust": "safetensors",
    "hf_xet": "huggingface_hub",
    "httpx2": "httpx",
}
