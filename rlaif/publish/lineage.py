"""Where a model comes from and what was measured of it: read from the manifests and reports of its run.

A manifest keeps a fingerprint of every folder that was read, and of what came from the Hub its id. So a folder that is
no longer what the run read is seen, and nothing is told of it; and numbers of other weights never get into a card.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.files.sources import fingerprint, is_still
from rlaif.models.adapters import base_of
from rlaif.models.reward_model import METADATA
from rlaif.publish.provenance import Origin, public_name, read_json, rewritten, trace

__all__ = [
    "Source",
    "base_models",
    "evaluation",
    "hub_model",
    "no_paths",
    "rewards",
    "rewritten_data",
    "training_data",
]

Manifest = Mapping[str, Any]
Names = Mapping[str, str]

# An absolute path within a text: two parts at least, so that "and/or", "</s>" and the path of a URL are none.
_PATH = re.compile(r"(?<![\w.:/\\~<-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"`,;:()<>|]+[/\\])+([^\s/\\'\"`,;:()<>|]*)")


@dataclass(frozen=True)
class Source:
    """Something that a run read: a dataset, a model.

    Attributes:
        name: its public name.
        hub_id: its id on the Hub; None where it is not known to be there.
        revision: branch, tag or commit there.
        fingerprint: of its content; None of what was read from the Hub.
        license: what its own card says; None where there is none to be read.
        note: what else is known of it, in words.
    """

    name: str
    hub_id: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    license: str | None = None
    note: str = ""

    def __str__(self) -> str:
        return self.name + (f"@{self.revision}" if self.revision else "")


def no_paths(value: Any) -> Any:
    """A JSON value in which every absolute path, within texts too, is its last part."""
    if isinstance(value, dict):
        return {no_paths(key): no_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [no_paths(item) for item in value]
    return _PATH.sub(r"\1", value) if isinstance(value, str) else value


# Models it was trained from -------------------------------------------------------------------------------------------


def base_models(
    folder: Path,
    manifest: Manifest,
    adapter: Mapping[str, Any] | None,
    given: Source | None,
    names: Names,
    *,
    online: bool,
) -> tuple[Source | None, list[Source], str]:
    """The model that the Hub calls the base, all that training started from, and how an adapter's base was compared.

    Args:
        folder: the model's own.
        manifest: its run's; empty where there is none.
        adapter: its adapter_config.json; None for whole weights.
        given: what its publisher says that the base is.
        names: public names by the run's own.
        online: whether the Hub may be asked for the hashes of the base model's weights.

    Returns:
        The base: what an adapter is put on, or else the first model that is known, None where none is; the models that
        it was trained from, it among them, the nearest first; a sentence, empty where there was nothing to compare.

    Raises:
        ValueError: an adapter on a folder, and no `given`; a `given` that is not what the run says.
    """
    chain = _chain(manifest, names)
    if adapter is None:
        first = _stated(folder, chain[-1] if chain else None, given)
        return first, [*chain[:-1], *([first] if first else [])], ""
    path = str(adapter["base_model_name_or_path"])
    known = _source(path, adapter.get("revision"), manifest.get("inputs", {}), names)
    if known.hub_id is None and given is None:
        raise ValueError(
            f"{folder} is an adapter on the folder {path}, which nobody else has; expected a base model on the Hub. "
            "Name the one that this folder is a copy of: --base_model ORG/NAME. If it is your own, publish it first."
        )
    # An adapter may have been trained further: then what is nearest is an adapter too, on the same base.
    at = next((at for at, source in enumerate(chain) if source.name == known.name), 0)
    base = _stated(folder, chain[at] if chain[at:] and chain[at].name == known.name else known, given)
    assert base is not None
    copied = known.hub_id is None or known.fingerprint is not None
    comparison = _compare_weights(Path(base_of(folder, path)), base, online) if copied else ""
    return base, [*chain[:at], base, *(source for source in chain[at:] if source.name != known.name)], comparison


def _stated(folder: Path, known: Source | None, given: Source | None) -> Source | None:
    """The base model that the publisher names, or else the one that the run knows; a ValueError if they contradict."""
    if given is None or known is None:
        return given or known
    revision = given.revision or known.revision
    if known.hub_id and (known.hub_id != given.hub_id or known.revision not in (None, revision)):
        raise ValueError(
            f"base_model is {given}, but {folder} was trained from {known}; expected the model that it was trained "
            "from, or no base_model at all."
        )
    return dataclasses.replace(given, revision=revision, license=given.license or known.license, note=known.note)


def _chain(manifest: Manifest, names: Names) -> list[Source]:
    """The models behind a run, the nearest first: as far as manifests tell and the folders are what they were then."""
    chain: list[Source] = []
    while (name := manifest.get("config", {}).get("model")) and len(chain) < 16:
        source = _source(name, manifest["config"].get("model_revision"), manifest.get("inputs", {}), names)
        manifest = read_json(Path(name) / "manifest.json") if _unchanged(source, Path(name)) else {}
        chain.append(dataclasses.replace(source, note=str(manifest.get("command", ""))))
    return chain


def _unchanged(source: Source, folder: Path) -> bool:
    return source.fingerprint is not None and folder.is_dir() and is_still(folder, source.fingerprint)


def hub_model(name: str) -> Source:
    """The Hub model that "org/name" or "org/name@revision" names; a ValueError where that is no id."""
    hub_id, _, revision = name.partition("@")
    if not _is_id(hub_id):
        raise ValueError(f"base_model is {name!r}; expected the id of a model on the Hub, such as Qwen/Qwen3-0.6B.")
    if Path(hub_id).exists():
        warn(f"base_model is {hub_id}, which is a folder here too; it is taken as the id of a model on the Hub.")
    return Source(hub_id, hub_id, revision or None, license=_license(hub_id))


def _is_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(name)


def _source(name: str, revision: str | None, inputs: Mapping[str, str], names: Names) -> Source:
    """What a run read under `name`."""
    public = public_name(name, names) or name
    found = inputs.get(name)
    local = not _is_id(name) or (Path(name).exists() if found is None else found != name)
    hub_id = None if local else name
    if local and public != name and public.count("/") == 1 and _is_id(public):
        hub_id = public  # the publisher says that it is there by now
    return Source(public, hub_id, revision, found if local else None, _license(name))


def _license(name: str) -> str | None:
    """The licence in the card of a model or dataset that is on this machine: in its folder, or in the Hub's cache."""
    import yaml
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.repocard import metadata_load

    found: Any = Path(name) / "README.md"
    if not Path(name).exists() and _is_id(name):
        found = try_to_load_from_cache(name, "README.md")
    if not isinstance(found, str | Path) or not Path(found).is_file():
        return None
    try:
        row = metadata_load(found) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return None
    value = row.get("license_name") if row.get("license") == "other" else row.get("license")
    return value if isinstance(value, str) else None


