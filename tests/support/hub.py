"""A stand-in for the Hugging Face Hub on loopback: keeps what `huggingface_hub` sends and gives it back.

    from support.hub import Hub  # or the fixture `hub` of conftest.py: a fresh one for each test

    with Hub() as hub:
        done = support.rlaif("publish", ..., **hub.env)       # any program: a subprocess with this environment
        repo = hub.repos["datasets/ada/prefs"]                # models are "models/ada/name"
        repo.private                                          # bool
        repo.files                                            # {path: bytes} of the last commit of main
        repo.commits                                          # oldest first: commit.oid, .message, .files, .parent
        hub.calls                                             # every request: call.method, .path, .size, .status
        hub.count("PUT", "/lfs/")                             # how many requests had this method and this in their path
        hub.uploads                                           # {sha256: times its bytes arrived whole}

`hub.url` is the endpoint, `hub.user` ("ada") the owner of `hub.token`, who also writes to the organisation "lab"; the
organisation "readers" she only reads. `hub.env` holds HF_ENDPOINT, HF_TOKEN, HF_HOME (a fresh temporary folder),
HF_HUB_OFFLINE=0, HF_HUB_DISABLE_XET=1, no telemetry, no proxy for loopback. huggingface_hub and datasets read these
once, at import: what talks to the stand-in is always a subprocess. In it, `datasets.load_dataset("ada/prefs")`,
`hf_hub_download`, `snapshot_download` and transformers' `from_pretrained("ada/name")` work; a private repo asks for
the token.

What somebody else did on the Hub: `hub.add("datasets/ada/prefs", {path: bytes}, private=False)` makes a repository,
`repo.commit({path: bytes}, delete=[path])` changes it. `hub.add_token("read")`, or "fineGrained" with its scopes, gives
another token of ada's, to be put into HF_TOKEN.

Troubles are ordered beforehand: `hub.fail(what, status=..., at=n, times=k, message=..., headers={...})` answers the
n-th (from 0) to the (n+k-1)-th request whose "METHOD path" contains `what` with that status; `status=None` drops the
connection instead, `late=True` does so after the request took effect. `hub.hold(what, at=n)` lets requests from the
n-th on wait, `hub.waiting` of them, until `hub.release()`: the moment to kill a program.

Large files arrive by "PUT /lfs/put/...", in pieces ("PUT /lfs/part/...") above `hub.part_size` bytes, or through hf_xet
after `hub.use_xet`. A card is judged by `card_trouble`, in the Hub's words as far as they are known.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import json
import re
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from support.loopback import Loopback

# What the Hub writes into a new repository; files that match go to large file storage.
LFS_PATTERNS = ("*.arrow", "*.bin", "*.gz", "*.npy", "*.npz", "*.parquet", "*.pt", "*.safetensors", "*.zip")
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()
LFS_SIZE = 10 << 20
KINDS = {"datasets": "dataset", "models": "model"}

# The identifiers that the Hub listed in May 2026 when it refused another one (huggingface_hub's issue 4218).
_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown other
"""
# The ones that text can have; the Hub knows more, for images, sound and robots.
_TASKS = """
text-classification token-classification table-question-answering question-answering zero-shot-classification
translation summarization feature-extraction text-generation fill-mask sentence-similarity text-ranking
reinforcement-learning tabular-classification tabular-regression other
"""
_SIZES = """
n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B 100B<n<1T n>1T
"""
LICENSES, TASKS, SIZES = _LICENSES.split(), _TASKS.split(), _SIZES.split()
FRONT_MATTER = re.compile(r"^\s*---\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", re.DOTALL)


@dataclass
class Commit:
    """One state of main: every file whole."""

    oid: str
    message: str
    description: str
    files: dict[str, bytes]
    lfs: frozenset[str]
    parent: str | None


