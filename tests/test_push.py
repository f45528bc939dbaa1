"""Folders reach the Hub whole, once and only where they may; the Hub here is tests/support/hub.py."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT, refused, rlaif_env, wait_until
from support.hub import Hub, card_trouble, sha256

from rlaif.publish import push as push_module
from rlaif.publish.push import listing, token_in

Done = subprocess.CompletedProcess[str]

KEY = "datasets/ada/prefs"
CARD = "---\nlicense: mit\nlanguage:\n- en\n---\n\n# Preferences\n"
# What a program around push looks like. It prints what push returned, or one line and status 1.
PROGRAM = """
import dataclasses, json, os, sys
from pathlib import Path
from rlaif import config
from rlaif.publish.push import check_card, preflight, push

def program(folder, repo_id, repo_type, private, update, steps, before):
    exec(before, globals() | {"folder": folder})
    def main():
        if "preflight" in steps:
            preflight(repo_id, repo_type, Path(folder), private=private, update=update)
        if "card" in steps:
            check_card((Path(folder) / "README.md").read_text(), repo_type)
        if "push" in steps:
            done = push(Path(folder), repo_id, repo_type, private=private, update=update, message="Version 1")
            print(json.dumps(dataclasses.asdict(done)))
    config.run(main)
"""
ALONE = f"{PROGRAM}\nprogram(*json.loads(sys.argv[1]))"
# A process that has loaded everything and only forks: each child is a program of its own, without a second of imports.
NURSERY = f"""{PROGRAM}
import traceback, huggingface_hub.hf_api, huggingface_hub.utils.tqdm
for line in sys.stdin:
    job, env, outputs = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 0
        os.environ.update(env)
        for number, output in enumerate(outputs, 1):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        try:
            program(*job)
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 2
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# huggingface_hub waits up to 23 s between its tries.
NO_WAITS = "import types, huggingface_hub.utils._http as h; h.time = types.SimpleNamespace(sleep=lambda seconds: None)"
AT_IMPORT = {"HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "HF_DEBUG", "HF_HUB_VERBOSITY"}


class NurseryHub(Hub):
    """A stand-in with a nursery whose children talk to it, and a folder for what they print."""

    nursery: subprocess.Popen[str]
    scratch: Path


@pytest.fixture(scope="module")
def one_hub() -> Iterator[NurseryHub]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with NurseryHub() as hub:
        command = [sys.executable, "-c", NURSERY]
        with subprocess.Popen(command, env=rlaif_env(**hub.env), **pipes) as hub.nursery:
            yield hub
            hub.nursery.communicate()


@pytest.fixture
def hub(one_hub: NurseryHub, tmp_path: Path) -> NurseryHub:
    """The module's stand-in, empty again."""
    one_hub.forget()
    one_hub.scratch = tmp_path
    return one_hub


def job(
    folder: Path,
    repo_id: str = "ada/prefs",
    repo_type: str = "dataset",
    private: bool = True,
    update: bool = False,
    steps: str = "preflight push",
    before: str = "",
) -> list[Any]:
    return [str(folder), repo_id, repo_type, private, update, steps.split(), before]


def start(hub: NurseryHub, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """A program of its own, to be killed or waited for."""
    command = [sys.executable, "-c", ALONE, json.dumps(job(folder, **options))]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=rlaif_env(**hub.env), **pipes)


def run(hub: NurseryHub, folder: Path, env: Mapping[str, str] | None = None, **options: Any) -> Done:
    """Runs PROGRAM to its end: a child of the nursery, or a program of its own where its libraries must load anew."""
    env = dict(env or {})
    if AT_IMPORT & env.keys():
        command = [sys.executable, "-c", ALONE, json.dumps(job(folder, **options))]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=rlaif_env(**hub.env | env))
    outputs = [hub.scratch / "stdout", hub.scratch / "stderr"]
    stdin, stdout = hub.nursery.stdin, hub.nursery.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(json.dumps([job(folder, **options), env, [str(path) for path in outputs]]) + "\n")
    stdin.flush()
    status = int(stdout.readline())
    return subprocess.CompletedProcess([], status, *(path.read_text(encoding="utf-8") for path in outputs))


def pushed(done: Done) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def python(hub: Hub, code: str, *arguments: str) -> Done:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=rlaif_env(**hub.env))


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def shard(number: int, size: int = 3000) -> bytes:
    return b"\0PAR1" + hashlib.shake_128(str(number).encode()).digest(size)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name, _ in listing(folder)}


