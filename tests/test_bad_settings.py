"""What people get wrong in a judge's settings, its YAML and its template: one line each, before anything is asked.

A line says what was got, what was expected or what to do, and shows nothing that may be a key.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support import Server, here, refused, rlaif, some_pairs, write_rows

from rlaif.cli import main
from rlaif.judging.settings import judge_settings, load_judge

URL = "http://127.0.0.1:9/v1"  # nobody listens there: what is let through fails in another way
KEY = "sk-planted-5Tq8wZr2LmXc90"
API = "model: {name: m, base_url: 'http://127.0.0.1:9/v1'}\n"


class Bad(NamedTuple):
    """Files by name, what the command line says beside `--judge judge.yaml`, and what the line must match."""

    files: dict[str, str | bytes]
    line: str
    more: tuple[str, ...] = ()
    status: int = 2
    judge: str | None = None


def template(text: str, line: str) -> Bad:
    return Bad({"judge.yaml": f"{API}template: t.yaml\n", "t.yaml": text}, line, status=1)


def labels(text: str, line: str) -> Bad:
    return template(f"user: '{{prompt}} {{first}} {{second}}'\nlabels: {text}\n", line)


def model(text: str, line: str) -> Bad:
    return Bad({"judge.yaml": f"model:\n  name: m\n  kind: api\n  {text}\n"}, line)


def top(text: str, line: str) -> Bad:
    return Bad({"judge.yaml": f"{API}{text}\n"}, line)


def flag(line: str, *more: str) -> Bad:
    return Bad({"judge.yaml": API}, line, more)


def file(content: str | bytes, line: str) -> Bad:
    return Bad({"judge.yaml": content}, line)


def url(address: str, line: str) -> Bad:
    return flag(line, "--base_url", address)


USER = "user: '{prompt} {first} {second}'\n"
TRUTH = r"has the label (True|False), which YAML reads as true or false; expected text: quote both, as in"
PLACES = r"expected \{prompt\}, \{first\} and \{second\}, each once"

BAD: dict[str, Bad] = {
    # Labels of a template.
    "labels yes/no": labels("[yes, no]", TRUTH),
    "labels on/off": labels("[on, 'off']", TRUTH),
    "labels true/false": labels("['true', false]", TRUTH),
    "labels 1/2": labels("[1, 2]", r"has the label 1, which YAML reads as a number; .*quote both"),
    "labels 1.5": labels("['1', 1.5]", r"has the label 1\.5, which YAML reads as a number"),
    "labels null": labels("['1', null]", r"has the label None, which YAML reads as nothing; expected text"),
    "labels ~": labels("[~, A]", r"has the label None, which YAML reads as nothing"),
    "labels dates": labels("[2024-01-01, 2024-01-02]", r"has the label .*, which YAML reads as a date; expected text"),
    "labels of a list": labels("[[A], [B]]", r"has the label \['A'\], which YAML reads as a list"),
    "labels that differ in case": labels("[first, FIRST]", r"'first', 'FIRST'; expected two that differ in more than"),
    "labels that differ in space": labels("['A', 'A ']", r"expected two that differ in more than capitals and white"),
    "labels that are one": labels("[A, A]", r"the labels 'A', 'A'; expected two that differ"),
    "an empty label": labels("['A', '']", r"'A', ''; expected two .*neither empty"),
    "a blank label": labels("['  ', B]", r"neither empty"),
    "a label of two lines": labels('["A\\nis better", B]', r"the label 'A\\nis better'; expected a word .*on one line"),
    "a label of a paragraph": labels(f"['{'long ' * 40}', B]", r"the label .*; expected a word or a few, on one line"),
    "three labels": labels("[A, B, C]", r'has labels \["A", "B", "C"\]; expected a list of two'),
    "one label": labels("[A]", r"expected a list of two"),
    "labels as text": labels("'A, B'", r"has labels 'A, B'; expected a list of two"),
    "labels as a mapping": labels("{first: A, second: B}", r'has labels \{"first": "A".*; expected a list of two'),
    "labels left open": labels("", r"has labels null; expected a list of two"),
    # The rest of a template.
    "no placeholders": template("user: Which is better?\n", rf"holds the placeholders none; {PLACES}"),
    "a placeholder missing": template("user: '{prompt} {first}'\n", rf"holds the placeholders first, prompt; {PLACES}"),
    "a placeholder twice": template("user: '{prompt} {first} {second} {first}'\n", PLACES),
    "the mark twice": template("user: '{prompt} {first} {second} {mark} {mark}'\n", rf"{PLACES} \(and \{{mark\}}"),
    "double braces": template("user: '{{prompt}} {{first}} {{secnd}}'\n", PLACES),
    "another program's placeholders": template("user: '{question} {answer_a} {answer_b}'\n", PLACES),
    "a misspelt user": template("usr: x\n", r"must hold `user` and may hold `system` and `labels`; got `usr`"),
    "user is a list": template("user: ['{prompt}', '{first}', '{second}']\n", r"must hold `user`.*; got user: \["),
    "user is a number": template("user: 5\n", r"must hold `user`"),
    "system is a list": template(
        f"{USER}system: [be, fair]\n", r'has the system \["be", "fair"\], which YAML reads as'
    ),
    "system is a number": template(f"{USER}system: 5\n", r"the system 5, which YAML reads as a number; .*quote it"),
    "system is yes": template(f"{USER}system: yes\n", r"has the system true, which YAML reads as true or false"),
    "system is a mapping": template(f"{USER}system: {{a: b}}\n", r'the system \{"a": "b"\}, which YAML reads as a map'),
    "an unknown key of a template": template(f"{USER}sytem: Be fair.\n", r"must hold `user` and may hold .*; got `syt"),
    "a rating's template": template("user: '{prompt} {response}'\n", PLACES),
    "a template with a tab": template(
        "user: |\n\t{prompt}\n", r"t.yaml is not YAML \(line 2, column 1\): found a tab; indent with spaces"
    ),
    "a template that is a list": template("- user\n", r"t.yaml holds a list; expected `name: value` lines"),
    "a template that is empty": template("", r"t.yaml holds nothing; expected `name: value` lines"),
    "a template in Latin-1": template("user: caf\xe9", ""),
    "a template with a key twice": template(f"{USER}{USER}", r"'user' stands twice"),
    "a template that is no file": top(
        "template: nowhere.yaml", r"template 'nowhere.yaml' is neither built in .* nor a"
    ),
    "a template misspelt": top("template: helpfull", r"template 'helpfull' is neither built in \(helpful, "),
    "a template that is a folder": Bad(
        {"judge.yaml": f"{API}template: t.yaml\n", "t.yaml/x": ""}, r"template 't.yaml' is a folder", status=1
    ),
    "a template's text in its place": top(
        "template: |\n  Question: {prompt}\n  A: {first}\n  B: {second}", r"template is a text of several lines; expect"
    ),
    "a template's mapping in its place": top("template: {user: x}", r"template is a mapping; expected the name of"),
    "a very long template name": top(f"template: {'x' * 600}", r"template has 600 characters; expected at most 500"),
    "an empty template name": top("template: ''", r"template is ''; expected text, or leave it out"),
    # The judge's file.
    "a judge that is a folder": Bad(
        {"judge.yaml/x": ""}, r"judge is 'judge.yaml', which is a folder; expected a judge"
    ),
    "a judge that does not exist": Bad({}, r"judge is 'judge.yaml', which does not exist; expected a judge's YAML"),
    "a judge in Latin-1": file(
        "model: caf\xe9\n".encode("latin-1"), r"judge.yaml is not UTF-8 \(byte 10 is 0xe9\); save"
    ),
    "a judge in UTF-16": file("model: m\n".encode("utf-16"), r"judge.yaml is not UTF-8 \(byte 0 is 0xff\)"),
    "a judge of nothing": file("", r"judge.yaml holds nothing; expected `name: value` lines"),
    "a judge of comments": file("# model: m\n", r"judge.yaml holds nothing"),
    "a judge that is a list": file("- model: m\n", r"judge.yaml holds a list; expected `name: value` lines"),
    "a judge that is a text": file("gpt-4.1-mini\n", r"judge.yaml holds a text; expected `name: value` lines"),
    "tabs": file(
        "model:\n\tname: m\n", r"judge.yaml is not YAML .*line 2, column 1.*: found a tab; indent with spaces"
    ),
    "a colon too many": file(
        "model: name: m\n", r"not YAML \(line 1, column 12\): found a second colon; put text that has"
    ),
    "a bracket left open": file(
        "model: [m\n", r"judge.yaml is not YAML \(line 2, column 1\): it ends within a bracket"
    ),
    "a NUL": file("model: m\0\n", r"judge.yaml is not YAML: found a character that cannot be"),
    "a key twice": file(f"{API}samples: 1\nsamples: 3\n", r"not YAML \(line 3, column 1\): 'samples' stands twice"),
    "a key that is a list": file("? [a, b]\n: 1\n", r"a name is a list or a mapping; expected text"),
    "a date that is none": file("model: 2024-13-45\n", r"judge.yaml cannot be read \(month must be in 1..12\)"),
    "a mapping that holds itself": file(
        "model: &m {name: m, kind: api, extra_body: *m}\n",
        r"judge.yaml is not YAML .*: found a value that holds itself",
    ),
    "a list that holds itself": file(
        "model: {name: m, kind: api, extra_body: {a: &a [*a]}}\n", r"found a value that holds itself"
    ),
    "aliases without end": file(
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join([f'*{b}'] * 10)}]\n" for b, c in itertools.pairwise("abcdefg")),
        r"judge.yaml has more than 100,000 values",
    ),
    "brackets in brackets": file("model: " + "[" * 3000, r"judge.yaml cannot be read \(it is nested too deep\)"),
    "data instead of settings": file(
        b"x: y\n" * 250_000, r"judge.yaml has more than 1 MiB; expected a YAML file of set"
    ),
    "a Python object": file("model: !!python/object/apply:os.system [ls]\n", r"column 8\): found a tag that begins"),
    "no model": file("template: helpful\n", r"judge.yaml has no `model`; expected as in"),
    "a misspelt model": file("modle: m\n", r"judge.yaml has no `model`; did you misspell it as 'modle'\?"),
    # Names of settings.
    "a misspelt setting": top("temprature: 1", r"'temprature' is not a setting of a judge; did you mean 'temperature'"),
    "a model's setting beside it": top("timeout: 5", r"'timeout' belongs under `model:`"),
    "a judge's setting under model": model("samples: 3", r"'samples' belongs beside `model:`"),
    "a key in the file": model(
        f"api_key: {KEY}", r"'api_key' is not a setting of a judge; a key belongs in an environ"
    ),
    "a sampling setting": top("top_p: 0.9", r"'top_p' is not a setting of a judge; what a server takes beyond our"),
    "a seed": top("seed: 3", r"'seed' is not a setting of a judge; each call has a seed of its own"),
    "another program's name": model("api_base: x", r"'api_base' is not a setting of a judge; did you mean 'base_url'"),
    "max_new_tokens": top("max_new_tokns: 5", r"did you mean 'max_tokens'\?"),
    "max_new_tokens, too": top(
        "max_new_tokens: 5\nmax_tokens: 6", r"max_new_tokens is 5 and max_tokens 6, which are two names of one setting"
    ),
    "words of the prompt": top("labels: [A, B]", r"'labels' is not a setting of a judge; a judge's words are a templ"),
    # The address.
    "no scheme": url(
        "localhost:8000/v1", r"which does not begin with http:// or https://; did you mean http://localhost:8000/v1\?"
    ),
    "a host alone": url("api.example.com/v1", r"did you mean https://api.example.com/v1\?"),
    "ftp": url("ftp://h/v1", r"base_url is 'ftp://h/v1'; expected one that begins with http:// or https://"),
    "a file": url("file:///v1", r"expected one that begins with http://"),
    "an address with a space": url("http://local host/v1", r"which has characters that no address has"),
    "an address with space before it": url(" http://h/v1", r"which has characters that no address has"),
    "an address with a line break": url("http://h/v1\n", r"which has characters that no address has"),
    "an empty address": url("", r"base_url is ''; expected an address such as"),
    "no host": url("http:///v1", r"base_url is 'http:///v1', which has no host"),
    "a port above 65535": url("http://h:70000/v1", r"whose port is no number from 1 to 65535"),
    "port 0": url("http://h:0/v1", r"whose port is no number from 1 to 65535"),
    "a negative port": url("http://h:-1/v1", r"whose port is no number from 1 to 65535"),
    "a port in words": url("http://h:eighty/v1", r"whose port is no number from 1 to 65535"),
    "no port": url("http://h:/v1", r"whose port is no number from 1 to 65535"),
    "two ports": url("http://h:80:90/v1", r"base_url is 'http://h:80:90/v1', whose|which has several colons"),
    "IPv6 without brackets": url("http://::1:8000/v1", r"which has an IPv6 address without brackets; .*http://\[::1\]"),
    "IPv6 half in brackets": url("http://[::1:8000/v1", r"whose host and port cannot be read"),
    "a user and a password": url(
        "http://me:hunter2@h/v1", r"base_url holds a user name or password; expected the addr"
    ),
    "a password with a slash": url("http://me:hun/ter2@h/v1", r"base_url holds a user name or password"),
    "a password without a scheme": url("me:hunter2@h/v1", r"base_url holds a user name or password"),
    "a key in the query": url(f"http://h/v1?api_key={KEY}", r"base_url has 'api_key' in its query, which would be"),
    "a signature in the query": url("http://h/v1?v=1&auth=hunter2x", r"base_url has 'auth' in its query"),
    "a fragment": url("http://h/v1#chat", r"which has a part behind '#' that is never sent; leave that out"),
    "the whole path": url(
        "http://h/v1/chat/completions", r"leave out '/chat/completions', which is added to each call"
    ),
    "the models' path": url("http://h/v1/models/", r"leave out '/models'"),
    "a variable left in": url("${BASE_URL}", r"which has characters that no address has"),
    "a key as address": url(KEY, r"base_url is '\(key\)', which does not begin with http"),
    "an address that is a number": model("base_url: 8000", r"base_url is 8000; expected an address such as"),
    # Headers.
    "headers as a list": model("extra_headers: [X-A]", r"extra_headers is a list; expected a mapping"),
    "a header that is a number": model("extra_headers: {X-A: 5}", r"extra_headers has 'X-A' as a number; .*: quote it"),
    "a header that is true": model("extra_headers: {X-A: yes}", r"extra_headers has 'X-A' as true or false"),
    "a header's name with a space": model("extra_headers: {'X A': b}", r"'X A', which cannot be a header's name"),
    "a header's name with a colon": model("extra_headers: {'X-A:': b}", r"'X-A:', which cannot be a header's name"),
    "a header without a name": model(
        "extra_headers: {'': b}", r"extra_headers has '', which cannot be a header's name"
    ),
    "a header of two lines": model(
        f'extra_headers: {{X-A: "{KEY}\\nX-B: c"}}', r"'X-A' with a line break or with char"
    ),
    "a header in Chinese": model(
        "extra_headers: {X-A: \u4f60}", r"'X-A' with a line break or with characters that are not"
    ),
    "an empty header": model("extra_headers: {X-A: ''}", r"extra_headers has 'X-A' empty; expected its value alone"),
    "a header with space behind": model(f"extra_headers: {{X-Key: '{KEY} '}}", r"'X-Key' with white space around it"),
    "a header twice": model("extra_headers: {X-A: b, x-a: c}", r"extra_headers has 'x-a' twice"),
    "the key's header": model(
        f"extra_headers: {{Authorization: Bearer {KEY}}}", r"'Authorization', which is made of the key in the environ"
    ),
    "the call's own header": model("extra_headers: {Content-Type: x}", r"'Content-Type', which each call sets itself"),
    # The key.
    "a key for its variable": model(
        f"api_key_env: {KEY}", r"api_key_env holds a key itself; expected the name of the e"
    ),
    "a plain key for its variable": model("api_key_env: a8f5f167f44f4964e6c998dee827110c", r"holds a key itself"),
    "a Hub's key for its variable": model("api_key_env: hf_AbCdEfGhIjKlMnOpQr", r"holds a key itself"),
    "a variable with a dollar": model("api_key_env: $MY_KEY", r"the variable's name without the dollar sign"),
    "a variable with a hyphen": model("api_key_env: MY-KEY", r"api_key_env is 'MY-KEY'; expected the name of an envir"),
    "a variable that is empty": model(
        "api_key_env: ''", r"api_key_env is ''; expected the name of an environment vari"
    ),
    "a variable that is a number": model("api_key_env: 5", r"api_key_env is 5; expected text: quote it"),
    # The model.
    "an empty model name": file(
        "model: {name: '', kind: api}\n", r"model is a mapping whose name is ''; expected a mod"
    ),
    "a blank model name": file("model: '  '\n", r"model is ' '; expected a model's name"),
    "a model name of two lines": file(
        'model: {name: "a\\nb", kind: api}\n', r"the model's name is 'a\\nb', which has a li"
    ),
    "a model name with space": file(
        "model: {name: ' gpt', kind: api}\n", r"the model's name is ' gpt'; expected it with"
    ),
    "a model name that is a number": file(
        "model: {name: 4.1, kind: api}\n", r"whose name is 4.1, a number: quote it; expected"
    ),
    "a model name that is a key": file(f"model: {{name: {KEY}, kind: api}}\n", r"the model's name holds a key, which"),
    "a key for --judge": flag(r"the model's name holds a key", "--judge", KEY),
    "a key for --judge_model": flag(r"the model's name holds a key", "--judge", "api", "--judge_model", KEY),
    "a misspelt kind": file(
        "model: {name: m, kind: apii}\n", r"kind is 'apii'; expected one of .*did you mean 'api'\?"
    ),
    "another program's kind": file("model: {name: m, kind: openai}\n", r"kind is 'openai'; expected one of local, api"),
    "a local model with an address": file(
        f"model: {{name: m, kind: local, base_url: '{URL}'}}\n", r"base_url is .*, which judge 'local' does not use"
    ),
    "a local model with patience": flag(r"patience is 5.*, which judge 'local'", "--judge", "x/y", "--patience", "5"),
    "served_as empty": model("served_as: ''", r"served_as is ''; expected text, or leave it out"),
    "served_as of two lines": model('served_as: "a\\nb"', r"served_as is 'a\\nb', which has a line break"),
    "served_as a key": model(f"served_as: {KEY}", r"served_as holds a key, which would be written to files"),
    "served_as a number": model("served_as: 1.0", r"served_as is 1.0; expected text: quote it"),
    # Numbers.
    "concurrency 0": flag(r"concurrency is 0; expected at least 1", "--concurrency", "0"),
    "concurrency without end": flag(
        r"concurrency is 1000000000; expected at most 10,000", "--concurrency", "1000000000"
    ),
    "concurrency many": flag(r"concurrency is 'many'; expected a whole number", "--concurrency", "many"),
    "concurrency in words": model("concurrency: many", r"concurrency is 'many'; expected a whole number"),
    "concurrency true": model("concurrency: true", r"concurrency is true; expected a whole number"),
    "concurrency 2.5": model("concurrency: 2.5", r"concurrency is 2.5; expected a whole number"),
    "timeout 0": flag(r"timeout is 0.0; expected a number of seconds above 0", "--timeout", "0"),
    "timeout -5": flag(r"timeout is -5.0; expected a number of seconds above 0", "--timeout", "-5"),
    "timeout inf": flag(r"timeout is inf; expected at most 1,000,000 seconds", "--timeout", "inf"),
    "timeout nan": flag(r"timeout is nan; expected a number of seconds above 0", "--timeout", "nan"),
    "timeout 2m": flag(r"timeout is '2m'; expected a number", "--timeout", "2m"),
    "timeout 2m in the file": model("timeout: 2m", r"timeout is '2m'; expected a number of seconds"),
    "patience 0": flag(r"patience is 0.0; expected a number of seconds above 0", "--patience", "0"),
    "patience -1": model("patience: -1", r"patience is -1; expected a number of seconds above 0"),
    "patience inf": model("patience: .inf", r"patience is inf; expected at most 10,000,000 seconds"),
    "patience true": model("patience: true", r"patience is true; expected a number of seconds"),
    "max_retries -1": model("max_retries: -1", r"max_retries is -1; expected at least 0"),
    "max_retries 1e9": model("max_retries: 1e9", r"max_retries is 1e9; expected at most 1,000"),
    "temperature -1": flag(r"temperature is -1.0; expected at least 0", "--temperature", "-1"),
    "temperature nan": flag(r"temperature is nan; expected at least 0", "--temperature", "nan"),
    "temperature hot": top("temperature: hot", r"temperature is 'hot'; expected a number"),
    "temperature in a list": top("temperature: [0.5]", r"temperature is \[0.5\]; expected a number"),
    "max_tokens 0": flag(r"max_tokens is 0; expected at least 1", "--max_tokens", "0"),
    "max_tokens 1.5": top("max_tokens: 1.5", r"max_tokens is 1.5; expected a whole number"),
    "max_tokens 1e10": top("max_tokens: 1e10", r"max_tokens is 1e10; expected at most 10,000,000"),
    "max_tokens with a comma": top("max_tokens: '8,192'", r"max_tokens is '8,192'; expected a whole number"),
    "samples 0": flag(r"samples is 0; expected at least 1", "--samples", "0"),
    "samples at temperature 0": flag(r"samples > 1 at temperature 0 asks the same thing again", "--samples", "3"),
    "samples without end": top("samples: 100000\ntemperature: 1", r"samples is 100000; expected at most 10,000"),
    # Choices and texts.
    "orders AB": top("orders: AB", r"orders is 'AB'; expected one of both, ab, ba"),
    "orders AB on the command line": flag(
        r"orders is 'AB'; expected one of both, ab, ba; did you mean 'ab'", "--orders", "AB"
    ),
    "orders on": top("orders: on", r"orders is true; expected one of both, ab, ba; YAML reads a bare yes.*: quote it"),
    "combine median": top("combine: median", r"combine is 'median'; expected one of mean, log_odds"),
    "logprobs true": model("logprobs: true", r"logprobs is true; expected one of auto, never; YAML reads"),
    "logprobs 5": model("logprobs: 5", r"logprobs is 5; expected one of auto, never"),
    "reasoning_effort 3": model("reasoning_effort: 3", r"reasoning_effort is 3; expected text: quote it"),
    "reasoning_effort off": model("reasoning_effort: off", r"reasoning_effort is false; expected text; YAML reads"),
    "salt a number": top("salt: 5", r"salt is 5; expected text: quote it"),
    "salt of a function": file("model: 'a.b:c'\nsalt: x\n", r"salt is 'x', which judge 'function' does not use"),
    "a scale upside down": top("scale: 9-0", r"has scale '9-0'; expected the worst and the best number"),
    # What goes into a call's body.
    "extra_body a list": model("extra_body: [1]", r"extra_body is \[1\]; expected a mapping"),
    "extra_body a text": model("extra_body: top_k=5", r"extra_body is 'top_k=5'; expected a mapping"),
    "extra_body with NaN": model("extra_body: {a: .nan}", r"which is no JSON \(it holds nan\)"),
    "extra_body with a date": model(
        "extra_body: {a: 2024-01-01}", r"which is no JSON \(it holds a date\).* Quote dates"
    ),
    "extra_body with a number for a name": model(
        "extra_body: {a: {1: b}}", r"which is no JSON \(a name is 1, no text\)"
    ),
    "extra_body with bytes": model("extra_body: {a: !!binary aGk=}", r"which is no JSON \(it holds bytes\)"),
    **{
        f"extra_body with {name}": model(
            f"extra_body: {{{name}: 1}}", rf"extra_body has '{name}', which each call sets itself; {instead}"
        )
        for name, instead in {
            "messages": "set `template`",
            "model": "set the model's `name`",
            "n": "set `samples`",
            "stream": "leave it out",
            "logprobs": "set `logprobs` to auto or never",
            "top_logprobs": "set `logprobs`",
            "max_tokens": "set `max_tokens`",
            "max_completion_tokens": "set `max_tokens`",
            "temperature": "set `temperature`",
            "seed": "leave it out: each call has a seed",
        }.items()
    },
    "chat_template_kwargs of ours": model("chat_template_kwargs: {messages: []}", r"'messages', which is set by how a"),
}
BAD["a template in Latin-1"] = Bad(
    {"judge.yaml": f"{API}template: t.yaml\n", "t.yaml": "user: 'caf\xe9'".encode("latin-1")},
    r"template t.yaml is not UTF-8 \(byte 10 is 0xe9\); save it as UTF-8",
    status=1,
)
for name in ("a template that is no file", "a template misspelt"):
    BAD[name] = BAD[name]._replace(status=1)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("RLAIF_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # `run` sets it
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "pairs.jsonl", some_pairs(1))


def arguments(bad: Bad) -> list[str]:
    for name, content in bad.files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    judge = [] if "--judge" in bad.more else ["--judge", "judge.yaml"]
    return ["judge", "--pairs", "pairs.jsonl", "--output", "out", *judge, *bad.more]


def check(line: str, bad: Bad) -> None:
    assert re.search(bad.line, line), line
    assert len(line) < 500
    assert KEY[3:13] not in line
    assert not re.search("hunter2|ter2@", line)
    assert not Path("out").exists()


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bad = BAD[name]
    monkeypatch.setattr(sys, "argv", ["rlaif", *arguments(bad)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1, said.err
    assert end.value.code == bad.status, said.err
    check(said.err, bad)


def test_the_program_itself_says_it() -> None:
    """In a process of its own, whose stack is no deeper than a user's; `test_bad_starts.py` starts more of them."""
    bad = BAD["brackets in brackets"]
    check(refused(rlaif(*arguments(bad), timeout=60.0), bad.status), bad)