@dataclass
class Repo:
    """A repository. `objects` is its large file storage, whether or not a commit refers to them."""

    key: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.key.split("/", 1)[1]

    @property
    def kind(self) -> str:
        return KINDS[self.key.split("/", 1)[0]]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.head.files

    def at(self, revision: str) -> Commit:
        if revision == "main":
            return self.head
        found = [commit for commit in self.commits if commit.oid == revision]
        if not found:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def is_lfs(self, path: str, size: int, sample: bytes) -> bool:
        named = any(fnmatch(path.rsplit("/", 1)[-1], pattern) for pattern in LFS_PATTERNS)
        return size > 0 and (named or size > LFS_SIZE or b"\0" in sample)

    def commit(
        self,
        files: Mapping[str, bytes],
        delete: Iterable[str] = (),
        message: str = "Edit on the Hub",
        description: str = "",
        lfs: Iterable[str] | None = None,
    ) -> Commit:
        """Adds a commit, as somebody else would do it where a test calls this."""
        gone = {*delete}
        old, old_lfs, parent = (self.head.files, self.head.lfs, self.head.oid) if self.commits else ({}, (), None)
        new = {**{path: data for path, data in old.items() if path not in gone}, **files}
        if lfs is None:
            lfs = [path for path, data in files.items() if self.is_lfs(path, len(data), data[:512])]
        kept = {path for path in old_lfs if path in new and path not in files} | {*lfs}
        oid = hashlib.sha1(f"{self.key} {len(self.commits)} {time.time_ns()}".encode()).hexdigest()
        self.commits.append(Commit(oid, message, description, new, frozenset(kept), parent))
        for path in kept:
            self.objects[sha256(new[path])] = new[path]
        return self.head


@dataclass
class Call:
    """One request. `status` is None for a connection that was dropped, `size` what its body held."""

    method: str
    path: str
    size: int = 0
    status: int | None = None


@dataclass
class Trouble:
    what: str
    status: int | None
    at: int
    times: int
    message: str
    headers: dict[str, str]
    late: bool
    seen: int = 0