def on_hub(hub: NurseryHub, key: str = KEY) -> dict[str, bytes]:
    return {path: data for path, data in hub.repos[key].files.items() if path != ".gitattributes"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A card, four large files in two folders, an empty file, and what is not to be sent."""
    shards = {f"data/train-0000{i}.parquet": shard(i) for i in range(3)} | {"votes/train.parquet": shard(9)}
    rest = {"README.md": CARD.encode(), "prompts/a.txt": "naïve 中".encode(), "empty.jsonl": b""}
    hidden = {".cache/x": b"1", "data/.lock": b"2", "votes/train.parquet.4711.partial": b"3"}
    return write(tmp_path / "out", {**shards, **rest, **hidden})


def test_a_push_is_whole_private_and_one_commit(hub: NurseryHub, folder: Path) -> None:
    listed = listing(folder)
    done = pushed(run(hub, folder))
    repo = hub.repos[KEY]
    assert repo.private
    assert [commit.message for commit in repo.commits] == ["initial commit", "Version 1"]
    assert on_hub(hub) == contents(folder)
    # The listing that a dry run prints is what was sent.
    assert [(path, len(data)) for path, data in sorted(on_hub(hub).items())] == listed
    assert listed == [
        ("README.md", len(CARD)),
        ("data/train-00000.parquet", 3005),
        ("data/train-00001.parquet", 3005),
        ("data/train-00002.parquet", 3005),
        ("empty.jsonl", 0),
        ("prompts/a.txt", 10),
        ("votes/train.parquet", 3005),
    ]
    assert done == {
        "url": f"{hub.url}/datasets/ada/prefs",
        "commit": repo.head.oid,
        "files": 7,
        "bytes": sum(size for _, size in listed),
        "changed": 7,
        "deleted": 0,
    }
    assert len(repo.head.lfs) == 4
    assert set(hub.uploads.values()) == {1}


def test_the_same_folder_again_sends_nothing(hub: NurseryHub, folder: Path) -> None:
    first = pushed(run(hub, folder))
    before = len(hub.calls)
    assert pushed(run(hub, folder)) == first | {"changed": 0}
    later = {(call.method, call.path) for call in hub.calls[before:]}
    assert {path for method, path in later if method != "GET"} == {"/api/validate-yaml"}
    assert len(hub.repos[KEY].commits) == 2


def kill_at(hub: NurseryHub, folder: Path, what: str, at: int, reached: int, **options: Any) -> None:
    """Kills a push that waits at its `at`-th request like `what`, when `reached` large files have arrived."""
    hub.hold(what, at)
    done = start(hub, folder, **options)
    wait_until(lambda: sum(hub.uploads.values()) == reached and hub.waiting > 0)
    done.send_signal(signal.SIGKILL)
    done.communicate(timeout=30)
    wait_until(lambda: hub.waiting == 0)
    hub.release()


@pytest.mark.parametrize(
    ("what", "at", "reached"),
    [
        ("POST /api/repos/create", 0, 0),
        ("POST /api/datasets/ada/prefs/preupload", 0, 0),
        ("PUT /lfs/", 0, 0),
        ("PUT /lfs/", 2, 2),
        ("PUT /lfs/", 3, 3),
        ("POST /lfs/verify", 1, 4),
        ("POST /api/datasets/ada/prefs/commit", 0, 4),
        ("GET /api/datasets/ada/prefs/tree", 1, 4),
    ],
)
def test_killed_and_run_again_it_is_whole_and_nothing_is_sent_twice(
    hub: NurseryHub, folder: Path, what: str, at: int, reached: int
) -> None:
    kill_at(hub, folder, what, at, reached)
    committed = "tree" in what
    # Nobody sees half a dataset.
    assert KEY not in hub.repos or on_hub(hub) == (contents(folder) if committed else {})
    puts = hub.count("PUT")
    done = pushed(run(hub, folder))
    assert done["changed"] == (0 if committed else 7)
    assert on_hub(hub) == contents(folder)
    assert len(hub.repos[KEY].commits) == 2
    assert hub.repos[KEY].private
    assert sorted(hub.uploads) == sorted(sha256(shard(i)) for i in (0, 1, 2, 9))
    assert set(hub.uploads.values()) == {1}
    assert hub.count("PUT") - puts == 4 - reached


def test_an_answer_lost_after_the_commit_makes_no_second_one(hub: NurseryHub, folder: Path) -> None:
    hub.fail("/commit/main", None, late=True)
    assert "run the same command again: what was sent is kept" in refused(run(hub, folder)).lower()
    assert pushed(run(hub, folder))["changed"] == 0
    assert len(hub.repos[KEY].commits) == 2


def test_files_in_parts_and_in_several_batches(hub: NurseryHub, folder: Path) -> None:
    hub.part_size = 1000
    done = pushed(run(hub, folder, before="from rlaif.publish import push as p; p.BATCH_FILES = 2"))
    assert done["changed"] == 7
    assert on_hub(hub) == contents(folder)
    assert (hub.count("PUT", "/lfs/part/"), hub.count("POST", "preupload"), hub.count("POST", "/commit/")) == (16, 4, 1)


def test_a_new_version_replaces_the_old_one_in_one_commit(hub: NurseryHub, folder: Path) -> None:
    hub.page = 2  # a listing of many files comes in pages
    pushed(run(hub, folder))
    (folder / "data/train-00002.parquet").unlink()
    write(folder, {"data/train-00001.parquet": shard(77), "prompts/a.txt": b"other text"})
    done = pushed(run(hub, folder, update=True))
    assert (done["changed"], done["deleted"]) == (2, 1)
    assert on_hub(hub) == contents(folder)
    assert len(hub.repos[KEY].commits) == 3
    assert len(hub.uploads) == 5  # shard 77 alone was new
    assert set(hub.uploads.values()) == {1}
    # Of the same length, with one byte changed: sizes alone would not tell.
    write(folder, {"data/train-00001.parquet": shard(77)[:-1] + b"!", "prompts/a.txt": b"Other text"})
    assert pushed(run(hub, folder, update=True))["changed"] == 2
    assert on_hub(hub) == contents(folder)


def test_files_alone_may_vanish(hub: NurseryHub, folder: Path) -> None:
    pushed(run(hub, folder))
    (folder / "votes/train.parquet").unlink()
    done = pushed(run(hub, folder, update=True))
    assert (done["changed"], done["deleted"], on_hub(hub)) == (0, 1, contents(folder))


def test_a_folder_goes_on_from_its_own_push_alone(hub: NurseryHub, folder: Path, tmp_path: Path) -> None:
    pushed(run(hub, folder))
    write(folder, {"README.md": CARD.encode() + b"More.\n"})
    (folder / "data/train-00002.parquet").unlink()
    assert pushed(run(hub, folder))["deleted"] == 1
    hub.repos[KEY].commit({"README.md": b"# Mine"}, message="Update README.md")
    for steps in ("preflight", "push"):
        line = refused(run(hub, folder, steps=steps))
        assert f"{hub.url}/datasets/ada/prefs" in line
        assert "'Update README.md'" in line
        assert "--update true" in line
    assert hub.repos[KEY].files["README.md"] == b"# Mine"
    other = write(tmp_path / "other", {"README.md": CARD.encode()})
    assert "exists already" in refused(run(hub, other))
    assert not (other / push_module.MARK).exists()  # refused before anything was done
    assert pushed(run(hub, folder, update=True))["changed"] == 1


def test_an_empty_repository_is_free(hub: NurseryHub, folder: Path) -> None:
    hub.add(KEY, private=True)
    assert pushed(run(hub, folder))["changed"] == 7
    assert hub.count("POST", "/api/repos/create") == 0


def test_the_two_kinds_of_repository_have_names_of_their_own(hub: NurseryHub, folder: Path) -> None:
    hub.add("models/ada/prefs", {"README.md": b"# A model"})
    assert pushed(run(hub, folder))["changed"] == 7
    assert "exists already" in refused(run(hub, folder, repo_type="model", private=False))


def test_what_was_to_be_private_never_lands_in_public(hub: NurseryHub, folder: Path) -> None:
    hub.add(KEY)
    for update in (False, True):
        line = refused(run(hub, folder, update=update))
        assert "is public" in line
        assert "--private false" in line
    assert on_hub(hub) == {}
    pushed(run(hub, folder, private=False))
    hub.add("datasets/ada/quiet", private=True)
    done = run(hub, folder, repo_id="ada/quiet", private=False)
    assert (done.returncode, "was private and stays so" in done.stderr) == (0, True)


def test_a_public_push_is_public(hub: NurseryHub, folder: Path) -> None:
    pushed(run(hub, folder, private=False))
    assert not hub.repos[KEY].private


def test_a_gitignore_on_the_hub_drops_nothing(hub: NurseryHub, folder: Path) -> None:
    hub.add(KEY, {".gitignore": b"*.parquet\n"}, private=True)
    pushed(run(hub, folder, update=True))
    assert on_hub(hub) == contents(folder)


def test_somebody_elses_commit_in_between_is_no_mixture(hub: NurseryHub, folder: Path) -> None:
    hub.hold("POST /api/datasets/ada/prefs/commit", 0)
    done = start(hub, folder)
    wait_until(lambda: hub.waiting == 1)
    hub.repos[KEY].commit({"notes.md": b"theirs"})
    hub.release()
    error = done.communicate(timeout=30)[1]
    assert done.returncode == 1
    assert "changed by somebody else meanwhile" in error
    assert on_hub(hub) == {"notes.md": b"theirs"}


def test_a_file_that_the_hub_lacks_afterwards_is_told(hub: NurseryHub, folder: Path) -> None:
    """Whatever the reason: the stand-in loses a file while it says that all is well."""
    hub.fail("GET /api/datasets/ada/prefs/tree", 200, at=1)
    line = refused(run(hub, folder, before=LOSES_A_FILE))
    assert "now holds another data/train-00000.parquet than was sent" in line


LOSES_A_FILE = """
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
tree, seen = HfApi.list_repo_tree, []
def list_repo_tree(self, *args, **kwargs):
    seen.append(1)
    entries = [RepoFile(path=name, size=(Path(folder) / name).stat().st_size, oid="0") for name in (
        "README.md", "data/train-00001.parquet", "data/train-00002.parquet", "empty.jsonl", "prompts/a.txt",
        "votes/train.parquet")]
    return tree(self, *args, **kwargs) if len(seen) == 1 else entries
HfApi.list_repo_tree = list_repo_tree
"""


@pytest.mark.parametrize(
    ("env", "job", "said"),
    [
        ({"HF_TOKEN": ""}, {}, ["there is no Hub token", "HF_TOKEN", "hf auth login", "/settings/tokens"]),
        ({"HF_TOKEN": "hf_unknown"}, {}, ["does not accept the token", "401", "/settings/tokens"]),
        ({"HF_TOKEN": "hf_two words"}, {}, ["signs that no token has"]),
        ({"HF_TOKEN": "hf_zwölf"}, {}, ["signs that no token has"]),
        ({"HF_OIDC_RESOURCE": "ada"}, {}, ["the Hub gave no token for HF_OIDC_RESOURCE", "HF_TOKEN"]),
        ({"HF_HUB_OFFLINE": "1"}, {}, ["HF_HUB_OFFLINE is set", "unset it"]),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {}, ["the connection to http://127.0.0.1:9 failed", "again"]),
        ({}, {"repo_id": "prefs"}, ["repo_id is 'prefs'", "expected user/name"]),
        ({}, {"repo_id": "ada/my prefs"}, ["repo_id is 'ada/my prefs'", "expected user/name"]),
        ({}, {"repo_id": "datasets/ada/prefs"}, ["repo_id is 'datasets/ada/prefs'", "expected user/name"]),
        ({}, {"repo_id": "eve/prefs"}, ["ada's, who may write to ada, lab", "expected one of these"]),
        ({}, {"repo_id": "readers/prefs"}, ["ada's, who may write to ada, lab"]),
    ],
)
@pytest.mark.parametrize("steps", ["preflight", "push"])
def test_one_clear_line(
    hub: NurseryHub, folder: Path, env: dict[str, str], job: dict[str, Any], said: list[str], steps: str
) -> None:
    if steps == "push" and "may write to" in said[0]:
        said = ["refuses to write to", "403", "expected a token with that right"]
    done = run(hub, folder, env, steps=steps, **job)
    line = refused(done)
    assert [part for part in said if part not in line] == []
    assert hub.repos == {}
    assert (env.get("HF_TOKEN") or hub.token) not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"what": "whoami", "status": 429, "headers": {"Retry-After": "71"}}, ["no more requests", "wait 71 seconds"]),
        ({"what": "whoami", "status": 429}, ["no more requests", "wait a few minutes"]),
        (
            {"what": "create", "status": 429, "headers": {"ratelimit": '"api";r=0;t=55', "Retry-After": "9"}},
            ["wait 55 seconds"],
        ),
        ({"what": "create", "status": 503}, ["failed (503: ordered by the test)", "again: what was sent is kept"]),
        ({"what": "create", "status": 409}, ["exists already", "--repo_id"]),
        ({"what": "create", "status": 403, "message": "Storage limit reached"}, ["403: Storage limit reached", "room"]),
        ({"what": "whoami", "status": None}, ["the connection to", "failed", "Run the same command again."]),
        ({"what": "validate-yaml", "status": 200, "message": "x"}, []),
        ({"what": "validate-yaml", "status": 502}, ["failed (502"]),
        (
            {"what": "PUT /lfs/", "status": 403, "at": 2, "message": "Quota"},
            ["refuses to write to ada/prefs (403: Quota"],
        ),
        ({"what": "/commit/", "status": 400, "message": "No"}, ["refuses ada/prefs (400: No)"]),
        ({"what": "/commit/", "status": 504}, ["failed (504", "again: what was sent is kept"]),
        ({"what": "PUT /lfs/", "status": None, "at": 2, "times": 99}, ["the connection to", "what was sent is kept"]),
        ({"what": "PUT /lfs/", "status": 500, "at": 2, "times": 99}, ["failed (500", "what was sent is kept"]),
        ({"what": "preupload", "status": 401, "message": "Expired"}, ["does not accept the token (401: Expired)"]),
    ],
)
def test_the_hubs_troubles_in_one_line(hub: NurseryHub, folder: Path, trouble: dict[str, Any], said: list[str]) -> None:
    hub.fail(**trouble)
    done = run(hub, folder, before=NO_WAITS)
    if said:
        line = refused(done)
        assert [part for part in said if part not in line] == [], line
        assert KEY not in hub.repos or on_hub(hub) == {}
        if trouble.get("times") == 99:
            hub._troubles.clear()
    # The same command again goes on from there.
    assert pushed(run(hub, folder))["files"] == 7
    assert on_hub(hub) == contents(folder)
    assert set(hub.uploads.values()) == {1}


def test_a_dropped_upload_is_tried_again_in_quiet(hub: NurseryHub, folder: Path) -> None:
    hub.fail("PUT /lfs/", None, at=1)
    hub.fail("PUT /lfs/", 500, at=3)
    pushed(run(hub, folder, before=NO_WAITS))
    assert (hub.count("PUT"), set(hub.uploads.values())) == (6, {1})


def test_a_long_wait_is_told(hub: NurseryHub, folder: Path) -> None:
    hub.fail("preupload", 429, headers={"Retry-After": "71"})
    done = run(hub, folder, before=NO_WAITS)
    assert done.stderr == "warning: the Hub: Rate limited. Waiting 72.0s before retry [Retry 1/5].\n"
    assert done.returncode == 0


def test_an_answer_that_is_no_json(hub: NurseryHub, folder: Path) -> None:
    """A proxy's login page instead of the Hub."""
    before = (
        "import httpx2, huggingface_hub.hf_api as a\n"
        "page = httpx2.Response(200, text='<html>', request=httpx2.Request('GET', 'http://x'))\n"
        "a.HfApi._inner_whoami = lambda self, token: page.json()"
    )
    assert "answered with something that is no JSON" in refused(run(hub, folder, before=before))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("hf_xet.XetAuthenticationError('Expired')", "failed (Expired). Run the same command again: what was sent is"),
        (
            "ConnectionError('403, domain: https://store/x?Signature=abc) etc.')",
            "failed (403, domain: https://store/x etc.",
        ),
        ("TimeoutError()", "failed (TimeoutError)"),
    ],
)
def test_troubles_of_xets_storage(hub: NurseryHub, folder: Path, error: str, said: str) -> None:
    before = (
        "import hf_xet\nfrom huggingface_hub import HfApi\n"
        f"def fails(*args, **kwargs):\n    raise {error}\n"
        "HfApi.preupload_lfs_files = fails"
    )
    line = refused(run(hub, folder, before=before))
    assert f"the connection to {hub.url} {said}" in line


