"""Settings that need a package, a compiler or a GPU: known before anything is loaded or asked, in one line each."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any

from rlaif.errors.libraries import installed_as
from rlaif.errors.words import one_of

__all__ = ["check_attention", "check_four_bit", "check_training"]

# Setting's value -> the package that it needs, as it is imported.
_REPORTERS = {
    "azure_ml": "azureml",
    "clearml": "clearml",
    "codecarbon": "codecarbon",
    "comet_ml": "comet_ml",
    "dagshub": "dagshub",
    "dvclive": "dvclive",
    "flyte": "flytekit",
    "kubeflow": "kubeflow",
    "mlflow": "mlflow",
    "neptune": "neptune",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
_OPTIMIZERS = {
    "adalomo": "lomo_optim",
    "adamw_8bit": "bitsandbytes",
    "adamw_anyprecision": "torchdistx",
    "adamw_torch_4bit": "torchao",
    "adamw_torch_8bit": "torchao",
    "adamw_torch_npu_fused": "torch_npu",
    "adamw_torch_xla": "torch_xla",
    "ademamix": "bitsandbytes",
    "apollo": "apollo_torch",
    "galore": "galore_torch",
    "grokadamw": "grokadamw",
    "lion": "bitsandbytes",
    "lomo": "lomo_optim",
    "paged": "bitsandbytes",
    "rmsprop_bnb": "bitsandbytes",
    "schedule_free": "schedulefree",
    "stable_adamw": "optimi",
}
_ATTENTION = {
    "eager": "",
    "sdpa": "",
    "flex_attention": "",
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn",
}


def check_training(args: Any) -> None:
    """A ValueError for the first setting of a trainer's that needs what is not there.

    Args:
        args: a TrainingArguments, before its own `__post_init__`.
    """
    report_to = args.report_to
    for name in [report_to] if isinstance(report_to, str) else report_to or []:
        if name in ("all", "none"):
            continue
        if name not in _REPORTERS:
            raise ValueError(f"report_to is {name!r}; {one_of(name, ('none', 'all', *_REPORTERS))}")
        if name != "tensorboard" or not _is_there("tensorboardX"):
            _needs(f"report_to {name}", _REPORTERS[name])
    optim = str(getattr(args.optim, "value", args.optim))
    if package := next((p for start, p in _OPTIMIZERS.items() if optim == start or optim.startswith(f"{start}_")), ""):
        _needs(f"optim {optim}", package)
    if "bnb" in optim:
        _needs(f"optim {optim}", "bitsandbytes")
    if args.deepspeed:
        _needs("deepspeed", "deepspeed")
    if args.use_liger_kernel:
        _needs("use_liger_kernel", "liger_kernel")
    if getattr(args, "use_vllm", False):
        _needs("use_vllm", "vllm")
    if (args.torch_compile or args.torch_compile_mode) and args.torch_compile_backend in (None, "inductor"):
        compilers = [os.environ.get("CXX", ""), "g++", "clang++", "c++", "gcc", "clang"]
        if not any(shutil.which(name) for name in compilers if name):
            raise ValueError("torch_compile needs a C++ compiler, and none is found; install g++, or leave it out.")
    if args.ddp_backend and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            f"ddp_backend is {args.ddp_backend}, but there is one process; it ties several together. Start them with "
            "`accelerate launch`, or leave it out."
        )
    if args.ddp_backend == "nccl" or args.tf32:
        import torch

        if not torch.cuda.is_available():
            name = "tf32" if args.tf32 else "ddp_backend nccl"
            raise ValueError(f"{name} needs a GPU, and PyTorch finds none; leave it out.")


def check_attention(name: str | None) -> None:
    """A ValueError for an `attn_implementation` that is not known, or whose package is not there."""
    if name is None:
        return
    if "/" not in name and name not in _ATTENTION:
        raise ValueError(f"attn_implementation is {name!r}; {one_of(name, _ATTENTION)}")
    if package := _ATTENTION.get(name, "kernels"):  # else a kernel of the Hub, owner/name
        _needs(f"attn_implementation {name}", package, "or take sdpa")


def check_four_bit(load_in_4bit: bool) -> None:
    """A ValueError for `load_in_4bit` where its package is not there."""
    if load_in_4bit:
        _needs("load_in_4bit", "bitsandbytes")


def _needs(setting: str, package: str, instead: str = "or leave it out") -> None:
    if not _is_there(package):
        name = installed_as(package)
        raise ValueError(f"{setting} needs the package {name}, which is not installed; install it, {instead}.")


def _is_there(package: str) -> bool:
    return find_spec(package) is not None
