"""Proximal policy optimization (1707.06347) of a policy against a reward: a reward model, an LLM judge, or a function.

    accelerate launch --config_file recipes/accelerate/cpu.yaml recipes/ppo.py --config recipes/configs/ppo/sandbox.yaml

The policy answers prompts; a response's score comes at its last token, less beta KL to the reference at each of them;
GAE makes advantages of both; the policy moves by the clipped loss, the critic by the clipped squared error (all of it
in rlaif/training/ppo/arithmetic.py, an equation beside each line). The reference is the policy that training starts
from.

Rewards (--rewards, summed with --reward_weights): reward_model=FOLDER, scored in the rendering that it was trained in,
less its zero point; rating=JUDGE.yaml, a judge's expected rating, 0 to 9 (d-RLAIF, 2309.00267);
pairwise=JUDGE.yaml, its P(better than the row's `reference`); function=module:name.

Watched for over-optimization (--held_out, --watch, --eval_steps): on prompts that nothing trains on, each of them once,
the reward beside scores that nothing trains on. This audits a run; it does not prevent anything, and a judge that
shares the reward model's errors cannot see them.

Beside TRL 1.12's, the last PPO that TRL had (recipes/ablations/compare_ppo.yaml measures both): the critic is a head on
the policy and not a second model, which halves the cost of an update; the score stands on the last real token, where
TRL 1.12 put it one position later, on padding with a value of its own; prompt and response are one piece, without
padding between them or before them, as in SFT and DPO; advantages are whitened over all processes; gradients are
clipped; a checkpoint can be resumed exactly; and the reward model sees its own rendering.

Supports: full training, LoRA, QLoRA; with LoRA one set of base weights for policy, reference, critic and, with
--share_backbone true, the reward model; generation by transformers or vLLM (--use_vllm true); one process or many (DDP,
FSDP2, ZeRO-3); exact resume (the same command again).
Assumes: prompts (`prompt`: a string or messages); a causal LM, usually one that recipes/sft.py wrote, with its
tokenizer beside it.
Writes: the policy (or adapter) with its tokenizer, report.json, manifest.json; what was watched as report.md, its plot
and checks.jsonl; judges' replies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rlaif import config, training
from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows, on_bad_row
from rlaif.files.reads import Rows, learned_from, sources
from rlaif.settings.declared import described
from rlaif.training.models import ModelConfig
from rlaif.training.ppo.settings import PPO

READS = {"prompts": "rows", "held_out": "rows", "model": "model", "rewards": "rewards", "watch": "rewards"}
LEARNS = (Rows("prompts", "prompts_split", "prompts_config_name"),)
MEASURES = (Rows("held_out", "held_out_split", "held_out_config_name"),)


@described(
    headings={
        "prompts": "prompts and rewards",
        "held_out": "over-optimization",
        "on_bad_row": "prompts and rewards",
    },
    also={
        "prompts": ("dataset", "dataset_name"),
        "prompts_split": ("dataset_train_split",),
        "prompts_config_name": ("dataset_config", "config_name"),
    },
)
@dataclass
class DataConfig:
    """The prompts to answer, and what an answer earns."""

    prompts: str | None = field(
        default=None, metadata={"help": "Rows with a prompt: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    prompts_split: str | None = field(
        default=None,
        metadata={"help": "Their split, where they have several; of a file, what its column `split` says."},
    )
    prompts_config_name: str | None = field(default=None, metadata={"help": "Their config, where they have several."})
    rewards: list[str] = field(
        default_factory=list,
        metadata={"help": "reward_model=FOLDER, rating=JUDGE.yaml, pairwise=JUDGE.yaml, function=module:name."},
    )
    held_out: str | None = field(default=None, metadata={"help": "Prompts to watch over-optimization on."})
    held_out_split: str | None = field(
        default=None,
        metadata={"help": "Their split, where they have several; of a file, what its column `split` says."},
    )
    held_out_config_name: str | None = field(default=None, metadata={"help": "Their config, where they have several."})
    held_out_limit: int = field(default=256, metadata={"help": "Use only the first so many of them."})
    watch: list[str] = field(
        default_factory=list, metadata={"help": "Scores of held_out that are not trained on, named as in rewards."}
    )

    on_bad_row: str = on_bad_row()

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ValueError("prompts is missing; expected rows with a `prompt` column (--prompts).")
        if not self.rewards:
            raise ValueError("rewards is empty; expected --rewards reward_model=FOLDER, say.")
        if bool(self.held_out) != bool(self.watch):
            raise ValueError(
                f"held_out is {shown(self.held_out)} and watch {shown(self.watch)}; expected both or neither: "
                "prompts, and a score that is not trained on."
            )


SETTINGS = (DataConfig, ModelConfig, PPO)


def main() -> None:
    training.quiet_libraries()
    from rlaif.judging.rewards import parse_rewards

    # ---- parse
    data_config, model_config, args = config.parse(*SETTINGS, description=__doc__)
    if bool(data_config.held_out) != (args.eval_strategy != "no"):
        raise config.UsageError(
            f"held_out is {shown(data_config.held_out)} and eval_strategy {str(args.eval_strategy.value)!r}; expected "
            "both or neither: --held_out FILE --eval_strategy steps --eval_steps 50, say."
        )
    parse_rewards([*data_config.rewards, *data_config.watch])
    reads = sources(READS, data_config, model_config)
    with training.output_folder("recipes/ppo.py", data_config, model_config, args, reads) as start:
        fit(data_config, model_config, args, start)


def fit(data_config: Any, model_config: Any, args: Any, start: str | None) -> None:
    """Trains from the beginning, or on from the checkpoint `start`, and writes `args.output_dir`."""
    from transformers import set_seed

    from rlaif.assess.overoptimization import assess_checks
    from rlaif.files.manifest import write_manifest
    from rlaif.files.sources import distinct_prompts, write_json, write_jsonl
    from rlaif.judging.rewards import check_rewards, load_rewards, reward_models_of
    from rlaif.judging.unscorable import say_of_models
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.parallel import is_main, process_count
    from rlaif.models.rendering import Rendering
    from rlaif.pages.parts import decimal, interval
    from rlaif.pages.training import watch_line, write_watch
    from rlaif.records import prompt_hash
    from rlaif.training.data import ledger, policy_prompts, report_too_long
    from rlaif.training.footprint import peak_memory, weights_held
    from rlaif.training.measure import rollout_report
    from rlaif.training.models import context_length
    from rlaif.training.ppo.models import check_models, load_models
    from rlaif.training.ppo.trainer import PPOTrainer
    from rlaif.training.progress import seconds
    from rlaif.training.saving import replace_model, save

    say = print if is_main() else lambda *_: None

    # ---- load
    trusted = model_config.trust_remote_code
    tokenizer = load_tokenizer(model_config.model, model_config.model_revision, model_config.trust_remote_code)
    rendering = Rendering.of(tokenizer)
    context = context_length(model_config, tokenizer)
    room = context - args.max_completion_length
    if room < 1:
        raise config.UsageError(
            f"max_new_tokens is {args.max_completion_length}, but the model reads {context} tokens in all, "
            "prompt included; expected less."
        )
    bad = BadRows(data_config.on_bad_row)
    prompts = policy_prompts(
        data_config.prompts,
        data_config.prompts_split,
        tokenizer,
        rendering,
        room,
        config_name=data_config.prompts_config_name,
        bad=bad,
        rewards=data_config.rewards,
    )
    held_out = None
    if data_config.held_out:
        held_out = policy_prompts(
            data_config.held_out,
            data_config.held_out_split,
            tokenizer,
            rendering,
            room,
            data_config.held_out_limit,
            data_config.held_out_config_name,
            bad,
            data_config.watch,
            once=True,
        )
    bad.say()
    for name, rows in (("prompts", prompts), ("held_out", held_out)):
        if rows is not None and (line := report_too_long(name, rows, room, "the model's context less max_new_tokens")):
            say(line)
    repeated = distinct_prompts(prompts.rows).repeated
    if repeated:
        say(f"prompts: {repeated} of {len(prompts)} stood before; each is answered as often as it stands there")
    if held_out and held_out.repeated:
        say(f"held_out: {held_out.repeated} more stood before, and are left out: each prompt is measured once")
    trained_on = set(map(prompt_hash, prompts.rows["prompt"]))
    if held_out and (both := sum(prompt_hash(prompt) in trained_on for prompt in held_out.rows["prompt"])):
        raise ValueError(
            f"{both} of the {len(held_out)} held-out prompts are in {data_config.prompts} too; expected prompts that "
            "nothing trains on. Leave them out of one of the two."
        )
    args.check_data(len(prompts), len(data_config.rewards))
    reward_models = [
        spec.value
        for spec in check_rewards(data_config.rewards, prompts.rows.column_names, trusted)
        if spec.kind == "reward_model"
    ]
    scored_by = reward_models_of([*data_config.rewards, *data_config.watch])
    assumed = say_of_models(
        reward_models_of(data_config.rewards),
        prompts.rows["prompt"],
        prompts.places,
        response_tokens=args.max_completion_length,
        then="are left out of the learning (`unscored`)",
        trust_remote_code=trusted,
    )
    if held_out:
        check_rewards(data_config.watch, held_out.rows.column_names, trusted)
        assumed += say_of_models(
            scored_by,
            held_out.rows["prompt"],
            held_out.places,
            response_tokens=args.max_completion_length,
            said=assumed,
            trust_remote_code=trusted,
        )
        args.eval_on_start = start is None
    check_models(model_config, args, reward_models)
    set_seed(args.seed)
    models = load_models(model_config, args, tokenizer, reward_models)
    shared = {reward_models[0]: models.reward_model} if models.reward_model else {}
    rewards = load_rewards(data_config.rewards, args.output_dir, ready=shared, trust_remote_code=trusted)
    trainer = PPOTrainer(
        models.policy,
        args,
        rewards=rewards,
        train_dataset=prompts.rows,
        held_out=held_out.rows if held_out else None,
        watched=load_rewards(data_config.watch, args.output_dir, trust_remote_code=trusted) if held_out else [],
        reference=models.reference,
        critic=models.critic,
        processing_class=tokenizer,
    )

    # ---- train
    outcome = trainer.train(resume_from_checkpoint=start)
    if held_out:
        trainer.evaluate()

    # ---- save
    folder = save(trainer)
    training.leave_process_group()
    if not is_main():
        return

    # ---- report
    held = weights_held(trainer, rewards)
    report: dict[str, Any] = {
        "train": {
            "prompts": len(prompts),
            "too_long": prompts.too_long,
            "repeated": repeated,
            "samples": trainer.samples,
            "steps": outcome.global_step,
            "resumed_from": start,
            "seconds": round(outcome.metrics["train_runtime"], 2),
            "samples_per_second": None if start else round(trainer.samples / outcome.metrics["train_runtime"], 3),
            "last_rollout": rollout_report(trainer.last_rollout),
            "kl_coef": trainer.kl_controller.coef,
            "unscored": {reward.__name__: dict(reward.unscored_reasons) for reward in rewards},
            "rendering_assumed": assumed,
            "read": {reward.__name__: read for reward in rewards if (read := reward.how_read())},
            "peak_memory": peak_memory(),
            "weights": held,
            "weights_total": sum(held.values()),
            "processes": process_count(),
        },
        "over_optimization": assess_checks(trainer.checks) if held_out else None,
        "ledger": ledger((prompts, held_out), bad, {}),
        "seconds": round(seconds(args), 1),
    }
    write_json(folder / "report.json", report)
    bad.write(folder, args.output_dir)
    if held_out:
        write_jsonl(folder / "checks.jsonl", (check.row() for check in trainer.checks))
        write_watch(folder, report["over_optimization"])
    write_manifest(
        folder,
        "recipes/ppo.py",
        {**asdict(data_config), **asdict(model_config), **args.to_dict()},
        sources(READS, data_config, model_config),
        learned_from=learned_from(LEARNS, vars(data_config)),
    )
    replace_model(folder, args.output_dir)
    last = report["train"]["last_rollout"] or {}
    named = ", ".join(f"{name} {interval(last, name, decimal)}" for name in ("reward", "kl", "length") if name in last)
    say(
        f"{trainer.samples} responses, {outcome.global_step} steps; "
        + (f"the last rollout's {last['responses']}: {named}" if last else "no rollout was left")
    )
    if held_out:
        say(watch_line(report["over_optimization"]))
    say(f"wrote {args.output_dir} in {report['seconds']:.0f} s")


if __name__ == "__main__":
    config.run(main)