@pytest.mark.parametrize(
    ("role", "scoped", "repo_id", "may"),
    [
        ("read", [], "ada/prefs", False),
        ("fineGrained", [], "ada/prefs", False),
        ("fineGrained", [("user", "ada", "repo.content.read")], "ada/prefs", False),
        ("fineGrained", [("user", "ada", "repo.write")], "ada/prefs", True),
        ("fineGrained", [("user", "ada", "repo.write")], "lab/prefs", False),
        ("fineGrained", [("org", "lab", "repo.write")], "lab/prefs", True),
        ("fineGrained", [("model", "ada/prefs", "repo.write")], "ada/prefs", False),
        ("write", [], "LAB/prefs", True),
    ],
)
def test_what_a_token_may(
    hub: NurseryHub, folder: Path, role: str, scoped: list[tuple[str, str, str]], repo_id: str, may: bool
) -> None:
    scopes = [{"entity": {"type": kind, "name": name}, "permissions": [right]} for kind, name, right in scoped]
    token = hub.add_token(role, scopes)
    done = run(hub, folder, {"HF_TOKEN": token}, repo_id=repo_id, steps="preflight")
    if may:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert f"the Hub token '{role}' may not write to {repo_id}" in refused(done)
        assert "may not write" in refused(done)
    assert [call.method for call in hub.calls if call.method != "GET"] == []


