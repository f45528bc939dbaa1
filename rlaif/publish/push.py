"""Sends a folder to the Hugging Face Hub: private, resumable, all of it or nothing of it.

One commit holds the whole folder. Its large files are sent before, a batch at a time, to the Hub's storage, which
keeps them by their content and shows them to nobody until a commit names them. So a push that is killed leaves no
half dataset behind, a new version and the removal of the old one's shards are one step, and a second run sends only
what the storage has not got: of plain large files those that had not arrived whole, of Xet (which the Hub uses where
`hf_xet` is installed) the chunks that it does not know; a batch bounds what an unlucky kill can cost there.
`upload_folder` of huggingface_hub is not used: with Xet it makes a commit for every few hundred files or five
minutes, and a reader in between loads a dataset with shards of two versions or with some missing. The Hub takes 25,000
files in one commit, which at 500 MB a shard are 12 TB; a folder with more is refused.

A name that exists already is refused unless the push is asked to replace it, is the first into an empty repository
(an interrupted push leaves one), or goes on from this folder's own last push: each folder has a random name
(`.push.json`, which is not sent), each commit carries it, and the Hub's last commit says whose it is. It is known
before the first request, so no moment is left in which a kill could make the two disagree.

The token is huggingface_hub's own business (HF_TOKEN, `hf auth login`): no setting holds it, and it is cut out of
whatever is printed here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.config import UsageError, warn
from rlaif.files.sources import write_json
from rlaif.publish.card import Kind

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

__all__ = ["Pushed", "check_card", "check_name", "listing", "preflight", "push", "token_in"]

MARK = ".push.json"
# What the Hub puts into every repository by itself, and its limit for one commit.
HUBS_OWN = frozenset({".gitattributes"})
MOST_FILES = 25_000
BATCH_FILES = 256
BATCH_BYTES = 10 << 30


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        url: the repository's page.
        commit: the Hub's commit that holds the folder's content.
        files: how many files the folder has.
        bytes: their size.
        changed: files that this push added or replaced; 0 together with `deleted` where the Hub had it all.
        deleted: files of an earlier version that this push removed.
    """

    url: str
    commit: str
    files: int
    bytes: int
    changed: int
    deleted: int


@dataclass(frozen=True)
class _Remote:
    """A repository as it stands: its last commit, and the files in it."""

    commit: str
    private: bool
    files: Mapping[str, RepoFile]


def listing(folder: Path) -> list[tuple[str, int]]:
    """Every file that a push of `folder` sends, by its path, with its size.

    What begins with a dot is bookkeeping and stays, as do the `.partial` files of a run that was killed.

    Raises:
        ValueError: it is no folder, has no files or too many, or holds what is no file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected the folder to push.")
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if (Path(root) / name).is_symlink():
                raise ValueError(f"{Path(root) / name} is a link to a folder; expected files. Copy the folder there.")
        for name in names:
            path = Path(root) / name
            if name.startswith(".") or name.endswith(".partial"):
                continue
            if not path.is_file():
                raise ValueError(f"{path} is no file that can be read, or a link to nothing; expected files alone.")
            found.append((path.relative_to(folder).as_posix(), path.stat().st_size))
    if not found:
        raise ValueError(f"{folder} holds no files; expected what is to be pushed.")
    if len(found) > MOST_FILES:
        raise ValueError(
            f"{folder} holds {len(found):,} files; the Hub takes {MOST_FILES:,} in one commit. Write larger shards."
        )
    return sorted(found)


def token_in(folder: Path) -> str | None:
    """The first file to be sent that holds the Hub token's own text; None where none does, or there is no token.

    Files with a zero byte near their start are not read: as for git, they are no text.
    """
    from huggingface_hub import get_token

    token = (get_token() or "").encode()
    if not token:
        return None
    for name, _ in listing(folder):
        with (folder / name).open("rb") as file:
            block = file.read(1 << 20)
            if b"\0" in block[:8000]:
                continue
            while block:
                if token in block:
                    return name
                more = file.read(1 << 20)
                block = block[-len(token) :] + more if more else b""
    return None


def preflight(repo_id: str, repo_type: Kind, folder: Path, *, private: bool, update: bool) -> None:
    """Refuses, in seconds and with one line, what `push` would refuse after hours of checks.

    There is a token and the Hub knows it; it may write where `repo_id` says; and the repository is free, empty, to be
    replaced (`update`) or `folder`'s own. `folder` need not be there yet.
    """
    check_name(repo_id)
    token = _token()
    with _hub(repo_id, token, "Run the same command again."):
        from huggingface_hub import HfApi

        api = HfApi()
        _check_rights(api.whoami(), repo_id, repo_type)
        remote = _remote(api, repo_id, repo_type)
        if remote is not None:
            _check_free(api, remote, repo_id, repo_type, folder, private=private, update=update)


def check_card(content: str, repo_type: Kind) -> None:
    """A ValueError with the Hub's own words where it refuses the YAML of a README.md; its warnings are passed on."""
    with _hub("the card", _token(), "Run the same command again."):
        _ask_about_card(content, repo_type)


