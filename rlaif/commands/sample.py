"""`rlaif sample`: prompts -> candidate pairs, from one policy or two, local or behind an endpoint.

    rlaif sample --prompts my_prompts.jsonl --policy Qwen/Qwen3-0.6B --output runs/mine/sampled

Each distinct prompt is answered n times by each policy; exact duplicates are dropped and pairs are formed of what is
left, so both responses of a pair always differ. With two policies a pair has one response of each, on a side drawn at
random by the prompt, so that "a" does not mean "the first policy". A pair carries the other columns of its prompt's
first row. Completions are stored as they arrive, so a killed run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import UsageError, looks_like_key, warn
from rlaif.files.bad_rows import BAD_ROWS_FILE, BadRows, on_bad_row
from rlaif.files.manifest import elapsed, write_manifest
from rlaif.files.ownership import claim
from rlaif.files.pairs import carried
from rlaif.files.sources import distinct_placed, placed_prompt_rows, say_differing, write_json, write_jsonl
from rlaif.files.swap import move_into, staging
from rlaif.judging.sampling import Completion, Sampling, api_policy, complete, local_policy
from rlaif.judging.values import parse_body
from rlaif.models.access import check_address, check_variable
from rlaif.models.base import Model, served_by
from rlaif.models.parallel import is_main
from rlaif.models.spelling import REFUSED
from rlaif.records import Pair, Prompt, content_hash
from rlaif.settings.declared import described

__all__ = [
    "SETTINGS",
    "SampleConfig",
    "SampleCounts",
    "form_pairs",
    "load_policies",
    "sample",
    "sample_pairs",
    "split_rows",
]

READS = {"prompts": "rows", "policy": "model", "policy_b": "model"}


@described(
    headings={
        "prompts": "prompts and policy",
        "samples": "sampling",
        "dtype": "local policy",
        "base_url": "endpoint",
    },
    also={
        "prompts": ("dataset", "dataset_name"),
        "policy": ("model", "model_name_or_path"),
        "output": ("output_dir",),
        "config_name": ("dataset_config",),
        "samples": ("n", "num_generations"),
        "max_new_tokens": ("max_completion_length",),
        "dtype": ("torch_dtype",),
    },
)
@dataclass
class SampleConfig:
    """Prompts in, candidate pairs out."""

    prompts: str | None = field(
        default=None, metadata={"help": "Rows with a prompt: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    policy: str | None = field(
        default=None,
        metadata={"help": "Folder or Hub id of a causal LM, or, with --base_url, the endpoint's model name."},
    )
    policy_b: str | None = field(default=None, metadata={"help": "A second policy to compare with the first."})
    output: str | None = field(
        default=None, metadata={"help": "Folder for replies/, pairs.jsonl, report.json and manifest.json."}
    )
    split: str | None = field(
        default=None,
        metadata={"help": "Split of the source, where it has several; of a file, what its column `split` says."},
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the source, where it has several."})
    limit: int | None = field(default=None, metadata={"help": "Use only the first so many distinct prompts."})
    on_bad_row: str = on_bad_row()
    samples: int = field(default=2, metadata={"help": "Responses to each prompt from each policy."})
    pairs_per_prompt: int = field(default=1, metadata={"help": "At most so many pairs of a prompt's responses."})
    temperature: float = field(default=1.0, metadata={"help": "Of sampling; 0 is greedy, 1 is the policy itself."})
    top_p: float = field(default=1.0, metadata={"help": "Sample from the likeliest tokens with this total mass."})
    max_new_tokens: int = field(default=512, metadata={"help": "Longest response, in tokens."})
    seed: int = field(default=0, metadata={"help": "Seed of the sampling."})
    dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the policies; auto: as stored.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    load_in_4bit: bool = field(default=False, metadata={"help": "Quantize the policies (NF4)."})
    batch_tokens: int = field(
        default=32768, metadata={"help": "Tokens generated at once, prompts and responses; halved on out-of-memory."}
    )
    trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run the code that models' repositories hold; without it a model that needs it fails."},
    )
    base_url: str | None = field(
        default=None,
        metadata={"help": "An OpenAI-compatible endpoint (vLLM, say) that serves the policies, ending in /v1."},
    )
    api_key_env: str = field(
        default="OPENAI_API_KEY", metadata={"help": "The environment variable that holds the endpoint's key."}
    )
    served_as: str | None = field(
        default=None,
        metadata={"help": "A name for what the endpoint serves, where its address may change between runs."},
    )
    concurrency: int = field(default=32, metadata={"help": "Calls to the endpoint in flight, in each process."})
    extra_body: str | None = field(
        default=None,
        metadata={"help": "What the endpoint is told beside the rest, as in '{\"top_k\": 0}'; for one behind a proxy."},
    )
    max_retries: int = field(default=8, metadata={"help": "Tries after a call to the endpoint that failed."})
    timeout: float | None = field(
        default=None,
        metadata={"help": "Seconds for a call to the endpoint. Default: 120, or 600 from 1024 new tokens on."},
    )
    patience: float = field(default=900.0, metadata={"help": "Seconds for which a call waits out rate limits."})


SETTINGS = (SampleConfig,)


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """What became of the prompts and responses; nothing is left out uncounted.

    `alike` counts the prompts to which a policy gave one response every time, once for each policy; `refused` the
    prompts that a policy's chat template refuses, `unanswered` the others to which a policy gave no response.
    """

    prompts: int
    responses: int
    empty: int
    failed: int
    cut: int
    duplicates: int
    prompts_without_pair: int
    pairs: int
    alike: int
    refused: int
    unanswered: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in dataclasses.asdict(self).items())


_REASONS = 20  # of responses that failed, in the report
_FEW = 5  # prompts to which the same is said every time may be chance; more are none
_STILL = (
    "Every sample of every prompt was the same, at a temperature above 0: what answers does not sample, whatever it is "
    "told. Look at the server's own settings (generation_config.json, do_sample)."
)


def form_pairs(
    prompts: Sequence[Prompt],
    completions: Mapping[str, Sequence[Sequence[Completion]]],
    pairs_per_prompt: int,
    seed: int,
    columns: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[list[Pair], SampleCounts]:
    """Pairs of different responses to one prompt, and what was left out on the way.

    Args:
        prompts: N of them.
        completions: by policy (one or two), N lists of completions.
        pairs_per_prompt: at most so many pairs a prompt, drawn at random from all that can be formed.
        seed: with the prompt, decides which pairs and which response is called a.
        columns: what else the source says of each prompt, N of them: every pair of the prompt carries it.
    """
    counts = dict.fromkeys((f.name for f in dataclasses.fields(SampleCounts)), 0) | {"prompts": len(prompts)}
    pairs = []
    for index, prompt in enumerate(prompts):
        by_policy: list[list[tuple[str, str]]] = []
        seen: set[str] = set()
        for name, rows in completions.items():
            kept = []
            for row in rows[index]:
                counts["responses"] += 1
                text = row.text
                if text is None:
                    counts["failed"] += 1
                elif not text.strip():
                    counts["empty"] += 1
                elif text in seen:
                    counts["duplicates"] += 1
                else:
                    seen.add(text)
                    kept.append((name, text))
                    counts["cut"] += not row.complete
            texts = [row.text for row in rows[index]]
            counts["alike"] += len(texts) > 1 and bool((texts[0] or "").strip()) and set(texts) == {texts[0]}
            by_policy.append(kept)
        first_kept, last_kept = by_policy[0], by_policy[-1]
        refused = any(row.refused for rows in completions.values() for row in rows[index])
        counts["refused"] += refused
        counts["unanswered"] += not refused and any(
            all(row.text is None for row in rows[index]) for rows in completions.values()
        )
        two = len(by_policy) == 2
        candidates = list(itertools.product(first_kept, last_kept) if two else itertools.combinations(first_kept, 2))
        rng = random.Random(content_hash(seed, prompt))
        chosen = rng.sample(candidates, min(pairs_per_prompt, len(candidates)))
        counts["prompts_without_pair"] += not chosen
        for first, second in chosen:
            if two and rng.random() < 0.5:
                first, second = second, first
            names, extra = (first[0], second[0]), columns[index] if columns else {}
            pairs.append(Pair(prompt, first[1], second[1], model_a=names[0], model_b=names[1], extra=extra))
    counts["pairs"] = len(pairs)
    return pairs, SampleCounts(**counts)


def sample(config: SampleConfig) -> dict[str, Any]:
    """Runs `rlaif sample`: writes pairs.jsonl, report.json and manifest.json and returns the report.

    The report is {} but in the main process.

    Raises:
        ValueError: a setting, a prompt, or an output that is not `rlaif sample`'s own; no pair could be formed.
    """
    if not config.prompts or not config.policy or not config.output:
        raise UsageError(
            "prompts, policy and output must be set; expected --prompts SOURCE --policy MODEL --output FOLDER."
        )
    names = _check(config)
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"limit is {config.limit}; expected at least one prompt, or no limit.")
    bad = BadRows(config.on_bad_row)
    distinct = distinct_placed(placed_prompt_rows(config.prompts, config.split, config.config_name, bad))
    rows = distinct.rows[: config.limit]
    prompts, columns = split_rows(rows)
    bad.say(Path(config.output) / BAD_ROWS_FILE)
    say_differing(distinct)
    with claim(config.output, "rlaif sample", [config.prompts, *names]):
        policies, reasons = load_policies(config), Counter[str]()
        pairs, counts = sample_pairs(config, prompts, policies, reasons, columns, distinct.places[: config.limit])
        if not is_main():
            return {}
        asked = len(prompts) * len(policies)
        still = bool(config.base_url) and config.temperature > 0.0 and counts.alike == asked >= _FEW
        if not pairs:
            why = f" Most that failed: {reasons.most_common(1)[0][0]}." if reasons else ""
            raise ValueError(
                f"no pair could be formed of {counts.responses} responses ({counts}); nothing was written."
                f"{why}{f' {_STILL}' if still else ''}"
            )
        if counts.cut:
            warn(
                f"{counts.cut} of {counts.responses} responses were cut off at {config.max_new_tokens} tokens and are "
                "in pairs as they are; raise --max_new_tokens for whole ones."
            )
        if still:
            warn(_STILL)
        left_out = {name: getattr(counts, name) for name in ("failed", "empty", "duplicates")}
        ledger = {
            "read": counts.responses,
            "used": counts.responses - sum(left_out.values()),
            "left_out": {name: count for name, count in left_out.items() if count},
        }
        unused = {
            "prompt stood before": distinct.repeated,
            "beyond limit": len(distinct.rows) - len(rows),
            REFUSED: counts.refused,
            "no response": counts.unanswered,
        }
        rows_read = bad.ledger(
            len(distinct.rows) + distinct.repeated,
            len(rows) - counts.refused - counts.unanswered,
            {name: count for name, count in unused.items() if count},
        )
        report = {
            **dataclasses.asdict(counts),
            "repeated_prompts": distinct.repeated,
            "repeated_with_other_columns": distinct.differing,
            "ledger": ledger,
            "prompt_rows": rows_read,
            "seconds": elapsed(),
        }
        if reasons:
            report["failures"] = dict(reasons.most_common(_REASONS))
        settings, folder = dataclasses.asdict(config), Path(config.output)
        with staging(folder, ".sampling") as staged:
            write_jsonl(staged / "pairs.jsonl", (pair.row() for pair in pairs))
            write_json(staged / "report.json", report)
            served = served_by(policies.values())
            read = [config.prompts, *names]
            write_manifest(staged, "rlaif sample", settings, read, earlier=folder, **served)
            bad.write(staged, folder)
            move_into(staged, folder, also_gone=(BAD_ROWS_FILE,))
        return report


def split_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Prompt], list[dict[str, Any]]]:
    """Rows as their prompts and as what the pairs of each prompt carry of it, N each: no column is called as ours."""
    columns = [carried({name: value for name, value in row.items() if name != "prompt"}) for row in rows]
    return [row["prompt"] for row in rows], columns


def load_policies(config: SampleConfig) -> dict[str, Model]:
    """The policies that `config` names, local or behind its endpoint; a UsageError for settings that form no pair."""
    if config.base_url:
        return {
            name: api_policy(
                name,
                config.base_url,
                api_key_env=config.api_key_env,
                concurrency=config.concurrency,
                served_as=config.served_as,
                extra_body=None if config.extra_body is None else parse_body(config.extra_body, "sample"),
                max_retries=config.max_retries,
                timeout=config.timeout,
                patience=config.patience,
            )
            for name in _check(config)
        }
    return {
        name: local_policy(
            name,
            batch_tokens=config.batch_tokens,
            dtype=config.dtype,
            load_in_4bit=config.load_in_4bit,
            trust_remote_code=config.trust_remote_code,
        )
        for name in _check(config)
    }


def sample_pairs(
    config: SampleConfig,
    prompts: Sequence[Prompt],
    policies: Mapping[str, Model] | None = None,
    reasons: Counter[str] | None = None,
    columns: Sequence[Mapping[str, Any]] | None = None,
    places: Sequence[str] | None = None,
) -> tuple[list[Pair], SampleCounts]:
    """Asks the policies of `config` for answers to `prompts` and forms pairs; an output keeps the replies.

    Args:
        config, prompts: whom and what.
        policies: by name; those of `config` where they are not made yet.
        reasons: is filled with those of the responses that failed.
        columns: what the pairs of each prompt carry beside it.
        places: where each prompt stands, for messages.
    """
    completions = {}
    for name, policy in (policies or load_policies(config)).items():
        sampling = Sampling(
            policy, config.samples, config.max_new_tokens, config.temperature, config.top_p, config.seed
        )
        done = complete(sampling, prompts, config.output, f"sampling {Path(name).name}", places=places)
        completions[name] = done
        if reasons is not None:
            reasons.update(one.reason for of_prompt in done for one in of_prompt if one.reason is not None)
    return form_pairs(prompts, completions, config.pairs_per_prompt, config.seed, columns)


def _check(config: SampleConfig) -> list[str]:
    """The policies' names; a UsageError for settings that could form no pair."""
    if config.max_new_tokens < 1 or config.batch_tokens < 1:
        raise UsageError(
            f"max_new_tokens is {config.max_new_tokens} and batch_tokens {config.batch_tokens}; expected at least 1."
        )
    if not 0.0 <= config.temperature < math.inf or not 0.0 < config.top_p <= 1.0:
        raise UsageError(
            f"temperature is {config.temperature} and top_p {config.top_p}; expected a temperature of 0 (greedy) or "
            "more and a top_p in (0, 1]."
        )
    names = [_name_of(str(config.policy))] + ([_name_of(config.policy_b)] if config.policy_b else [])
    if config.base_url is not None:
        _check_endpoint(config, names, config.base_url)
    needed = 1 if config.policy_b else 2
    if config.samples < needed:
        raise UsageError(f"samples is {config.samples}; a pair needs {needed} responses of each policy at least.")
    if config.temperature == 0.0 and config.samples > 1:
        raise UsageError("samples > 1 at temperature 0 gives the same response again; set --temperature above 0.")
    if config.pairs_per_prompt < 1:
        raise UsageError(f"pairs_per_prompt is {config.pairs_per_prompt}; expected at least 1.")
    if len({Path(name).resolve() if Path(name).is_dir() else name for name in names}) < len(names):
        raise UsageError(f"policy and policy_b are both {names[0]!r}; for one policy leave policy_b out.")
    return names