def test_a_token_for_one_repository(hub: NurseryHub, folder: Path) -> None:
    hub.add(KEY, private=True)
    scope = {"entity": {"type": "dataset", "name": "ada/prefs"}, "permissions": ["repo.write"]}
    pushed(run(hub, folder, {"HF_TOKEN": hub.add_token("fineGrained", [scope])}))


def test_a_name_that_moved(hub: NurseryHub, folder: Path) -> None:
    hub.repos["datasets/ada/old"] = hub.add(KEY, private=True)
    assert "ada/old has moved to ada/prefs" in refused(run(hub, folder, repo_id="ada/old"))


@pytest.mark.parametrize("steps", ["card", "push"])
@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("license: mitt", '"license" must be one of [apache-2.0, mit,'),
        ("license: mit\nlanguage: [klingon]", '"language[0]" with value "klingon" is not valid'),
        ("license: mit\nlanguage: [no]", '"language[0]" must be a string'),
        ("license: mit\nsize_categories: 3K", '"size_categories" must be an array'),
        ("license: [", "Invalid YAML in README.md"),
    ],
)
def test_a_card_that_the_hub_refuses(hub: NurseryHub, folder: Path, yaml: str, said: str, steps: str) -> None:
    write(folder, {"README.md": f"---\n{yaml}\n---\n\n# x\n".encode()})
    line = refused(run(hub, folder, steps=steps))
    assert f"the Hub refuses the card: {said}" in line
    assert len(line) < 500
    assert (hub.repos, hub.uploads) == ({}, {})


