"""`rlaif publish`: checks, a card, a folder that holds exactly what goes out, and the push.

    rlaif publish --preferences runs/mine/preferences --license cc-by-4.0 --output runs/mine/published

What can be known early is asked first: settings, the card's fields, the token and the repository's name, before
anything is read; then the checks, before anything is written; the push comes last.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlaif.config import UsageError, named_values
from rlaif.files.manifest import write_manifest
from rlaif.files.room import names_place_of_run
from rlaif.files.sources import fingerprint, write_json
from rlaif.publish.card import CardFields, check_fields, front_matter, render
from rlaif.publish.checks import ACTIONS, CHECKS, Action
from rlaif.publish.contamination import COVERAGE
from rlaif.publish.dataset_card import UNKNOWN, Terms
from rlaif.publish.near import THRESHOLD
from rlaif.publish.provenance import trace
from rlaif.publish.staging import MARK, NOTES, Note, check, replace_staged, staged_for
from rlaif.settings.declared import described

if TYPE_CHECKING:
    from rlaif.publish.contamination import Index

__all__ = ["SETTINGS", "DatasetSettings", "ModelSettings", "PublishConfig", "publish"]

READS = {
    "preferences": "folder",
    "reward_model": "folder",
    "policy": "folder",
    "evaluation": "file",
    "judgments": "folder",
    "benchmarks": "named",
}

_TERMS = ("prompts_terms", "response_terms", "judge_terms")
# What a dataset's staging folder may hold: what is written there, and a licence's text.
_OWN = ("README.md", "report.json", "data/*", "pairs/*", "votes/*", "LICENSE*", "LICENCE*", "NOTICE*")


def _action(name: str) -> Any:
    check = CHECKS[name]
    return field(
        default=check.action,
        metadata={
            "help": f"Rows with {check.what}: 'stop' before anything is written, 'drop' them, 'report' them, or 'off'.",
            "choices": list(ACTIONS),
        },
    )


@described(headings={"preferences": "what and where", "license": "card"}, also={"output": ("output_dir",)})
@dataclass
class PublishConfig:
    """What to publish, under whose licence, and where."""

    preferences: str | None = field(default=None, metadata={"help": "A dataset that `rlaif build` wrote."})
    reward_model: str | None = field(
        default=None, metadata={"help": "Or a reward model that reward_models/bradley_terry.py wrote."}
    )
    policy: str | None = field(default=None, metadata={"help": "Or a policy that a recipe wrote."})
    output: str | None = field(
        default=None, metadata={"help": "Folder for exactly what is sent: data or weights, README.md, report.json."}
    )
    repo_id: str | None = field(
        default=None, metadata={"help": "user/name on the Hub. Without it the folder is written and nothing is sent."}
    )
    private: bool = field(default=True, metadata={"help": "Whether only you (or the organisation) can see it."})
    update: bool = field(default=False, metadata={"help": "Whether a repository that exists may be changed."})
    dry_run: bool = field(default=False, metadata={"help": "Write the folder and list what would be sent, with sizes."})
    license: str | None = field(
        default=None, metadata={"help": "Licence of what is published: an identifier of the Hub's list, or other."}
    )
    license_name: str | None = field(default=None, metadata={"help": "With --license other: its name."})
    license_link: str | None = field(default=None, metadata={"help": "With --license other: where its text is."})
    language: list[str] = field(default_factory=list, metadata={"help": "ISO 639 codes, as in: en de."})
    tags: list[str] = field(default_factory=list, metadata={"help": "Tags besides the ones every card has."})
    pretty_name: str | None = field(default=None, metadata={"help": "The card's title. Default: the name."})
    names: list[str] = field(
        default_factory=list,
        metadata={"help": "Public names of models, as runs/sft=me/my-sft: in the card and in every row."},
    )
    evaluation: str | None = field(
        default=None, metadata={"help": "A report.json of `rlaif evaluate`: what it measured stands in the card."}
    )


@described(headings={"judgments": "a dataset", "secrets": "checks of a dataset"})
@dataclass
class DatasetSettings:
    """Of a preference dataset: where it comes from, whose rights are on it, and what its rows are checked for."""

    judgments: str | None = field(
        default=None,
        metadata={
            "help": "What it was built from, where its manifest's place is no more; 'none' publishes it alone.",
        },
    )
    prompts_terms: str = field(default=UNKNOWN, metadata={"help": "Licence of the prompts."})
    response_terms: str = field(default=UNKNOWN, metadata={"help": "Terms on the response models' output."})
    judge_terms: str = field(default=UNKNOWN, metadata={"help": "Terms on the judge's output."})
    price_input: float | None = field(default=None, metadata={"help": "The judge's price, USD per million."})
    price_output: float | None = field(default=None, metadata={"help": "The same for tokens it writes."})
    secrets: str = _action("secrets")
    personal: str = _action("personal")
    contamination: str = _action("contamination")
    split_prompts: str = _action("split_prompts")
    equal_responses: str = _action("equal_responses")
    duplicates: str = _action("duplicates")
    near_duplicates: str = _action("near_duplicates")
    near_prompts: str = _action("near_prompts")
    contradictions: str = _action("contradictions")
    markers: str = _action("markers")
    benchmarks: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Name=file of benchmarks whose prompts must not be in it (RewardBench, ...).",
        },
    )
    coverage: float = field(
        default=COVERAGE,
        metadata={"help": "Share of a benchmark prompt's words that makes a row one of it."},
    )
    similarity: float = field(
        default=THRESHOLD,
        metadata={"help": "Jaccard similarity of word pairs from which texts are alike."},
    )
    processes: int = field(default=0, metadata={"help": "Processes that check; 0 for one a core."})


@described(headings={"base_model": "a model"})
@dataclass
class ModelSettings:
    """Of a reward model or a policy."""

    base_model: str | None = field(
        default=None,
        metadata={
            "help": "Hub id of the first model that it comes from (an adapter's base), if the run knew a folder."
        },
    )
    example: list[str] = field(
        default_factory=list,
        metadata={"help": "A prompt and a response for the card to show, in its field."},
    )


SETTINGS = (PublishConfig, DatasetSettings, ModelSettings)


def publish(
    config: PublishConfig, dataset: DatasetSettings | None = None, model: ModelSettings | None = None
) -> dict[str, Any]:
    """Runs `rlaif publish`; returns what was written and sent.

    Raises:
        ValueError: a setting, a source or an output that is not as expected, or a check that stops: nothing is sent.
    """
    dataset, model = dataset or DatasetSettings(), model or ModelSettings()
    source, kind = _source(config)
    _check_settings(kind, model if kind == "preferences" else dataset)
    if not config.output:
        raise UsageError("output must be set; expected --output FOLDER for exactly what is sent.")
    if not config.license:
        raise UsageError(
            "license must be set: nobody but you knows it; expected an identifier of the Hub's list, such as "
            "--license cc-by-4.0, or --license other --license_name NAME --license_link URL."
        )
    if config.evaluation and not Path(config.evaluation).exists():
        raise ValueError(
            f"evaluation is {config.evaluation}, which does not exist; expected the report.json of `rlaif evaluate`."
        )
    _check_ranges(dataset)
    fields = CardFields(
        config.license,
        config.license_name,
        config.license_link,
        config.language,
        config.tags,
        config.pretty_name,
    )
    check_fields(fields)
    output = Path(config.output)
    repo_type: Literal["dataset", "model"] = "dataset" if kind == "preferences" else "model"
    send = config.repo_id is not None and not config.dry_run
    if send:
        from rlaif.publish.push import check_card, check_name, preflight

        assert config.repo_id is not None
        check_name(config.repo_id)
        check_card(render(front_matter(fields, repo_type, {}), "", repo_type), repo_type)
        preflight(config.repo_id, repo_type, output, private=config.private, update=config.update)
    with names_place_of_run(output):
        used = dataclasses.asdict(dataset if kind == "preferences" else model)

        def note(folder: Path, report: dict[str, Any]) -> None:
            """Where no push looks: what names folders of this machine, and what differs from run to run."""
            write_manifest(folder, "rlaif publish", dataclasses.asdict(config) | used, [source])
            write_json(folder / "report.json", report)

        if kind == "preferences":
            report = _dataset(config, dataset, source, output, fields, note)
        else:
            report = _model(config, model, source, kind, fields, note)
    return {**report, **_push(config, output, repo_type, send)}


def _source(config: PublishConfig) -> tuple[Path, str]:
    """What is published and of which kind; a ValueError unless it is one thing, and the settings go with it."""
    given = {kind: getattr(config, kind) for kind in ("preferences", "reward_model", "policy")}
    named = [kind for kind, folder in given.items() if folder]
    if not named:
        raise UsageError(
            "one of preferences, reward_model and policy must be set; expected --preferences FOLDER, --reward_model "
            "FOLDER or --policy FOLDER."
        )
    if len(named) > 1:
        raise UsageError(f"got {' and '.join(named)}; expected one of them: each has a repository of its own.")
    return Path(given[named[0]]), named[0]


def _check_settings(kind: str, idle: DatasetSettings | ModelSettings) -> None:
    """A UsageError for a setting that says nothing about what is published."""
    for setting in dataclasses.fields(idle):
        if getattr(idle, setting.name) != getattr(type(idle)(), setting.name):
            raise UsageError(f"{setting.name} says nothing about {kind.replace('_', ' ')}; leave it out.")


def _check_ranges(settings: DatasetSettings) -> None:
    if not 0.5 <= settings.similarity <= 1.0:
        raise UsageError(f"similarity is {settings.similarity}; expected a Jaccard similarity in [0.5, 1].")
    if not 0.0 < settings.coverage <= 1.0:
        raise UsageError(f"coverage is {settings.coverage}; expected a share of a prompt's words in (0, 1].")
    if settings.processes < 0:
        raise UsageError(f"processes is {settings.processes}; expected a number of processes, or 0 for one a core.")
    if (settings.price_input is None) != (settings.price_output is None):
        raise UsageError("one of price_input and price_output is missing; expected both, or neither.")


def _dataset(
    config: PublishConfig, settings: DatasetSettings, source: Path, output: Path, fields: CardFields, note: Note
) -> dict[str, Any]:
    from rlaif.publish.dataset import CONFIGS, open_dataset, stage_dataset
    from rlaif.publish.dataset_card import Searched, dataset_card, judge_report

    names = named_values(config.names, "names", "the model's public name")
    open_dataset(source)
    check(output, source, "dataset", _OWN)
    origin = trace(source, None if settings.judgments == "none" else settings.judgments)
    if origin.rewritten and settings.judgments != "none":
        raise ValueError(
            f"{origin.rewritten} was written anew since {source} was built from it; expected the judgments that it was "
            "built from. Run `rlaif build` again, or publish the preferences alone: --judgments none."
        )
    if settings.judgments == "none":
        origin = dataclasses.replace(origin, judgments=None)
    elif origin.judgments is None:
        what = origin.build.config.get("judgments") if origin.build else "nobody knows what"
        raise ValueError(
            f"{source} was built from {what}, which is not there; expected the judgments, for the configs pairs and "
            "votes. Name them with --judgments FOLDER, or publish the preferences alone: --judgments none."
        )
    quality = judge_report(origin, Path(config.evaluation) if config.evaluation else None)
    actions: dict[str, Action] = {name: getattr(settings, name) for name in CHECKS}
    benchmarks = _benchmarks(settings, actions)
    terms = Terms(
        settings.prompts_terms,
        settings.response_terms,
        settings.judge_terms,
        settings.price_input,
        settings.price_output,
    )
    searched = Searched(settings.similarity, settings.coverage, benchmarks.items if benchmarks else {})
    with staged_for(output) as staged:
        published = stage_dataset(
            source,
            staged,
            actions,
            origin,
            benchmarks=benchmarks.index if benchmarks else None,
            threshold=settings.similarity,
            names=names,
            processes=settings.processes,
            stopped=output / MARK / "report.json",
        )
        card = dataset_card(published, fields, terms, config.repo_id, names, quality, searched)
        (staged / "README.md").write_text(card, encoding="utf-8")
        report = {
            "rows": published.rows,
            "found": {name: row["rows"] for name, row in published.checked.report.items() if row.get("rows")},
            "left_out": dict(published.left_out),
            # The card says so too; whoever knows them has settings for it.
            "terms_unknown": ", ".join(name for name in _TERMS if getattr(settings, name) == UNKNOWN) or "none",
            "seconds": published.seconds,
        }
        note(staged / NOTES, report)
        replace_staged(staged, output, "dataset", [name for name in CONFIGS.values() if not (staged / name).exists()])
    return report


@dataclass(frozen=True)
class _Benchmarks:
    """The index of some benchmarks' prompts, and for the card how many items each has, with its file's fingerprint."""

    index: Index
    items: dict[str, tuple[int, str]]


def _benchmarks(settings: DatasetSettings, actions: dict[str, Action]) -> _Benchmarks | None:
    """What `contamination` looks for; None, and the check is off, where no benchmark is named."""
    from rlaif.formats.known import read_benchmark
    from rlaif.publish.contamination import Index

    named = named_values(settings.benchmarks, "benchmarks", "a file of the benchmark")
    if not named:
        if actions["contamination"] in ("drop", "report"):
            raise UsageError(
                f"contamination is {actions['contamination']!r}, and there is nothing to look for; expected "
                "--benchmarks NAME=FILE."
            )
        actions["contamination"] = "off"
    if actions["contamination"] == "off":
        return None
    texts = [(name, *item) for name, path in named.items() for item in read_benchmark(path)]
    counts = Counter(name for name, _, _ in texts)
    items = {name: (counts[name], fingerprint(path)) for name, path in named.items()}
    return _Benchmarks(Index.build(texts, settings.coverage), items)


def _model(
    config: PublishConfig, settings: ModelSettings, source: Path, kind: str, fields: CardFields, note: Note
) -> dict[str, Any]:
    from rlaif.publish.models import publish_model

    if len(settings.example) not in (0, 2):
        raise UsageError(f"example has {len(settings.example)} texts; expected two: a prompt and a response to it.")
    assert config.output is not None
    return publish_model(
        source,
        Path(config.output),
        kind,  # type: ignore[arg-type]
        fields,
        base_model=settings.base_model,
        evaluation=Path(config.evaluation) if config.evaluation else None,
        repo_id=config.repo_id,
        names=named_values(config.names, "names", "the model's public name"),
        example=(settings.example[0], settings.example[1]) if settings.example else None,
        note=note,
    )


def _push(config: PublishConfig, output: Path, repo_type: Literal["dataset", "model"], send: bool) -> dict[str, Any]:
    from rlaif.publish.push import listing, push

    files = dict(listing(output))
    if not send:
        return {"files": files, "bytes": sum(files.values()), "sent": "nothing"}
    assert config.repo_id is not None
    done = push(
        output,
        config.repo_id,
        repo_type,
        private=config.private,
        update=config.update,
        message=f"Publish with rlaif ({len(files)} files)",
    )
    sent = f"{done.changed} files changed, {done.deleted} deleted" if done.changed or done.deleted else "nothing new"
    return {"files": files, "bytes": sum(files.values()), "sent": sent, "url": done.url, "commit": done.commit}
