"""Keys stay where they are: no line, file or page of a program shows one, whoever wrote it where."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import Server, completion, here, rows_of, some_pairs, write_rows

from rlaif import secrets
from rlaif.config import run, warn
from rlaif.files.manifest import write_manifest
from rlaif.judging.settings import judge_settings
from rlaif.models.access import normal_address
from rlaif.secrets import keep_if_key, keep_secret, looks_like_key, redacted, redacted_json, without_secrets

# None of these but the first has the shape of a key.
KEY = "sk-proj-Zk83hFq2LmNw70Tb"
PLAIN = "correct/horse+battery=staple"
ODD = 'pa"ss\\wörd-93'


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_kept", set())


# A secret that is known -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [KEY, PLAIN, ODD])
@pytest.mark.parametrize(
    "form",
    [
        lambda s: s,
        lambda s: json.dumps(s),
        lambda s: json.dumps({"a": s}, ensure_ascii=False),
        lambda s: quote(s, safe=""),
        lambda s: repr(s),
        lambda s: f"Bearer {s}",
        lambda s: "Basic " + base64.b64encode(f":{s}".encode()).decode(),
        lambda s: "Basic " + base64.b64encode(f"me:{s}".encode()).decode(),
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: f"{s}{s}",
    ],
)
def test_a_known_secret_is_hidden_in_every_form(secret: str, form: Any) -> None:
    text = f"got {form(secret)} here"
    for hidden in (redacted(text, secret), without_secrets(text, secret)):
        assert hidden.startswith("got ")
        assert hidden.endswith(" here")
        assert "(key)" in hidden
        assert form(secret)[4:-4] not in hidden
        assert secret not in hidden


def test_a_piece_of_a_secret_is_hidden_and_a_chance_is_not() -> None:
    assert redacted(f"it begins with {PLAIN[:14]}", PLAIN) == "it begins with (key)"
    assert redacted(f"it ends with {PLAIN[-12:]}.", PLAIN) == "it ends with (key)."
    assert redacted(f"within: {PLAIN[6:19]}!", PLAIN) == "within: (key)!"
    assert redacted("a correct battery", PLAIN) == "a correct battery"
    assert redacted("abcde and abcde", "abcde") == "abcde and abcde"  # too short to be told from a word
    assert redacted("at http://ollama:11434/v1 with EMPTY", "ollama", "EMPTY") == "at http://ollama:11434/v1 with EMPTY"


def test_a_secret_that_begins_a_longer_one_leaves_no_end_of_it() -> None:
    """A key that somebody cut off in one place stands whole in another, where only its beginning is known."""
    keep_secret(KEY[:14], PLAIN)
    assert redacted(f"--run_name={KEY} {KEY[:14]}.") == "--run_name=(key) (key)."
    assert redacted(f'{{"model": "{KEY}"}}\n{PLAIN}-and_more, then') == '{"model": "(key)"}\n(key), then'
    assert without_secrets(f"{KEY}\\n{KEY[:14]}/v1") == "(key)\\n(key)/v1"
    assert redacted("(key)s are hidden") == "(key)s are hidden"  # where no secret was found


def test_what_is_kept_once_is_hidden_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    keep_secret(PLAIN, None, "")
    warn(f"the server said {PLAIN}")
    assert capsys.readouterr().err == "warning: the server said (key)\n"
    with pytest.raises(SystemExit):
        run(lambda: (_ for _ in ()).throw(ValueError(f"no {PLAIN}")))
    assert capsys.readouterr().err == "error: no (key)\n"


def test_a_word_in_a_keys_place_is_no_key() -> None:
    keep_if_key("standard", "</s>", "<|im_end|>", "judge", "Bearer zq81mmx09alk")
    assert redacted("standard </s> <|im_end|> judge") == "standard </s> <|im_end|> judge"
    assert redacted("zq81mmx09alk") == "(key)"


# What looks like one --------------------------------------------------------------------------------------------------

LOOKS = [
    ("Incorrect API key provided: sk-abc***xyz. Find yours.", "Incorrect API key provided: (key). Find yours."),
    ("key sk-proj-AbC123def456, sorry", "key (key), sorry"),
    ("sk-ant-api03-aB3dE5gH7jK9_mN-pQ1", "(key)"),
    ("sk-or-v1-0123456789abcdef0123456789abcdef", "(key)"),
    ("key sk-...wXyZ", "key (key)"),
    ("hf_AbCdEfGhIjKlMnOpQrStUvWx", "(key)"),
    ("AIzaSyD-1a2b3c4d5e6f7g8h9", "(key)"),
    ("gsk_1a2B3c4D5e6F7g8H9i", "(key)"),
    ("xai-1a2B3c4D5e6F7g8H9i", "(key)"),
    ("nvapi-1a2B3c4D5e6F7g8H9i", "(key)"),
    ("r8_1a2B3c4D5e6F7g8H9i", "(key)"),
    ("AKIAZ7QWERTY8UIOP9AS", "(key)"),
    ("ghp_1a2B3c4D5e6F7g8H9iJ0", "(key)"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI5In0.dQw4w9WgXcQ", "(key)"),
    ("Authorization: Bearer abc123def456", "Authorization: Bearer (key)"),
    ("authorization: Basic bWU6aHVudGVyMg==", "authorization: Basic (key)"),
    ("at https://me:hunter2@host:8000/v1", "at https://(key)@host:8000/v1"),
    ("at http://me@host/v1", "at http://(key)@host/v1"),
    ("http://h/v1?version=1&api_key=hunter2&x=3", "http://h/v1?version=1&api_key=(key)&x=3"),
    ("http://h/v1?token=a1", "http://h/v1?token=(key)"),
    ("http://h/v1?sig=aB%2Fc", "http://h/v1?sig=(key)"),
    ('{"api_key": "Ab3dEf6hIj9kLm"}', '{"api_key": "(key)"}'),
    ("invalid api key: ****wXyZ", "invalid api key: (key)"),
    ("API key abcd************wxyz is not valid", "API key (key) is not valid"),
]


@pytest.mark.parametrize(("text", "hidden"), LOOKS)
def test_what_looks_like_a_key_is_hidden(text: str, hidden: str) -> None:
    assert redacted(text) == hidden
    assert looks_like_key(text)
    assert redacted(hidden) == hidden
    assert without_secrets(text) == text


STAYS = [
    "The answer is 1: response 1 says key=value, and the task-based one does not.",
    "sk-learn, task-1 and risk-2024 are words; so is sk-SK.",
    "commit 36ef424cd5402e0a5c027c92847bec3a863ffa86 of 2026-11-30T10:54:25",
    "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "/home/me/key-data/token_counts.jsonl and runs/2024-05-01/judged-v2/manifest.json",
    "max_tokens is 8192; expected at most 4096 tokens (max_completion_tokens).",
    "**1** is ***much*** better than x**2 and a ** b; * one ** two *** three",
    "the environment variable OPENAI_API_KEY is not set; name another with --api_key_env=OPENROUTER_API_KEY",
    "Qwen/Qwen3-8B-Instruct-2507, gpt-4.1-mini-2025-04-14, meta-llama/Llama-3.3-70B-Instruct",
    "http://localhost:8000/v1?api-version=2024-10-21 and https://host/path/@me",
    "bearer authentication and basic training are needed; auth: none",
    "pad_token: <|endoftext|>, tokenizer: Qwen2TokenizerFast, key: 2024-01-01T00:00:00",
    "verdict-1234abcd 1",
    "mail me@example.com",
    "...",
    "",
]


@pytest.mark.parametrize("text", STAYS)
def test_ordinary_text_stays(text: str) -> None:
    assert redacted(text) == text


@given(st.text())
@example("://" * 50 + "@")
def test_any_text_can_be_redacted(text: str) -> None:
    hidden = redacted(text, KEY)
    assert KEY not in hidden
    assert redacted(hidden, KEY) == hidden or "(key)" in hidden


@pytest.mark.parametrize(
    "part",
    ["a", "*", "-", ".", "sk-", "a.", "a1-", "://", "@", "?key=", "Bearer ", "key: ", "key", "eyJ", "'", "\\"],
)
def test_the_time_is_linear(part: str) -> None:
    def seconds(count: int) -> float:
        text = (part * count)[:count]
        start = time.process_time()
        redacted(text, KEY)
        return time.process_time() - start

    assert min(seconds(100_000) for _ in range(3)) < 5.0  # a square would be minutes


def test_json_values_are_hidden_by_name_and_by_shape() -> None:
    value = {"api_key": "whatever", "eos_token": "</s>", "max_tokens": 5, "a": [f"x {KEY}", None, True], KEY: 1}
    assert redacted_json(value) == {
        "api_key": "(key)",
        "eos_token": "</s>",
        "max_tokens": 5,
        "a": ["x (key)", None, True],
        "(key)": 1,
    }


# Where keys might come out --------------------------------------------------------------------------------------------


def test_a_manifest_and_a_judges_row_hold_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rlaif", "--api_key_env", KEY, "--base_url", "http://me:hunter2@h/v1"])
    write_manifest(tmp_path, "rlaif judge", {"base_url": f"http://h/v1?key={PLAIN}", "extra_body": {"password": ODD}})
    text = (tmp_path / "manifest.json").read_text()
    assert not re.search("Zk83hFq2|hunter2|horse|rd-93", text)
    assert '"(key)"' in text
    settings = judge_settings(
        {
            "model": {
                "name": "m",
                "base_url": "http://h/v1?version=1",
                "extra_headers": {"X-Api-Key": PLAIN},
                "extra_body": {"user_token": KEY, "metadata": [{"password": ODD}], "note": f"see {KEY}"},
            }
        }
    )
    row = json.dumps(settings.row(), ensure_ascii=False)
    assert not re.search("Zk83hFq2|horse|rd-93", row)
    assert settings.row()["base_url"] == "http://h/v1?version=1"


def test_an_address_that_is_kept_has_no_user_and_no_query() -> None:
    assert normal_address(f"HTTP://me:{PLAIN.replace('/', '')}@Host:80/v1/?key={KEY}") == "http://host:80/v1"


def test_a_traceback_shows_none(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from rlaif.config import run\nfrom rlaif.secrets import keep_secret\n"
        "def main():\n    keep_secret('correct/horse+battery')\n"
        f"    raise KeyError('correct/horse+battery and {KEY}')\n"
        "run(main)\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 1
    assert "KeyError: '(key) and (key)'" in done.stderr
    assert not re.search("horse|Zk83hFq2", done.stderr)


# Every place where one may be planted, and what a server may do with it. The values have no shape of a key but that of
# the environment; each is told apart by its own word.
PLANTED = {
    "environment": "sk-planted-Env93kfLq02mZxW",
    "X-Api-Key": "planted-Head+er/77qLw",
    "X-Plain": "sk-planted-Shape55zQwMn",
    "body": "planted-Body4Vf8qLzPw",
    "inner": "planted-Inner6Tr2mXcVb",
}


def planted(text: str | bytes) -> list[str]:
    """Which of the planted keys can be found in a text, or so much of one that it could be guessed."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    found = []
    for name, key in PLANTED.items():
        own = key.removeprefix("sk-").removeprefix("planted-")
        encoded = [base64.b64encode(b"\0" * shift + own.encode()).decode()[4:-4] for shift in range(3)]
        if any(form in text for form in (own, own[:10], own[-10:], quote(own, safe=""), *encoded)):
            found.append(name)
    return found