def _compare_weights(folder: Path, base: Source, online: bool) -> str:
    """Whether a model on the Hub has the weights of a folder, in words, as far as it can be known."""
    stated = f"It was trained on a folder of which {base.hub_id} is a copy, as its publisher states"
    theirs = _hub_hashes(base) if online else None
    ours = {path.name: path for path in folder.glob("*.safetensors")} if folder.is_dir() else {}
    if not theirs or set(ours) != set(theirs):
        return f"{stated}; nobody has compared the weights."
    different = [name for name, path in sorted(ours.items()) if _sha256(path) != theirs[name]]
    if not different:
        return f"It was trained on a copy of {base.hub_id}: the weights have the same SHA-256."
    warn(
        f"{different[0]} of {base.hub_id} is not the file in {folder} that the adapter was trained on; where the "
        "weights differ, so does what the adapter does. The card says so."
    )
    return f"{stated}; the files of weights differ."


def _hub_hashes(base: Source) -> dict[str, str] | None:
    """SHA-256 of each file of weights of a model on the Hub; None where the Hub does not tell."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

    assert base.hub_id is not None
    try:
        files = [f for f in HfApi().list_repo_tree(base.hub_id, revision=base.revision) if isinstance(f, RepoFile)]
    except (HfHubHTTPError, httpx2.HTTPError, OSError):
        return None
    return {f.path: f.lfs.sha256 for f in files if f.lfs and f.path.endswith(".safetensors")}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# What it was trained on -----------------------------------------------------------------------------------------------


def training_data(manifest: Manifest, recorded: Mapping[str, Any], names: Names) -> Source | None:
    """What was trained on, with whose preferences: from the run's manifest, or from what rlaif.json `recorded`."""
    config, inputs = manifest.get("config", {}), manifest.get("inputs", {})
    name = config.get("dataset") or config.get("prompts")
    if name is None and recorded.get("source"):
        name = str(recorded["source"])
        inputs = {name: recorded.get("fingerprint")}
    if name is None:
        return None
    source = _source(name, None, inputs, names)
    return dataclasses.replace(source, note=_whose(Path(name), names)) if _unchanged(source, Path(name)) else source