KEYS = {
    "a line break": (f"{KEY}\n", r"begins or ends with white space or a line break"),
    "a space": (f" {KEY}", r"begins or ends with white space"),
    "two words": (f"Bearer {KEY}", r"has white space in it \(expected without 'Bearer'\)"),
    "a letter that is not ASCII": (f"{KEY}\N{RIGHT SINGLE QUOTATION MARK}", r"has characters that are not plain ASCII"),
    "a control character": (f"{KEY}\x07", r"has characters that are not plain ASCII"),
    "quotes": (f'"{KEY}"', r"stands in quotes"),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_no_header_carries_is_one_line(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, line = KEYS[name]
    monkeypatch.setenv("MY_KEY", key)
    bad = flag(rf"the key in the environment variable MY_KEY {line}.*; export it again", "--api_key_env", "MY_KEY")
    bad = bad._replace(more=(*bad.more, "--base_url", server.url))
    monkeypatch.setattr(sys, "argv", ["rlaif", *arguments(bad)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.count("\n") == 1
    assert re.search(bad.line, said), said
    assert KEY not in said
    assert not server.bodies
    assert not Path("out").exists()


def test_a_key_that_is_missing_is_one_line() -> None:
    bad = Bad({"judge.yaml": "model: {name: m, kind: api}\n"}, r"OPENAI_API_KEY is not set; expected the key for")
    line = refused(here(*arguments(bad), OPENAI_API_KEY=""))
    assert re.search(bad.line, line), line


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("localhost:1/v1", r"OPENAI_BASE_URL is 'localhost:1/v1', which"),
        ("http://a:b@h/v1", r"OPENAI_BASE_URL holds a"),
    ],
)
def test_an_address_of_the_environment_is_checked_too(address: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ValueError, match=line):
        load_judge({"model": {"name": "m", "kind": "api"}})


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--base_url", "localhost:8000/v1"), r"base_url is 'localhost:8000/v1', which does not begin with http"),
        (("--base_url", "http://me:hunter2@h/v1"), r"base_url holds a user name or password"),
        (("--base_url", URL, "--api_key_env", KEY), r"api_key_env holds a key itself"),
        (("--base_url", URL, "--served_as", KEY), r"served_as holds a key, which would be written to files"),
        (("--base_url", URL, "--policy_b", KEY), r"policy_b holds a key, which would be written to files"),
        (("--base_url", URL, "--patience", "0"), r"patience is 0.0; expected a number of seconds above 0"),
        (("--base_url", URL, "--patience", "nan"), r"patience is nan; expected a number of seconds above 0"),
        (("--base_url", URL, "--concurrency", "0"), r"concurrency is 0; expected a number of calls from 1 to 10,000"),
    ],
)
def test_sampling_refuses_them_too(
    more: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(Path("prompts.jsonl"), [{"prompt": "p"}])
    monkeypatch.setattr(
        sys, "argv", ["rlaif", "sample", "--prompts", "prompts.jsonl", "--policy", "m", "--output", "out", *more]
    )
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    check(said, flag(line))


# What is right stays right --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1]:8000/v1",
        "HTTPS://API.Example.com/openai/v1/",
        "http://h:8000",
        "http://h/v1?api-version=2024-10-21",
    ],
)
def test_an_address_that_is_right(address: str) -> None:
    assert judge_settings({"model": {"name": "m", "base_url": address}}).model.base_url == address