@pytest.mark.parametrize(
    ("yaml", "kind", "said"),
    [
        ("license: [mit, cc-by-4.0]\nlanguage: en\ntags: [a]\nsize_categories: [1K<n<10K]", "dataset", []),
        (
            "configs:\n- config_name: a\n  data_files:\n  - split: train\n    path: [x, y]\n  default: true",
            "dataset",
            [],
        ),
        ("configs:\n- data_files: x", "dataset", ['"configs[0].config_name" must be a string']),
        (
            "configs:\n- config_name: a\n  data_files:\n  - path: x",
            "dataset",
            ['"configs[0].data_files[0].split" must be a'],
        ),
        ("tags: rlaif", "model", ['"tags" must be an array']),
        ("size_categories: [3K]", "dataset", ['"size_categories[0]" must be one of [n<1K,']),
        ("model-index:\n- name: x", "model", ['"model-index[0].results" is required']),
        (
            "model-index:\n- name: x\n  results:\n  - {task: {type: t}, dataset: {type: d}, metrics: [{type: m}]}",
            "model",
            ['results[0].dataset.name" is required', 'metrics[0].value" is required'],
        ),
        ("- a", "model", ["Invalid YAML"]),
    ],
)
def test_how_the_stand_in_judges_a_card(yaml: str, kind: str, said: list[str]) -> None:
    errors, _ = card_trouble(f"---\n{yaml}\n---\n", kind)
    assert len(errors) == len(said)
    assert [part for part, error in zip(said, errors, strict=True) if part not in error] == []


