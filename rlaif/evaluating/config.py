"""The settings of `rlaif evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlaif.files.bad_rows import on_bad_row
from rlaif.judging.settings import JudgeConfig
from rlaif.settings.declared import described

__all__ = ["EvaluateConfig"]


@described(
    headings={
        "output": "policies and prompts",
        "policy_temperature": "sampling",
        "gold": "what they are measured by",
        "stages": "report",
    },
    also={
        "output": ("output_dir",),
        "prompts": ("dataset", "dataset_name"),
        "config_name": ("dataset_config",),
        "max_new_tokens": ("max_completion_length",),
        "dtype": ("torch_dtype",),
    },
)
@dataclass
class EvaluateConfig(JudgeConfig):
    """What is compared, on what, by whom. Settings of the judge are those of `rlaif judge`."""

    output: str | None = field(
        default=None,
        metadata={"help": "Folder for report.json, report.md, report.html, plots, responses.jsonl, replies/."},
    )
    policies: list[str] = field(
        default_factory=list,
        metadata={
            "help": "name=value, one for each policy: a folder or Hub id; an endpoint's YAML file (name, base_url); a "
            "file of responses (prompt, response). The first is the baseline of win rates."
        },
    )
    reference: str | None = field(
        default=None,
        metadata={"help": "Reference of the KL: a local policy's name, a folder or a Hub id. Default: the first one."},
    )
    prompts: str | None = field(
        default=None, metadata={"help": "Rows with a prompt: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    split: str | None = field(
        default=None,
        metadata={"help": "Split of the prompts, where they have several; of a file, what its column `split` says."},
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the prompts, where they have several."})
    limit: int | None = field(default=None, metadata={"help": "Use only the first so many distinct prompts."})
    on_bad_row: str = on_bad_row()
    policy_temperature: float = field(
        default=1.0,
        metadata={
            "help": "Sampling temperature of the policies; 0 is greedy. 1, as in training, is the policy itself."
        },
    )
    policy_top_p: float = field(default=1.0, metadata={"help": "Nucleus sampling: the probability mass that is kept."})
    max_new_tokens: int = field(default=512, metadata={"help": "Longest response, in tokens."})
    batch_tokens: int = field(
        default=32768, metadata={"help": "Tokens generated at once, prompts and responses; halved on out-of-memory."}
    )
    seed: int = field(default=0, metadata={"help": "Of sampling and of the bootstrap."})
    dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the policies; auto: as stored.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    load_in_4bit: bool = field(default=False, metadata={"help": "Policies and reference: quantize (NF4)."})
    gold: str | None = field(
        default=None,
        metadata={
            "help": "The true reward, where there is one: module:function taking (prompt, response), as in "
            "rlaif.sandbox:gold_reward."
        },
    )
    reward_model: str | None = field(
        default=None, metadata={"help": "A reward model's folder or Hub id, as reward_models/bradley_terry.py writes."}
    )
    preferences: str | None = field(
        default=None, metadata={"help": "Preference dataset that the reward model is measured on. Needs reward_model."}
    )
    preferences_split: str = field(
        default="test", metadata={"help": "Its held-out split; of a file, what its column `split` says, if it has one."}
    )
    preferences_config_name: str | None = field(default=None, metadata={"help": "Its config, where it has several."})
    judgments: str | None = field(
        default=None, metadata={"help": "Folder that `rlaif judge` wrote, to hold the judge against gold or labels."}
    )
    stages: list[str] = field(
        default_factory=list,
        metadata={"help": "name=folder: a stage whose report.json or manifest.json holds `seconds`, to be copied."},
    )
    judge_pairs: str = field(
        default="baseline",
        metadata={
            "help": "Whom the judge compares: each policy with the baseline, or all pairs of policies, which asks it "
            "k (k - 1) / 2 times a prompt for k policies instead of k - 1 times.",
            "choices": ["baseline", "all"],
        },
    )
    compare_training: bool = field(
        default=True,
        metadata={
            "help": "Look the prompts up in what the policies, the reward model and the judge were trained on, as far "
            "as manifests tell."
        },
    )
    bootstrap_samples: int = field(default=1000, metadata={"help": "Draws behind each bootstrap interval."})
    examples: int = field(
        default=5, metadata={"help": "Prompts shown with every policy's response in report.md; report.html has all."}
    )

    @property
    def has_judge(self) -> bool:
        """Whether a judge was named."""
        return self.judge is not None or self.judge_model is not None