def _name_of(policy: str) -> str:
    """A policy as pairs and replies call it: "policy/" is the folder "policy"."""
    return policy.rstrip("/") if Path(policy).is_dir() and policy.rstrip("/") else policy


def _check_endpoint(config: SampleConfig, names: Sequence[str], base_url: str) -> None:
    """A UsageError for an address, a name or a number with which no endpoint could be asked, and for a key in them."""
    for name, unused in (("dtype", "auto"), ("load_in_4bit", False), ("trust_remote_code", False)):
        if (value := getattr(config, name)) != unused:
            raise UsageError(
                f"{name} is {str(value).lower()}, but base_url says that an endpoint loads the policy; leave it out, "
                "or leave out base_url."
            )
    if not 1 <= config.concurrency <= 10_000:
        raise UsageError(f"concurrency is {config.concurrency}; expected a number of calls from 1 to 10,000.")
    if not 0.0 < config.patience <= 1e7:
        raise UsageError(f"patience is {config.patience}; expected a number of seconds above 0, at most 10,000,000.")
    for name, value in (("policy", names[0]), ("policy_b", names[-1]), ("served_as", config.served_as or "-")):
        if not value.strip() or not value.isprintable():
            raise UsageError(f"{name} is {value!r:.80}; expected a name on one line.")
        if looks_like_key(value):
            raise UsageError(f"{name} holds a key, which would be written to files; expected a model's name.")
    check_variable(config.api_key_env)
    check_address(base_url, config.api_key_env)