def push(folder: Path, repo_id: str, repo_type: Kind, *, private: bool, update: bool, message: str) -> Pushed:
    """Makes the repository's main branch hold exactly what `listing` names; see the top of this file.

    Args:
        folder: what to send.
        repo_id: "user/name" or "organisation/name".
        repo_type: the kind of repository; datasets and models have names of their own.
        private: what a new repository is. A public one is refused where a private one was asked for.
        update: replace whatever the repository holds.
        message: the commit's title.
    """
    check_name(repo_id)
    files = listing(folder)
    token = _token()
    if (leak := token_in(folder)) is not None:
        raise ValueError(f"{folder / leak} holds your Hub token; nothing was sent. Remove it, and make a new token.")
    mark = _mark(folder) or _make_mark(folder)
    with _hub(repo_id, token, "Run the same command again: what was sent is kept."):
        from huggingface_hub import HfApi

        api = HfApi()
        if "README.md" in dict(files):
            _ask_about_card((folder / "README.md").read_text(encoding="utf-8"), repo_type)
        remote = _remote(api, repo_id, repo_type) or _made(api, repo_id, repo_type, private)
        _check_free(api, remote, repo_id, repo_type, folder, private=private, update=update)
        adding, gone = _changes(folder, files, remote)
        commit = remote.commit
        if adding or gone:
            commit = _send(api, repo_id, repo_type, adding, gone, remote, title=message, description=_signed(mark))
            _check_arrived(_files(api, repo_id, repo_type, commit), files, repo_id)
    if remote.private and not private:
        warn(f"{repo_id} was private and stays so; its settings on the Hub make it public.")
    return Pushed(_url(repo_id, repo_type), commit, len(files), sum(size for _, size in files), len(adding), len(gone))


# What is asked of the Hub.


def _url(repo_id: str, repo_type: Kind) -> str:
    return f"{_host()}/{'datasets/' if repo_type == 'dataset' else ''}{repo_id}"


def _remote(api: HfApi, repo_id: str, repo_type: Kind) -> _Remote | None:
    """The repository as it is; None where there is none (or none that the token may see)."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = api.repo_info(repo_id, repo_type=repo_type)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None
    if info.id.casefold() != repo_id.casefold():
        raise ValueError(f"{repo_id} has moved to {info.id}; expected the name of today. Use --repo_id {info.id}.")
    commit = str(info.sha)
    return _Remote(commit, bool(info.private), _files(api, repo_id, repo_type, commit))


def _made(api: HfApi, repo_id: str, repo_type: Kind, private: bool) -> _Remote:
    api.create_repo(repo_id, repo_type=repo_type, private=private)
    remote = _remote(api, repo_id, repo_type)
    if remote is None:
        raise ValueError(f"{repo_id} was made, but the Hub does not show it yet; run the same command again.")
    return remote


def _files(api: HfApi, repo_id: str, repo_type: Kind, commit: str) -> dict[str, RepoFile]:
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo_id, recursive=True, revision=commit, repo_type=repo_type)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _ask_about_card(content: str, repo_type: Kind) -> None:
    from huggingface_hub import get_session, hf_raise_for_status

    asked = {"content": content, "repoType": repo_type}
    response = get_session().post(f"{_host()}/api/validate-yaml", json=asked)
    answer = response.json() if response.status_code in (200, 400) else {}
    for said in answer.get("warnings", []):
        warn(f"the Hub on the card: {_short(said['message'])}")
    wrong = [_short(said["message"]) for said in answer.get("errors", [])]
    if wrong:
        raise ValueError(f"the Hub refuses the card: {'; '.join(wrong)}. Mend the field, or leave it out.")
    hf_raise_for_status(response)


# What must be so before anything is sent.


def check_name(repo_id: str) -> None:
    """A UsageError where no repository can be called so."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"repo_id is {repo_id!r}; expected user/name. {error}") from None
    if repo_id.count("/") != 1:
        raise UsageError(f"repo_id is {repo_id!r}; expected user/name, with the user or organisation that owns it.")