def rewritten_data(manifest: Manifest) -> Path | None:
    """What a run was trained on, where that is here and has other content now; else None."""
    named = (manifest.get("config", {}).get(name) for name in ("dataset", "prompts"))
    return next((place for name in named if name and (place := rewritten(manifest, str(name)))), None)


def _whose(preferences: Path, names: Names) -> str:
    """Whose preferences a dataset holds, in words; empty where its manifests do not say."""
    origin = trace(preferences)
    labels = origin.build is not None and origin.build.config.get("z_from") == "label"
    words = "labels that came with the pairs" if labels else _judges(origin, names)
    flipped = origin.build.report.get("flipped") if origin.build else None
    if flipped is not None:
        noise = f"for an experiment, {flipped} of them turned round"
        return f"{words}; {noise}" if words else noise
    return words


def _judges(origin: Origin, names: Names) -> str:
    """How a judge was asked, in words; empty where nobody knows of one."""
    if origin.judge is None:
        return ""
    config = origin.judge.config
    judge, template = (public_name(str(config.get(name)), names) for name in ("judge_model", "template"))
    orders = "both orders averaged" if config.get("orders") == "both" else f"order {config.get('orders')} only"
    return f"an LLM judge's: {judge}, template {template}, {orders}"


def rewards(manifest: Manifest, names: Names) -> list[str]:
    """What PPO was rewarded with, or the best of n responses were chosen by, in words."""
    found = []
    for spec in manifest.get("config", {}).get("rewards", []):
        kind, _, value = spec.partition("=")
        public = public_name(value, names)
        if kind == "reward_model":
            source = _source(value, None, manifest.get("inputs", {}), names)
            words = f"reward model {source}" + (f" ({source.fingerprint})" if source.fingerprint else "")
            data = read_json(Path(value) / METADATA).get("training_data", {}) if _unchanged(source, Path(value)) else {}
            if data.get("source"):
                words += f", trained on {public_name(data['source'], names)} ({data.get('fingerprint')})"
            found.append(words)
        elif kind in ("rating", "pairwise"):
            found.append(f"{kind} by {_judge_of(Path(value), names) or public}")
        else:
            found.append(f"{kind} {public}")
    return found