def test_what_the_hub_warns_of_is_passed_on(hub: NurseryHub, folder: Path) -> None:
    write(folder, {"README.md": b"---\nlicense: mit\ntask_categories: [rlaif]\n---\n"})
    done = run(hub, folder)
    assert done.returncode == 0
    assert [line[:64] for line in done.stderr.splitlines()] == [
        'warning: the Hub on the card: The task "rlaif" is not in the off'
    ]


# The token stays where it is.


@pytest.mark.parametrize(
    ("name", "around"), [("README.md", 10), ("rlaif.json", 0), ("a/pairs.jsonl", (1 << 20) - 7), ("x.yaml", 3 << 20)]
)
def test_a_folder_that_holds_the_token_is_not_sent(hub: NurseryHub, folder: Path, name: str, around: int) -> None:
    write(folder, {name: b"a" * around + hub.token.encode() + b"b" * around})
    done = run(hub, folder)
    line = refused(done)
    assert f"{folder / name} holds your Hub token; nothing was sent" in line
    assert hub.token not in done.stdout + done.stderr
    assert (hub.repos, hub.count("POST")) == ({}, 0)


def test_the_token_is_found_in_text_alone(
    hub: NurseryHub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    write(folder, {"data/train-00000.parquet": b"\0" + hub.token.encode(), ".env": hub.token.encode()})
    assert token_in(folder) is None
    write(folder, {"votes/x": b"x" * 9000 + b"\0" + hub.token.encode()})
    assert token_in(folder) == "votes/x"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    assert token_in(folder) is None


@pytest.mark.parametrize("what", ["whoami", "/api/repos/create", "validate-yaml", "preupload", "PUT /lfs/", "/commit/"])
def test_a_hub_that_quotes_the_token_is_not_quoted(hub: NurseryHub, folder: Path, what: str) -> None:
    hub.fail(what, 400, message=f"bad token {hub.token}, quite bad")
    done = run(hub, folder, {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"})
    assert done.returncode == 1
    assert hub.token not in done.stdout + done.stderr
    assert "bad token ***, quite bad" in done.stderr


def test_the_token_is_nowhere_afterwards(hub: NurseryHub, folder: Path) -> None:
    done = run(hub, folder, {"RLAIF_TRACEBACK": "1"})
    assert hub.token not in done.stdout + done.stderr
    stored = [*folder.rglob("*"), *Path(hub.env["HF_HOME"]).rglob("*")]
    assert [path for path in stored if path.is_file() and hub.token.encode() in path.read_bytes()] == []
    sent = [data for commit in hub.repos[KEY].commits for data in commit.files.values()]
    assert [data for data in sent if hub.token.encode() in data] == []
    assert hub.token not in hub.repos[KEY].head.description


# What is listed.


def test_folders_that_cannot_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is no folder; expected"):
        listing(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no files"):
        listing(write(tmp_path / "a", {".hidden": b""}))
    linked = write(tmp_path / "b", {"x": b"1"})
    (linked / "y").symlink_to(tmp_path / "b" / "x")
    assert listing(linked) == [("x", 1), ("y", 1)]
    (linked / "z").symlink_to(tmp_path / "nothing")
    with pytest.raises(ValueError, match="z is no file that can be read"):
        listing(linked)
    (linked / "z").unlink()
    (linked / "z").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="z is a link to a folder"):
        listing(linked)
    (linked / "z").unlink()
    monkeypatch.setattr(push_module, "MOST_FILES", 1)
    with pytest.raises(ValueError, match="holds 2 files; the Hub takes 1 in one commit"):
        listing(linked)


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"x": 1}', b"\xff"])
def test_a_spoilt_record_is_named(hub: NurseryHub, folder: Path, record: bytes) -> None:
    write(folder, {push_module.MARK: record})
    assert f"{folder / push_module.MARK} cannot be read" in refused(run(hub, folder))


@given(st.lists(st.integers(0, 100), max_size=40))
def test_batches_hold_everything_in_order(sizes: list[int]) -> None:
    class Operation:
        def __init__(self, size: int) -> None:
            self.upload_info = self
            self.size = size

    operations: Any = [Operation(size) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(push_module, "BATCH_FILES", 5)
        patch.setattr(push_module, "BATCH_BYTES", 120)
        batches = list(push_module._batches(operations))
    assert [operation for batch in batches for operation in batch] == operations
    for number, batch in enumerate(batches):
        assert 1 <= len(batch) <= 5
        total = sum(operation.upload_info.size for operation in batch)
        assert total <= 120 or len(batch) == 1
        if number + 1 < len(batches):
            assert len(batch) == 5 or total + batches[number + 1][0].upload_info.size > 120


# What others read.


def test_datasets_reads_it_back_in_a_fresh_process(hub: NurseryHub, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "out"
    rows = {"prompt": [f"naïve {i}\n" for i in range(500)], "z": [i / 500 for i in range(500)]}
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / "data/train-00000.parquet")
    pq.write_table(pa.table({"prompt": ["x"], "z": [0.5]}), folder / "data/test-00000.parquet")
    files = "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in ("train", "test"))
    card = f"---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    write(folder, {"README.md": card.encode()})
    pushed(run(hub, folder))
    read = (
        "import datasets, json, sys\n"
        "loaded = datasets.load_dataset('ada/prefs')\n"
        "print(json.dumps({name: split.to_dict() for name, split in loaded.items()}))\n"
        "datasets.load_dataset('ada/prefs', token=False, cache_dir=sys.argv[1])"
    )
    done = python(hub, read, str(tmp_path / "cache"))
    assert json.loads(done.stdout) == {"train": rows, "test": {"prompt": ["x"], "z": [0.5]}}, done.stderr
    assert "Repository Not Found" in done.stderr  # it is private


def model_pushed(hub: NurseryHub, folder: Path) -> Path:
    shutil.copytree(ROOT / "rlaif/sandbox/models/policy", folder)
    pushed(run(hub, folder, repo_id="lab/tiny", repo_type="model"))
    return folder


def test_a_model_goes_to_an_organisation(hub: NurseryHub, tmp_path: Path) -> None:
    folder = model_pushed(hub, tmp_path / "out")
    assert on_hub(hub, "models/lab/tiny") == contents(folder)


@pytest.mark.slow  # of a model's card the code runs over the Hub in test_publish_models.py
def test_transformers_reads_a_model_back(hub: NurseryHub, tmp_path: Path) -> None:
    folder = model_pushed(hub, tmp_path / "out")
    read = (
        "import hashlib, pathlib\n"
        "from huggingface_hub import hf_hub_download, snapshot_download\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model, info = AutoModelForCausalLM.from_pretrained('lab/tiny', output_loading_info=True)\n"
        "assert not info['missing_keys'] and not info['unexpected_keys'], info\n"
        "assert AutoTokenizer.from_pretrained('lab/tiny').chat_template\n"
        "weights = pathlib.Path(hf_hub_download('lab/tiny', 'model.safetensors')).read_bytes()\n"
        "print(hashlib.sha256(weights).hexdigest())\n"
        "print(*sorted(path.name for path in pathlib.Path(snapshot_download('lab/tiny')).iterdir()))"
    )
    done = python(hub, read)
    assert done.returncode == 0, done.stderr
    names = " ".join(sorted([*contents(folder), ".gitattributes"]))
    assert done.stdout.splitlines() == [sha256((folder / "model.safetensors").read_bytes()), names]


def test_the_real_xet_client_sends_each_byte_once(hub: NurseryHub, folder: Path, tmp_path: Path) -> None:
    """hf_xet itself, its storage being a folder: a kill between two batches, and the rest."""
    storage = tmp_path / "cas"
    storage.mkdir()
    shards = {f"data/train-0000{i}.parquet": shard(i, 400_000) for i in range(3)}
    write(folder, shards)
    hub.use_xet(storage, [*shards.values(), shard(9)])

    def stored() -> int:
        return sum(
            path.stat().st_size for path in (storage / "xet/xorbs/xorbs").glob("default.*") if "tag" not in path.name
        )

    one_by_one = "from rlaif.publish import push as p; p.BATCH_FILES = 1"
    kill_at(hub, folder, "POST /api/datasets/ada/prefs/preupload", 3, 0, before=one_by_one)
    assert 800_000 < stored() < 850_000
    assert on_hub(hub) == {}
    pushed(run(hub, folder, hub.env))
    assert 1_203_000 < stored() < 1_250_000
    assert on_hub(hub) == contents(folder)
    assert (hub.count("PUT"), len(hub.repos[KEY].commits)) == (0, 2)