def _token() -> str:
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    try:
        token = get_token()
    except OIDCError as error:
        raise ValueError(
            f"the Hub gave no token for HF_OIDC_RESOURCE ({_short(error)}); expected a job that may publish there, or "
            "HF_TOKEN without that variable."
        ) from None
    where = f"{_host()}/settings/tokens"
    if not token:
        raise ValueError(
            "there is no Hub token; expected one in HF_TOKEN or from `hf auth login`. Make one that may write at "
            f"{where}."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        # The HTTP library would refuse it in words that quote it.
        raise ValueError(f"the Hub token holds signs that no token has; expected hf_... . Copy it again from {where}.")
    return token


def _check_rights(who: Mapping[str, Any], repo_id: str, repo_type: Kind) -> None:
    """Reads what the Hub says of the token's owner; where it says nothing, the push will find out."""
    if who.get("type") != "user":
        return
    namespace = repo_id.split("/")[0].casefold()
    owner, orgs = who["name"], who.get("orgs", [])
    spaces = [owner, *(org["name"] for org in orgs if org.get("roleInOrg") != "read")]
    if namespace not in {space.casefold() for space in spaces}:
        raise ValueError(
            f"repo_id is {repo_id!r}, but the Hub token is {owner}'s, who may write to {', '.join(spaces)}; expected "
            "one of these before the slash, or another token."
        )
    token = (who.get("auth") or {}).get("accessToken") or {}
    may = token.get("role") != "read"
    if token.get("role") == "fineGrained" and "fineGrained" in token:
        may = any(
            "repo.write" in scope["permissions"]
            and scope["entity"].get("type") in ("user", "org", repo_type)
            and str(scope["entity"].get("name")).casefold() in (namespace, repo_id.casefold())
            for scope in token["fineGrained"].get("scoped", [])
        )
    if not may:
        raise ValueError(
            f"the Hub token {token.get('displayName', '')!r} may not write to {repo_id}; expected one that may. Give "
            f"it that right at {_host()}/settings/tokens, or use another one."
        )


def _check_free(
    api: HfApi, remote: _Remote, repo_id: str, repo_type: Kind, folder: Path, *, private: bool, update: bool
) -> None:
    url = _url(repo_id, repo_type)
    if private and not remote.private:
        raise ValueError(
            f"{repo_id} is public, and a private push was asked for; nothing was sent. Push with --private false, or "
            f"make it private at {url}/settings."
        )
    if update or not remote.files.keys() - HUBS_OWN:
        return
    mark = _mark(folder)
    last = api.list_repo_commits(repo_id, repo_type=repo_type, revision=remote.commit)[0]
    if mark is None or _signed(mark) not in last.message:
        raise ValueError(
            f"{repo_id} exists already ({url}), and its last commit ({last.commit_id[:7]}, {last.title!r}) does not "
            f"come from {folder}; expected a free name. Choose another --repo_id, or replace it all: --update true."
        )


# Whose push it is.


def _mark(folder: Path) -> str | None:
    """The folder's random name; None where it was never pushed."""
    path = folder / MARK
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} cannot be read; expected what an earlier push wrote there. Remove it.") from None


def _make_mark(folder: Path) -> str:
    write_json(folder / MARK, {"folder": secrets.token_hex(8)})
    mark = _mark(folder)
    assert mark is not None
    return mark


def _signed(mark: str) -> str:
    return f"Pushed by rlaif from folder {mark}."


# What is sent.


def _changes(
    folder: Path, files: Sequence[tuple[str, int]], remote: _Remote
) -> tuple[list[CommitOperationAdd], list[str]]:
    """The files that the Hub has not got or has otherwise, and the names of those that it has beyond the folder's."""
    from huggingface_hub import CommitOperationAdd

    ours = [CommitOperationAdd(name, folder.resolve() / name) for name, _ in files]
    adding = [operation for operation in ours if _differs(operation, remote.files.get(operation.path_in_repo))]
    return adding, sorted(remote.files.keys() - dict(files).keys() - HUBS_OWN)


def _send(
    api: HfApi,
    repo_id: str,
    repo_type: Kind,
    adding: Sequence[CommitOperationAdd],
    gone: Sequence[str],
    onto: _Remote,
    *,
    title: str,
    description: str,
) -> str:
    """The large files batch by batch into the Hub's storage, then the one commit; its name is returned."""
    from huggingface_hub import CommitOperationDelete

    for batch in _batches(adding):
        # A gitignore without rules: one that lies on the Hub would drop files silently.
        api.preupload_lfs_files(repo_id, batch, repo_type=repo_type, gitignore_content="# every file\n")
    commit = api.create_commit(
        repo_id,
        [*(CommitOperationDelete(name, is_folder=False) for name in gone), *adding],
        commit_message=title,
        commit_description=description,
        repo_type=repo_type,
        parent_commit=onto.commit,  # somebody else's commit in between is an error, not a mixture
    )
    return str(commit.oid)