def _judge_of(settings: Path, names: Names) -> str | None:
    """The judge's model that a YAML file of settings names; None where it cannot be read any more."""
    import yaml

    try:
        row = yaml.safe_load(settings.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    return public_name(row.get("judge_model"), names) if isinstance(row, dict) else None


# What was measured of it ----------------------------------------------------------------------------------------------


def evaluation(report_json: Path, folder: Path, reward_model: bool, manifest: Manifest, names: Names) -> dict[str, Any]:
    """What a report of `rlaif evaluate` says of the model in `folder`.

    Args:
        report_json: the report, or the folder that holds it.
        folder: the model's.
        reward_model: whether it is one; else it is a policy.
        manifest: of the model's own run.
        names: public names by the run's own.

    Returns:
        Of a reward model, the report's section. Of a policy: `policies` (it and the baseline), the names `policy`,
        `baseline` and `reference`, `prompts`, `sampling`, `gold`, `judge` (`model` and `template`, or None),
        `reward_model` (or None), and `notes` on what to beware of.

    Raises:
        ValueError: no such report, or one that knows other models only, or this one when it had other weights.
    """
    file = report_json / "report.json" if report_json.is_dir() else report_json
    report = read_json(file)
    if not {"policies", "prompts", "sampling"} <= set(report):
        raise ValueError(f"{report_json} is no report of `rlaif evaluate`; expected its report.json, or its folder.")
    made = read_json(file.parent / "manifest.json")
    made = made if made.get("command") == "rlaif evaluate" else {}
    inputs, config = made.get("inputs", {}), made.get("config", {})
    if reward_model:
        section = report.get("reward_model") or {}
        _find({"reward_model": section["path"]} if section else {}, inputs, folder, file)
        public = {key: _without_plot(value) for key, value in section.items() if key != "path"}
        public |= {"gold": report.get("gold"), "preferences": public_name(section["preferences"], names)}
        return dict(no_paths(public))
    name = _find({name: row["path"] for name, row in report["policies"].items()}, inputs, folder, file)
    cut = {
        "policy": name,
        "baseline": report["baseline"],
        "reference": public_name(report["reference"], names),
        "prompts": {**report["prompts"], "source": public_name(report["prompts"]["source"], names)},
        "sampling": report["sampling"],
        "gold": report.get("gold"),
        "judge": {key: public_name(config.get(of), names) for key, of in _JUDGE} if config.get("judge_model") else None,
        "reward_model": public_name(config.get("reward_model"), names),
        "policies": {
            other: {key: value for key, value in report["policies"][other].items() if key != "path"}
            for other in dict.fromkeys([report["baseline"], name])
        },
        "notes": _notes(config, inputs, manifest),
    }
    return dict(no_paths(cut))


def _without_plot(section: Any) -> Any:
    """A section of numbers without the points of its plot."""
    return {k: v for k, v in section.items() if k != "reliability"} if isinstance(section, dict) else section


_JUDGE = (("model", "judge_model"), ("template", "template"))


def _find(known: Mapping[str, str], inputs: Mapping[str, str], folder: Path, file: Path) -> str:
    """The name of `folder` in a report; by its content where the report's manifest has that, else by its path."""
    mark = fingerprint(folder)
    by_content = [name for name, path in known.items() if inputs.get(path) == mark]
    by_path = [name for name, path in known.items() if Path(path).resolve() == folder.resolve()]
    if by_content:
        return by_content[0]
    if not by_path:
        named = ", ".join(f"{name} ({path})" for name, path in known.items()) or "none of its kind"
        raise ValueError(f"{file} does not know {folder}; it knows {named}. Evaluate it, or give its own report.")
    then = inputs.get(known[by_path[0]])
    if then is not None:
        raise ValueError(
            f"{folder} has changed since {file} was written ({then} then, {mark} now); expected numbers of what is "
            "published. Run `rlaif evaluate` again: what it sampled and judged is kept."
        )
    return by_path[0]


def _notes(config: Manifest, inputs: Mapping[str, str], manifest: Manifest) -> list[str]:
    """What to beware of in an evaluation with these settings and inputs, of the model that `manifest` tells of."""
    notes = []
    trained = manifest.get("config", {})
    marks = {manifest["inputs"].get(spec.partition("=")[2]) for spec in trained.get("rewards", [])} - {None}
    if inputs.get(config.get("reward_model", "")) in marks:
        notes.append("The reward model is the one that this policy was trained on, so its score says little by itself.")
    if trained.get("load_in_4bit") and not config.get("load_in_4bit"):
        notes.append("It was trained on 4-bit weights and evaluated on unquantized ones.")
    return notes
