"""One run of TRL 1.12.0's PPOTrainer, the last PPO that TRL had: the other side of recipes/ablations/compare_ppo.yaml.

    python3 -m venv runs/trl112 && runs/trl112/bin/pip install trl==1.12.0
    runs/trl112/bin/python scripts/trl_ppo.py --config settings.yaml

Runs under the Python of an environment of its own, and imports nothing of rlaif. Settings come as a YAML file; the
policy's checkpoints go to `output`, with report.json: samples, seconds of train(), bytes of the weights held.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass
class Settings:
    """The same numbers as recipes/ppo.py's, in words of TRL's where it has others."""

    policy: str
    reward_model: str
    prompts: str
    output: str
    seed: int = 0
    samples: int = 2000  # responses in all
    batch: int = 100  # responses in a rollout
    minibatches: int = 4  # optimizer steps in one pass over a rollout
    epochs: int = 4  # passes over a rollout
    learning_rate: float = 5e-5
    kl_coef: float = 0.05
    value_coef: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 0.95
    cliprange: float = 0.2
    value_clip: float = 0.2
    missing_eos_penalty: float = 1.0
    response_length: int = 40
    checkpoints: int = 4  # saved after equal numbers of samples, the last at the end


SETTINGS = (Settings,)
READS = {"policy": "model", "reward_model": "model", "prompts": "file"}
LEARNS = ({"source": "prompts"},)  # as rlaif.files.reads.Rows
NEEDS = {"trl": "1.12.0"}


def main(path: str) -> None:
    import yaml

    settings = Settings(**yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from trl.experimental.ppo import PPOTrainer

    # PPOTrainer seeds torch, but not NumPy, which it draws its minibatches with.
    set_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(settings.policy, padding_side="left", trust_remote_code=False)
    lines = Path(settings.prompts).read_text(encoding="utf-8").splitlines()
    rows = [{"input_ids": prompt_ids(tokenizer, json.loads(line)["prompt"])} for line in lines]

    def reward_model() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            settings.reward_model, num_labels=1, trust_remote_code=False
        )

    def policy() -> Any:
        return AutoModelForCausalLM.from_pretrained(settings.policy, trust_remote_code=False)

    models = {"policy": policy(), "reference": policy(), "critic": reward_model(), "reward": reward_model()}
    trainer = PPOTrainer(
        args=arguments(settings),
        processing_class=tokenizer,
        model=models["policy"],
        ref_model=models["reference"],
        reward_model=models["reward"],
        value_model=models["critic"],
        train_dataset=Dataset.from_list(rows),
        # It builds a loader of it whether or not it is used.
        eval_dataset=Dataset.from_list(rows[: settings.batch]),
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    weights = {role: sum(w.nbytes for w in model.parameters()) for role, model in models.items()}
    samples = trainer.state.episode
    train = {
        "samples": samples,
        "seconds": seconds,
        "samples_per_second": samples / seconds,
        "weights": weights,
        "weights_total": sum(weights.values()),
    }
    report = {"train": train, "log": trainer.state.log_history}
    Path(settings.output, "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """The tokens that generation starts from, those of rlaif's rendering: (P,)."""
    messages = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def arguments(settings: Settings) -> Any:
    """PPOConfig of the settings; what is not named here is TRL's default."""
    from trl.experimental.ppo import PPOConfig

    return PPOConfig(
        output_dir=settings.output,
        seed=settings.seed,
        total_episodes=settings.samples,
        # The rollout batch in one piece: accelerate accumulates over `gradient_accumulation_steps` micro-batches
        # whatever `num_mini_batches` says, so only without accumulation is a minibatch one optimizer step.
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=1,
        local_rollout_forward_batch_size=settings.batch,
        num_mini_batches=settings.minibatches,
        num_ppo_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        kl_coef=settings.kl_coef,
        vf_coef=settings.value_coef,
        gamma=settings.gamma,
        lam=settings.gae_lambda,
        cliprange=settings.cliprange,
        cliprange_value=settings.value_clip,
        missing_eos_penalty=settings.missing_eos_penalty,
        response_length=settings.response_length,
        temperature=1.0,
        stop_token="eos",
        num_sample_generations=0,
        save_strategy="steps",
        save_steps=settings.samples // settings.batch // settings.checkpoints,
        # For a GPU's memory; here they would only cost time.
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )


def parse(words: list[str] | None = None) -> str:
    """The file of settings that the command line names."""
    listed = [f"  {f.name}: {f.type}{'' if f.default is MISSING else f' = {f.default}'}" for f in fields(Settings)]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(["settings of the file:", *listed]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE.yaml", help="the settings, as `name: value`")
    return str(parser.parse_args(words).config)


if __name__ == "__main__":
    main(parse())