def _differs(operation: CommitOperationAdd, there: RepoFile | None) -> bool:
    """Whether the Hub's file is another one than ours; ours is read only where the sizes agree."""
    info = operation.upload_info
    if there is None or there.size != info.size:
        return True
    if there.lfs is not None:
        return there.lfs.sha256 != info.sha256.hex()
    blob = hashlib.sha1(b"blob %d\0" % info.size)  # git's name for a file
    with Path(str(operation.path_or_fileobj)).open("rb") as file:
        while block := file.read(1 << 20):
            blob.update(block)
    return there.blob_id != blob.hexdigest()


def _batches(operations: Iterable[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    """`operations` in order, in lists of at most BATCH_FILES files and, where they hold several, BATCH_BYTES."""
    batch: list[CommitOperationAdd] = []
    size = 0
    for operation in operations:
        more = operation.upload_info.size
        if batch and (len(batch) == BATCH_FILES or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += more
    if batch:
        yield batch


def _check_arrived(there: Mapping[str, RepoFile], files: Sequence[tuple[str, int]], repo_id: str) -> None:
    sizes = {name: file.size for name, file in there.items() if name not in HUBS_OWN}
    wrong = sorted(name for name, _ in sizes.items() ^ dict(files).items())
    if wrong:
        raise ValueError(f"{repo_id} now holds another {wrong[0]} than was sent; run the same command again.")


# What huggingface_hub says, in this house's words.


@contextmanager
def _hub(what: str, token: str, again: str) -> Iterator[None]:
    """Talks to the Hub in quiet; a refusal or a broken connection becomes a ValueError of one line, without token."""
    with _quiet():
        try:
            yield
        except Exception as error:
            line = _line(error, what, again)
            if line is None:
                raise
            raise ValueError(line.replace(token, "***")) from None


class _OnlyWaits(logging.Filter):
    """Holds back what huggingface_hub logs (addresses with signatures in them, each retry), but not a long wait."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if said.startswith("Rate limited"):
            warn(f"the Hub: {said}")
        return record.levelno >= logging.ERROR


@contextmanager
def _quiet() -> Iterator[None]:
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    only_waits = _OnlyWaits()
    handlers = list(logging.getLogger("huggingface_hub").handlers)
    for handler in handlers:
        handler.addFilter(only_waits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
                yield
    finally:
        for handler in handlers:
            handler.removeFilter(only_waits)


def _line(error: BaseException, what: str, again: str) -> str | None:
    """The line that a user reads for an exception of huggingface_hub; None for one that is none of the Hub's."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__  # the threads that upload wrap what went wrong
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and a push needs the Hub; unset it (or TRANSFORMERS_OFFLINE)."
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, what, again)
    if isinstance(error, httpx2.HTTPError | ConnectionError | TimeoutError) or type(error).__module__ == "hf_xet":
        return f"the connection to {_host()} failed ({_short(error) or type(error).__name__}). {again}"
    if isinstance(error, json.JSONDecodeError):
        return f"{_host()} answered with something that is no JSON; expected the Hub, is a proxy in between? {again}"
    return None


def _refusal(error: HfHubHTTPError, what: str, again: str) -> str:
    status = error.response.status_code
    said = f"{status}: {_short(error.server_message or error.response.reason_phrase)}"
    if status == 401:
        return (
            f"{_host()} does not accept the token ({said}); expected a valid one in HF_TOKEN or from `hf auth login`. "
            f"Make one at {_host()}/settings/tokens."
        )
    if status in (402, 403):
        return (
            f"{_host()} refuses to write to {what} ({said}); expected a token with that right, and room in the owner's "
            "storage."
        )
    if status == 409:
        return f"{what} exists already ({said}); expected a free name. Choose another --repo_id."
    if status == 412:
        return f"{what} was changed by somebody else meanwhile ({said}); nothing was published. {again}"
    if status == 429:
        return f"{_host()} allows no more requests for now ({said}); wait{_wait(error)}. {again}"
    if status >= 500:
        return f"{_host()} failed ({said}). {again}"
    return f"{_host()} refuses {what} ({said})."


def _wait(error: HfHubHTTPError) -> str:
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    headers = error.response.headers
    limit = parse_ratelimit_headers(headers)
    seconds = headers.get("Retry-After") if limit is None or limit.remaining else str(limit.reset_in_seconds)
    return f" {seconds} seconds" if seconds and seconds.isdigit() else " a few minutes"


def _host() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _short(said: object, most: int = 300) -> str:
    text = re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", " ".join(str(said).split()))  # storage signs its addresses
    return text if len(text) <= most else f"{text[:most]}..."