def everything_echoed(headers: Any, body: dict[str, Any]) -> list[Any]:
    """What a server may answer that repeats what it was sent: bodies of errors and of completions."""
    key = headers["Authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    said = " ".join([key, headers["X-Api-Key"], headers["X-Plain"], body["api_key"], body["metadata"]["token"], basic])
    url = f"https://me:{quote(key, safe='')}@host/v1?key={quote(body['api_key'], safe='')}"
    long = "x" * 275 + " " + key
    echo = completion("1")
    echo |= {"system_fingerprint": f"fp {said}", "model": key}
    refusal = completion(None)
    refusal["choices"][0]["message"]["refusal"] = f"I cannot: {said}"
    thought = completion("2")
    thought["choices"][0]["message"]["reasoning_content"] = f"They sent {said}."
    listed = completion("1", logprobs=[(said, {said: -0.1, "1": -3.0})])
    return [
        (400, f"the context length is too small for {said} at {url}", {}),
        (400, f"this prompt is too long: {long}", {}),
        (422, {"detail": [{"loc": ["body"], "msg": said, "input": {"headers": dict(headers), "body": body}}]}, {}),
        (500, json.dumps({"headers": dict(headers), "body": body}), {}),
        (400, f"prompt is too long: {key[:16]}***{key[-4:]}", {}),
        completion(f"1\n\nI was sent {said}, {json.dumps(said)} and {url}."),
        completion(said),
        echo,
        refusal,
        thought,
        listed,
        {"error": {"message": f"no answer for {said}", "code": said, "type": "server_error"}},
        json.dumps({"weird": said}).encode(),
        f"<html>{said}</html>".encode(),
    ]


def test_no_planted_key_is_found_in_anything_a_run_writes(server: Server, tmp_path: Path) -> None:
    """A judge that is sent keys in five places, at a server that repeats them in fourteen ways."""

    def answer(body: dict[str, Any], number: int) -> Any:
        kinds = everything_echoed(server.headers[number], body)
        return kinds[number % len(kinds)]

    server.answer = answer
    Path(tmp_path / "judge.yaml").write_text(
        f"model:\n  name: m\n  base_url: {server.url}?version=1\n  max_retries: 0\n"
        f"  extra_headers: {{X-Api-Key: '{PLANTED['X-Api-Key']}', X-Plain: '{PLANTED['X-Plain']}'}}\n"
        f"  extra_body: {{api_key: '{PLANTED['body']}', metadata: {{token: '{PLANTED['inner']}'}}}}\n"
        "template: compact\norders: ab\n"
    )
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(42))
    output = tmp_path / "out"
    for more in ((), ("--retry_unjudged",)):
        done = here(
            *("judge", "--judge", tmp_path / "judge.yaml", "--pairs", pairs, "--output", output, *more),
            OPENAI_API_KEY=PLANTED["environment"],
        )
        assert done.returncode in (0, 3), done.stderr
        assert not planted(done.stdout + done.stderr), done.stdout + done.stderr
        files = [path for path in output.rglob("*") if path.is_file()]
        assert {"judgments.jsonl", "votes.jsonl", "report.json", "manifest.json"} <= {path.name for path in files}
        assert {path.name: found for path in files if (found := planted(path.read_bytes()))} == {}
    assert server.headers[0]["X-Api-Key"] == PLANTED["X-Api-Key"]  # they were sent
    assert server.bodies[0]["metadata"]["token"] == PLANTED["inner"]
    assert len(rows_of(output / "judgments.jsonl")) == 42
    assert any("(key)" in path.read_text() for path in (output / "replies").glob("*.jsonl"))
    explained = here(
        *("judge", "--judge", tmp_path / "judge.yaml", "--pairs", pairs, "--output", output),
        *("--explain", rows_of(output / "judgments.jsonl")[0]["id"]),
        OPENAI_API_KEY=PLANTED["environment"],
    )
    assert explained.returncode == 0, explained.stderr
    assert not planted(explained.stdout + explained.stderr)


