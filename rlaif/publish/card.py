"""What a dataset's card and a model's share: the YAML that the Hub reads, checked before anything is sent.

A card is a README.md: YAML between two `---`, for the Hub's filters and viewer, then Markdown for people. The Hub
refuses a push whose YAML it does not understand; what it would refuse is refused here first, with what it takes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from rlaif.config import UsageError
from rlaif.errors.words import guess

__all__ = [
    "LICENSES",
    "NOT_MEASURED",
    "UNKNOWN",
    "CardFields",
    "check_fields",
    "front_matter",
    "known_or",
    "render",
    "size_category",
]

Kind = Literal["dataset", "model"]

UNKNOWN = "unknown"
NOT_MEASURED = "not measured"
PROJECT_TAGS = ("rlaif",)

# https://huggingface.co/docs/hub/repositories-licenses. What is not here goes as "other" with a name and a link.
_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense
zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma unknown other
"""
LICENSES = frozenset(_LICENSES.split())
# What is no language of people, and what the Hub takes in its place.
SPECIAL_LANGUAGES = frozenset({"code", "multilingual"})
_TAG = re.compile(r"[^\s,][^\n,]{0,95}")


@dataclass(frozen=True)
class CardFields:
    """What only the publisher knows. Nothing of it is assumed.

    Attributes:
        license: an identifier of the Hub's list, or "other" with `license_name` and `license_link`.
        language: ISO 639 codes; empty where it is not said, and the card then says so.
        tags: besides the ones that every card of its kind has.
        pretty_name: the title; the repository's or folder's name where it is None.
    """

    license: str
    license_name: str | None = None
    license_link: str | None = None
    language: Sequence[str] = ()
    tags: Sequence[str] = ()
    pretty_name: str | None = None


def check_fields(fields: CardFields) -> None:
    """A UsageError for the first field that the Hub would refuse, with what it takes."""
    if fields.license not in LICENSES:
        hint = guess(fields.license, LICENSES) or "such as apache-2.0, mit, cc-by-4.0 or odc-by."
        raise UsageError(
            f"license is {fields.license!r}; expected an identifier of the Hub's list, {hint} For any other licence: "
            "--license other --license_name NAME --license_link URL."
        )
    if fields.license == "other" and not (fields.license_name and fields.license_link):
        raise UsageError(
            "license is 'other' without its name and text; expected --license_name NAME (as in my-licence-1.0) and "
            "--license_link URL or LICENSE."
        )
    if fields.license != "other" and (fields.license_name or fields.license_link):
        raise UsageError(
            f"license is {fields.license!r}, whose name and text are known; license_name and license_link go with "
            "--license other only."
        )
    for code in fields.language:
        if code not in SPECIAL_LANGUAGES and code not in _languages():
            raise UsageError(
                f"language holds {code!r}; expected ISO 639 codes such as en, de or zh (two or three small letters), "
                "'code' or 'multilingual'."
            )
    if fields.pretty_name is not None and not re.fullmatch(r"\S(?:[^\n]*\S)?", fields.pretty_name):
        raise UsageError(f"pretty_name is {fields.pretty_name!r}; expected one line of text.")
    for tag in fields.tags:
        if not _TAG.fullmatch(tag):
            raise UsageError(f"tags holds {tag!r}; expected one short word or phrase without commas or line breaks.")


@cache
def _languages() -> frozenset[str]:
    """The ISO 639 codes that `datasets` carries, which are the Hub's."""
    text = (resources.files("datasets.utils.resources") / "languages.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text))


def size_category(rows: int) -> str:
    """The Hub's size category of a number of rows."""
    bounds = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    for power, bound in enumerate(bounds):
        if rows < 10 ** (power + 3):
            return f"n<{bound}" if power == 0 else f"{bounds[power - 1]}<n<{bound}"
    return f"n>{bounds[-1]}"


def front_matter(fields: CardFields, kind: Kind, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML's content: the publisher's fields, checked, then what the run adds (`extra`; its tags go first)."""
    check_fields(fields)
    tags = dict.fromkeys([*extra.get("tags", ()), *PROJECT_TAGS, *fields.tags])
    given = dataclasses.asdict(fields) | {"language": [*fields.language], "tags": [*tags]}
    if kind == "model":
        del given["pretty_name"]  # a dataset's field; a model's name is its repository's
    rest = {name: value for name, value in extra.items() if name != "tags"}
    return {name: value for name, value in (given | rest).items() if value not in (None, [], ())}


def render(metadata: Mapping[str, Any], body: str, kind: Kind) -> str:
    """The whole README.md; a ValueError where huggingface_hub cannot read its YAML."""
    import yaml
    from huggingface_hub import DatasetCard, ModelCard

    text = f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)}---\n\n{body.strip()}\n"
    try:
        (DatasetCard if kind == "dataset" else ModelCard)(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"the card's YAML cannot be read back: {' '.join(str(error).split())}") from None
    return text


def known_or(value: Any, otherwise: str = UNKNOWN) -> str:
    """`value` as text, or the word that says that it is not known: a card hides nothing."""
    return otherwise if value is None or value == "" else str(value)