class RefusedError(Exception):
    """Ends a request with a status, in the way that the Hub words it."""

    def __init__(self, status: int, message: str, code: str | None = None, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.more = status, message, code, more


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(Loopback):
    """The server, in a thread of this process; see the top of this file."""

    user = "ada"

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.token = self.add_token("write")
        self.forget()
        self._home = tempfile.TemporaryDirectory(prefix="hub-")
        self._start([("*", "/{path:.*}", self._handle)], largest=1 << 30)

    # What tests ask and order.

    def forget(self) -> None:
        """Makes the stand-in what it was at first, but for its address, its tokens and HF_HOME."""
        self.repos: dict[str, Repo] = {}
        self.calls: list[Call] = []
        self.uploads: Counter[str] = Counter()
        self.part_size = 64 << 20
        self.page = 1000
        self._troubles: list[Trouble] = []
        self._held: tuple[str, int] | None = None
        self._holding: Counter[str] = Counter()
        self.waiting = 0
        self._xet: tuple[Path, dict[str, bytes]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HOME": self._home.name,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "0" if self._xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def add_token(self, role: str, scoped: Iterable[Mapping[str, Any]] = ()) -> str:
        """A token of ada's: "write", "read", or "fineGrained" with what it may do where."""
        token = "hf_" + secrets.token_hex(17)
        granted = {"fineGrained": {"canReadGatedRepos": False, "global": [], "scoped": [*scoped]}}
        self.tokens[token] = {"displayName": role, "role": role, **(granted if role == "fineGrained" else {})}
        return token

    def add(self, key: str, files: Mapping[str, bytes] | None = None, private: bool = False) -> Repo:
        """A repository that is there already, as if somebody had made it before."""
        repo = self.repos[key] = Repo(key, private)
        repo.commit({".gitattributes": GITATTRIBUTES}, message="initial commit")
        if files is not None:
            repo.commit(files)
        return repo

    def use_xet(self, storage: Path, contents: Iterable[bytes]) -> None:
        """Lets hf_xet keep large files, in `storage` and in its own form, which is not read here.

        `contents` are the files to come; who asks for them gets these.
        """
        self._xet = storage, {sha256(data): data for data in contents}

    def fail(
        self,
        what: str,
        status: int | None = 500,
        *,
        at: int = 0,
        times: int = 1,
        message: str = "ordered by the test",
        headers: Mapping[str, str] | None = None,
        late: bool = False,
    ) -> None:
        """Orders a trouble for requests to come; with `late` the request takes effect and only its answer is lost."""
        self._troubles.append(Trouble(what, status, at, times, message, dict(headers or {}), late))

    def hold(self, what: str, at: int) -> None:
        """Requests whose "METHOD path" contains `what` wait, from the one numbered `at`, until `release`."""
        self._holding.clear()
        self._held = (what, at)

    def release(self) -> None:
        self._held = None

    def count(self, method: str, part: str = "") -> int:
        return sum(call.method == method and part in call.path for call in self.calls)

    def close(self) -> None:
        self.release()
        super().close()
        self._home.cleanup()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # The server.

    async def _handle(self, request: Any) -> Any:
        from aiohttp import web

        call = Call(request.method, request.raw_path)
        self.calls.append(call)
        line = f"{call.method} {call.path}"
        if not await self._wait(line, request):
            return web.Response()
        trouble = self._trouble(line)
        if trouble and not trouble.late:
            return self._answer_trouble(trouble, request, call)
        try:
            body = await request.read()
            call.size = len(body)
            response = self._route(request, body)
        except RefusedError as error:
            headers = {"X-Error-Message": error.message.splitlines()[0]}
            if error.code:
                headers["X-Error-Code"] = error.code
            if request.method == "HEAD":
                response = web.Response(status=error.status, headers=headers)
            else:
                value = {"error": error.message, **error.more}
                response = web.json_response(value, status=error.status, headers=headers)
        if trouble:
            return self._answer_trouble(trouble, request, call)
        call.status = response.status
        return response

    async def _wait(self, line: str, request: Any) -> bool:
        """Waits where a request is held; whether there is still somebody to answer."""
        if not self._held or self._held[0] not in line:
            return True
        number = self._holding[self._held[0]]
        self._holding[self._held[0]] += 1
        if number < self._held[1]:
            return True
        self.waiting += 1
        try:
            while self._held:
                await asyncio.sleep(0.01)
                if request.transport is None or request.transport.is_closing():
                    return False
        finally:
            self.waiting -= 1
        return True

    def _trouble(self, line: str) -> Trouble | None:
        for trouble in self._troubles:
            if trouble.what in line:
                number = trouble.seen
                trouble.seen += 1
                if trouble.at <= number < trouble.at + trouble.times:
                    return trouble
        return None

    def _answer_trouble(self, trouble: Trouble, request: Any, call: Call) -> Any:
        from aiohttp import web

        if trouble.status is None:
            request.transport.abort()
            return web.Response()
        call.status = trouble.status
        return web.json_response({"error": trouble.message}, status=trouble.status, headers=trouble.headers)

    def _route(self, request: Any, body: bytes) -> Any:
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, request.rel_url.raw_path)
            if found and request.method in method:
                return answer(self, request, body, *(unquote(group or "") for group in found.groups()))
        raise RefusedError(
            404, f"Sorry, we can't find the page you are looking for: {request.method} {request.raw_path}"
        )

    # Who may do what.

    def _token(self, request: Any) -> dict[str, Any] | None:
        given = request.headers.get("Authorization", "")
        if not given:
            return None
        if given.removeprefix("Bearer ") not in self.tokens:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.tokens[given.removeprefix("Bearer ")]

    def _repo(self, request: Any, group: str, name: str, write: bool = False) -> Repo:
        token = self._token(request)
        repo = self.repos.get(f"{group}/{name}")
        mine = repo is not None and name.split("/")[0] in (self.user, "lab", "readers")
        if repo is None or (repo.private and not (token and mine)):
            raise RefusedError(404 if token else 401, "Repository not found", "RepoNotFound")
        if write and not self._may_write(token, name, repo.kind):
            raise RefusedError(403, "You don't have the required permissions to write to this repository")
        return repo

    def _may_write(self, token: dict[str, Any] | None, name: str, kind: str) -> bool:
        if token is None or token["role"] == "read":
            return False
        namespace = name.split("/")[0]
        if token["role"] == "fineGrained":
            return any(
                "repo.write" in scope["permissions"]
                and scope["entity"]["name"] == (name if scope["entity"]["type"] == kind else namespace)
                for scope in token["fineGrained"]["scoped"]
            )
        return namespace in (self.user, "lab")

    # What the Hub answers.

    def _whoami(self, request: Any, body: bytes) -> Any:
        token = self._token(request)
        if token is None:
            raise RefusedError(401, "Invalid username or password.")
        orgs = [
            {"type": "org", "name": name, "roleInOrg": role} for name, role in (("lab", "write"), ("readers", "read"))
        ]
        auth = {"type": "access_token", "accessToken": token}
        return _json({"type": "user", "name": self.user, "orgs": orgs, "auth": auth})

    def _create(self, request: Any, body: bytes) -> Any:
        asked = json.loads(body)
        kind = asked.get("type") or "model"
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        token = self._token(request)
        if token is None:
            raise RefusedError(401, "Invalid username or password.")
        if not self._may_write(token, name, kind):
            space = name.split("/")[0]
            raise RefusedError(403, f'You don\'t have the rights to create a {kind} under the namespace "{space}"')
        url = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if f"{kind}s/{name}" in self.repos:
            raise RefusedError(409, f"You already created this {kind} repo", url=url)
        self.add(f"{kind}s/{name}", private=asked.get("visibility") == "private")
        return _json({"url": url, "name": name, "id": secrets.token_hex(12)})

    def _validate(self, request: Any, body: bytes) -> Any:
        asked = json.loads(body)
        errors, card_warnings = card_trouble(asked["content"], asked["repoType"])
        if errors:
            raise RefusedError(400, errors[0], errors=_messages(errors), warnings=_messages(card_warnings))
        return _json({"errors": [], "warnings": _messages(card_warnings)})

    def _info(self, request: Any, body: bytes, group: str, name: str, revision: str) -> Any:
        repo = self._repo(request, group, name)
        commit = repo.at(revision or "main")
        blobs = request.query.get("blobs", "").lower() == "true"
        siblings = [
            {"rfilename": path, **({"size": len(data), "blobId": git_oid(data)} if blobs else {})}
            for path, data in commit.files.items()
        ]
        return _json(
            {
                "_id": hashlib.sha1(repo.key.encode()).hexdigest()[:24],
                "id": repo.id,
                "modelId": repo.id,
                "author": repo.id.split("/")[0],
                "sha": commit.oid,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    def _tree(self, request: Any, body: bytes, group: str, name: str, revision: str, folder: str) -> Any:
        repo = self._repo(request, group, name)
        commit = repo.at(revision)
        prefix = f"{folder}/" if folder else ""
        recursive = request.query.get("recursive", "").lower() == "true"
        entries: dict[str, dict[str, Any]] = {}
        for path in sorted(commit.files):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts)):
                parent = prefix + "/".join(parts[:depth])
                if recursive or depth == 1:
                    entries[parent] = _folder_entry(parent)
            if recursive or len(parts) == 1:
                entries[path] = _file_entry(commit, path)
        if folder and not entries:
            raise RefusedError(404, f'{folder} does not exist on "{revision}"', "EntryNotFound")
        start = int(request.query.get("cursor", "0"))
        listed = [entries[path] for path in sorted(entries)]
        headers = {}
        if start + self.page < len(listed):
            query = {**request.query, "cursor": str(start + self.page)}
            url = f"{self.url}{request.rel_url.with_query(query)}"
            headers["Link"] = f'<{url}>; rel="next"'
        return _json(listed[start : start + self.page], headers)

    def _paths(self, request: Any, body: bytes, group: str, name: str, revision: str) -> Any:
        from urllib.parse import parse_qs

        commit = self._repo(request, group, name).at(revision)
        as_json = request.content_type == "application/json"
        paths = json.loads(body)["paths"] if as_json else parse_qs(body.decode())["paths"]
        found = [_file_entry(commit, path) for path in paths if path in commit.files]
        folders = [_folder_entry(path) for path in paths if any(f.startswith(f"{path}/") for f in commit.files)]
        return _json(found + folders)

    def _commits(self, request: Any, body: bytes, group: str, name: str, revision: str) -> Any:
        repo = self._repo(request, group, name)
        upto = repo.commits.index(repo.at(revision)) + 1
        return _json(
            [
                {
                    "id": commit.oid,
                    "title": commit.message,
                    "message": commit.description,
                    "authors": [{"user": self.user}],
                    "date": "2026-01-01T00:00:00.000Z",
                }
                for commit in reversed(repo.commits[:upto])
            ]
        )

    def _refs(self, request: Any, body: bytes, group: str, name: str) -> Any:
        head = self._repo(request, group, name).head
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": head.oid}
        return _json({"branches": [main], "tags": [], "converts": []})

    def _preupload(self, request: Any, body: bytes, group: str, name: str, revision: str) -> Any:
        repo = self._repo(request, group, name, write=True)
        commit, asked, answers = repo.at(revision), json.loads(body), []
        ignored = [
            line for line in asked.get("gitIgnore", commit.files.get(".gitignore", b"").decode()).split() if line
        ]
        for file in asked["files"]:
            path = file["path"]
            sample = base64.b64decode(file["sample"])
            answer = {
                "path": path,
                "uploadMode": "lfs" if repo.is_lfs(path, file["size"], sample) else "regular",
                "shouldIgnore": any(fnmatch(path, pattern) for pattern in ignored),
            }
            if path in commit.files:
                data = commit.files[path]
                answer["oid"] = sha256(data) if path in commit.lfs else git_oid(data)
            answers.append(answer)
        return _json({"files": answers})

    def _xet_token(self, request: Any, body: bytes, group: str, name: str, revision: str) -> Any:
        self._repo(request, group, name, write=True)
        if self._xet is None:
            raise RefusedError(404, "There is no Xet storage here")
        return _json({"accessToken": "xet", "exp": int(time.time()) + 3600, "casUrl": f"local://{self._xet[0]}"})

    def _batch(self, request: Any, body: bytes, prefix: str, name: str) -> Any:
        group = "datasets" if prefix else "models"
        repo = self._repo(request, group, name, write=True)
        objects = [self._lfs_object(repo, **entry) for entry in json.loads(body)["objects"]]
        return _json({"transfer": "basic", "objects": objects})

    def _lfs_object(self, repo: Repo, oid: str, size: int) -> dict[str, Any]:
        if oid in repo.objects:
            return {"oid": oid, "size": size}
        base = f"{self.url}/lfs/{{}}/{repo.key}/{oid}"
        upload: dict[str, Any] = {"href": base.format("put")}
        if size > self.part_size:
            numbers = range(1, -(-size // self.part_size) + 1)
            parts = {f"{number:05}": f"{base.format('part')}/{number}" for number in numbers}
            upload = {"href": base.format("complete"), "header": {"chunk_size": str(self.part_size), **parts}}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": base.format("verify")}}}

    def _put(self, request: Any, body: bytes, key: str, oid: str) -> Any:
        if sha256(body) != oid:
            raise RefusedError(400, "The content does not have this SHA-256")
        self.uploads[oid] += 1
        self.repos[key].objects[oid] = body
        return _json({})

    def _part(self, request: Any, body: bytes, key: str, oid: str, number: str) -> Any:
        self.repos[key].parts.setdefault(oid, {})[int(number)] = body
        return _json({}, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def _complete(self, request: Any, body: bytes, key: str, oid: str) -> Any:
        parts = self.repos[key].parts.pop(oid)
        named = {part["partNumber"]: part["etag"].strip('"') for part in json.loads(body)["parts"]}
        if named != {number: hashlib.md5(data).hexdigest() for number, data in parts.items()}:
            raise RefusedError(400, "The parts are not the ones that were sent")
        return self._put(request, b"".join(parts[number] for number in sorted(parts)), key, oid)

    def _verify(self, request: Any, body: bytes, key: str, oid: str) -> Any:
        self._repo(request, *key.split("/", 1), write=True)
        if len(self.repos[key].objects.get(oid, b"")) != json.loads(body)["size"]:
            raise RefusedError(404, "The object is not there")
        return _json({})

    def _commit(self, request: Any, body: bytes, group: str, name: str, revision: str) -> Any:
        repo = self._repo(request, group, name, write=True)
        files: dict[str, bytes] = {}
        header, deleted, large = {}, [], []
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                header = value
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                data = (repo.objects | (self._xet[1] if self._xet else {})).get(value["oid"])
                if data is None:
                    raise RefusedError(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                files[value["path"]] = data
                large.append(value["path"])
            elif entry["key"] == "deletedFile":
                if value["path"] not in repo.files:
                    raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
                deleted.append(value["path"])
            else:
                raise RefusedError(400, f"{entry['key']} is not known here")
        if header.get("parentCommit") not in (None, repo.at(revision).oid):
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        if "README.md" in files:
            errors, _ = card_trouble(files["README.md"].decode(), repo.kind)
            if errors:
                raise RefusedError(400, f"Invalid metadata in README.md: {errors[0]}")
        done = repo.commit(files, deleted, header["summary"], header.get("description", ""), large)
        url = f"{self.url}/{'datasets/' if group == 'datasets' else ''}{name}/commit/{done.oid}"
        return _json({"success": True, "commitUrl": url, "commitOid": done.oid, "hookOutput": ""})

    def _resolve(self, request: Any, body: bytes, prefix: str, name: str, revision: str, path: str) -> Any:
        from aiohttp import web

        commit = self._repo(request, "datasets" if prefix else "models", name).at(revision)
        if path not in commit.files:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        data = commit.files[path]
        etag = f'"{sha256(data) if path in commit.lfs else git_oid(data)}"'
        headers = {"ETag": etag, "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if path in commit.lfs:
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": etag}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(data))})
        asked = request.http_range
        if asked.start is None and asked.stop is None:
            return web.Response(body=data, headers=headers)
        start, stop, _ = asked.indices(len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return web.Response(status=206, body=data[start:stop], headers=headers)


def _json(value: Any, headers: Mapping[str, str] | None = None) -> Any:
    from aiohttp import web

    return web.json_response(value, headers=headers)


def _messages(lines: Iterable[str]) -> list[dict[str, str]]:
    return [{"message": line} for line in lines]


def _folder_entry(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


def _file_entry(commit: Commit, path: str) -> dict[str, Any]:
    data = commit.files[path]
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git_oid(data)}
    if path in commit.lfs:
        entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
        entry["oid"] = git_oid(f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}".encode())
    return entry


_NAME = r"([^/]+/[^/]+)"
_API = rf"/api/(datasets|models)/{_NAME}"
ROUTES: list[tuple[tuple[str, ...], str, Callable[..., Any]]] = [
    (("GET",), "/api/whoami-v2", Hub._whoami),
    (("POST",), "/api/repos/create", Hub._create),
    (("POST",), "/api/validate-yaml", Hub._validate),
    (("GET",), rf"{_API}(?:/revision/([^/]+))?", Hub._info),
    (("GET",), rf"{_API}/tree/([^/]+)(?:/(.+))?", Hub._tree),
    (("POST",), rf"{_API}/paths-info/([^/]+)", Hub._paths),
    (("GET",), rf"{_API}/commits/([^/]+)", Hub._commits),
    (("GET",), rf"{_API}/refs", Hub._refs),
    (("POST",), rf"{_API}/preupload/([^/]+)", Hub._preupload),
    (("GET",), rf"{_API}/xet-write-token/([^/]+)", Hub._xet_token),
    (("POST",), rf"{_API}/commit/([^/]+)", Hub._commit),
    (("POST",), rf"/(datasets/)?{_NAME}\.git/info/lfs/objects/batch", Hub._batch),
    (("PUT",), rf"/lfs/put/((?:datasets|models)/{_NAME[1:-1]})/([0-9a-f]+)", Hub._put),
    (("PUT",), rf"/lfs/part/((?:datasets|models)/{_NAME[1:-1]})/([0-9a-f]+)/(\d+)", Hub._part),
    (("POST",), rf"/lfs/complete/((?:datasets|models)/{_NAME[1:-1]})/([0-9a-f]+)", Hub._complete),
    (("POST",), rf"/lfs/verify/((?:datasets|models)/{_NAME[1:-1]})/([0-9a-f]+)", Hub._verify),
    (("GET", "HEAD"), rf"/(datasets/)?{_NAME}/(?:resolve|raw)/([^/]+)/(.+)", Hub._resolve),
]


# The YAML of a card, as the Hub judges it: what is wrong, and what it only warns of.


def card_trouble(content: str, kind: str) -> tuple[list[str], list[str]]:
    import yaml

    found = FRONT_MATTER.match(content)
    if not found:
        return [], [f"empty or missing yaml metadata in repo card (https://huggingface.co/docs/hub/{kind}s-cards)"]
    try:
        fields = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"Invalid YAML in README.md: {error}"], []
    if not isinstance(fields, dict):
        return ["Invalid YAML in README.md: expected a mapping"], []
    checks: list[tuple[str, Callable[[str, Any], Iterable[str]]]] = [
        ("license", _one_or_more_of(LICENSES)),
        ("language", _languages),
        ("tags", _texts),
        ("pretty_name", _text),
        ("license_name", _text),
        ("license_link", _text),
        ("size_categories", _list_of(SIZES)),
        ("task_categories", _texts),
        ("pipeline_tag", _text),
        ("library_name", _text),
        ("base_model", _text_or_texts),
        ("datasets", _text_or_texts),
        ("metrics", _texts),
        ("configs", _configs),
        ("dataset_info", _object_or_objects),
        ("widget", _objects),
        ("model-index", _model_index),
    ]
    errors = [line for name, check in checks if name in fields for line in check(name, fields[name])]
    listed = [*(fields.get("task_categories") or []), *([fields["pipeline_tag"]] if "pipeline_tag" in fields else [])]
    said = [
        f'The task "{task}" is not in the official list: {", ".join(TASKS)}.' for task in listed if task not in TASKS
    ]
    return errors, said


def _text(name: str, value: Any) -> Iterable[str]:
    if not isinstance(value, str):
        yield f'"{name}" must be a string'
    elif not value:
        yield f'"{name}" is not allowed to be empty'


def _texts(name: str, value: Any) -> Iterable[str]:
    if not isinstance(value, list):
        yield f'"{name}" must be an array'
        return
    for at, text in enumerate(value):
        yield from _text(f"{name}[{at}]", text)


def _text_or_texts(name: str, value: Any) -> Iterable[str]:
    return _texts(name, value) if isinstance(value, list) else _text(name, value)


def _list_of(known: list[str]) -> Callable[[str, Any], Iterable[str]]:
    def check(name: str, value: Any) -> Iterable[str]:
        if not isinstance(value, list):
            yield f'"{name}" must be an array'
            return
        for at, text in enumerate(value):
            if text not in known:
                yield f'"{name}[{at}]" must be one of [{", ".join(known)}]'

    return check


def _one_or_more_of(known: list[str]) -> Callable[[str, Any], Iterable[str]]:
    def check(name: str, value: Any) -> Iterable[str]:
        if isinstance(value, list):
            yield from _list_of(known)(name, value)
        elif value not in known:
            yield f'"{name}" must be one of [{", ".join(known)}, array]'

    return check


def _languages(name: str, value: Any) -> Iterable[str]:
    spec = importlib.util.find_spec("datasets")  # its list is the Hub's; importing it would take a second
    assert spec is not None
    assert spec.origin is not None
    known = json.loads((Path(spec.origin).parent / "utils/resources/languages.json").read_text(encoding="utf-8"))
    for at, code in enumerate(value if isinstance(value, list) else [value]):
        place = f"{name}[{at}]" if isinstance(value, list) else name
        if not isinstance(code, str):
            yield f'"{place}" must be a string'  # YAML reads a bare `no` as false
        elif code not in known and code not in ("code", "multilingual"):
            yield (
                f'"{place}" with value "{code}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code (two/three '
                'letters), or a special value like "code", "multilingual". If you want to use BCP-47 identifiers, you '
                "can specify them in language_bcp47."
            )


def _object_or_objects(name: str, value: Any) -> Iterable[str]:
    return _objects(name, value if isinstance(value, list) else [value])


def _objects(name: str, value: Any) -> Iterable[str]:
    if not isinstance(value, list):
        yield f'"{name}" must be an array'
        return
    for at, entry in enumerate(value):
        if not isinstance(entry, dict):
            yield f'"{name}[{at}]" must be of type object'


def _configs(name: str, value: Any) -> Iterable[str]:
    wrong = [*_objects(name, value)]
    yield from wrong
    for at, config in enumerate([] if wrong else value):
        yield from _text(f"{name}[{at}].config_name", config.get("config_name"))
        files = config.get("data_files")
        for number, entry in enumerate(files if isinstance(files, list) else []):
            for part in ("split", "path") if isinstance(entry, dict) else ():
                yield from _text_or_texts(f"{name}[{at}].data_files[{number}].{part}", entry.get(part))
    if not wrong and sum(config.get("default") is True for config in value) > 1:
        yield f'"{name}" has more than one default config'


def _model_index(name: str, value: Any) -> Iterable[str]:
    wrong = [*_objects(name, value)]
    yield from wrong
    for at, model in enumerate([] if wrong else value):
        yield from _text(f"{name}[{at}].name", model.get("name"))
        results = model.get("results")
        if not isinstance(results, list):
            yield f'"{name}[{at}].results" is required'
            continue
        for number, result in enumerate(results):
            place = f"{name}[{at}].results[{number}]"
            for part, needed in (("task", ("type",)), ("dataset", ("type", "name"))):
                for key in needed:
                    if not isinstance(result.get(part), dict) or not result[part].get(key):
                        yield f'"{place}.{part}.{key}" is required'
            for which, metric in enumerate(result.get("metrics") or [{}]):
                for key in ("type", "value"):
                    if metric.get(key) is None:
                        yield f'"{place}.metrics[{which}].{key}" is required'