@pytest.mark.parametrize("status", [401, 403, 402])
def test_a_server_that_repeats_a_key_it_refuses(status: int, server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (status, f"Incorrect API key provided: {PLANTED['environment']}", {})
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    done = here(
        *("judge", "--judge", "api", "--judge_model", "m", "--base_url", server.url, "--pairs", pairs),
        *("--output", tmp_path / "out"),
        OPENAI_API_KEY=PLANTED["environment"],
    )
    assert done.returncode == 1
    assert not planted(done.stdout + done.stderr)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and planted(path.read_bytes())]


def test_sampling_keeps_keys_too(server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        key = server.headers[number]["Authorization"].removeprefix("Bearer ")
        if number % 3 == 0:
            return (400, f"prompt is too long for {key}", {})
        echo = completion(f"Response {number} with {key}.")
        return {**echo, "model": key}

    server.answer = answer
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"p{i}"} for i in range(9)])
    done = here(
        *("sample", "--prompts", prompts, "--policy", "m", "--base_url", server.url, "--output", tmp_path / "out"),
        OPENAI_API_KEY=PLANTED["environment"],
    )
    assert done.returncode == 0, done.stderr
    assert not planted(done.stdout + done.stderr)
    assert {p.name for p in (tmp_path / "out").rglob("*") if p.is_file() and planted(p.read_bytes())} == set()


def test_a_number_of_tokens_is_no_key() -> None:
    said = {"left_out": {"max_tokens": "max_tokens is too large", "max_completion_tokens": "the same"}}
    assert redacted_json(said) == said
    for name in ("max_tokens", "tokenizer", "author", "judge_tokens"):
        assert not secrets.CREDENTIAL.search(name)
    for name in ("api_token", "token", "Authorization", "X-Auth", "api-key", "keys", "Cookie"):
        assert secrets.CREDENTIAL.search(name)