def test_numbers_as_yaml_and_numpy_have_them() -> None:
    Path("judge.yaml").write_text(f"{API[:-2]}, timeout: 1e2, patience: 2.5e3}}\nmax_tokens: 4e3\ntemperature: 1e-1\n")
    settings = judge_settings("judge.yaml")
    assert (settings.model.timeout, settings.model.patience, settings.max_tokens) == (100.0, 2500.0, 4000)
    assert isinstance(settings.max_tokens, int)
    assert settings.temperature == pytest.approx(0.1)
    model: dict[str, Any] = {"name": "m", "base_url": URL, "concurrency": np.int64(4), "timeout": np.float32(2.5)}
    settings = judge_settings({"model": model, "samples": np.int32(2), "temperature": np.float64(0.5)})
    assert type(settings.samples) is type(settings.model.concurrency) is int
    assert type(settings.model.timeout) is type(settings.temperature) is float
    json.dumps(settings.row())
    for value in (np.bool_(True), np.float64(2.0), np.array([4]), 4.0):
        with pytest.raises(ValueError, match=r"concurrency is .*; expected a whole number"):
            judge_settings({"model": {**model, "concurrency": value}})
    for value in (np.int64(3), {1, 2}, b"x", (1, float("inf"))):
        with pytest.raises(ValueError, match=r"extra_body is .*, which is no JSON"):
            judge_settings({"model": {**model, "extra_body": {"a": value}}})


def test_labels_that_are_texts_are_taken() -> None:
    for labels in ('["yes", "no"]', "['1', '2']", "[A, B]", "[left, right]", "['[[A]]', '[[B]]']"):
        Path("t.yaml").write_text(f"{USER}labels: {labels}\n")
        judge = load_judge({"model": {"name": "m", "base_url": URL}, "template": "t.yaml"})
        assert len(judge.template.labels) == 2
