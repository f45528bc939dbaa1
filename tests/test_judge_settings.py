"""A judge's settings: one YAML for every program, its older form, the command line over it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import SECRET, Server, byte_tokenizer, here, save_model, some_pairs, tiny_llama, write_rows

from rlaif.errors.lines import UsageError
from rlaif.files.reads import sources
from rlaif.judging.pairwise import Pairwise, judge_pairs
from rlaif.judging.rewards import load_rewards
from rlaif.judging.settings import JudgeConfig, JudgeSettings, ModelSettings, judge_settings, load_judge, load_rater
from rlaif.models.base import Call
from rlaif.models.loading import quiet
from rlaif.models.local import LocalModel
from rlaif.records import Pair, Response

PAIR = Pair("What is up?", "The sky.", "Nothing at all.")
URL = "http://localhost:8000/v1"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No key, an own folder, and a library that keeps quiet."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    with quiet():
        yield


def yaml(text: str, name: str = "judge.yaml") -> str:
    Path(name).write_text(text)
    return name


def calls(method: Any, item: Any = PAIR) -> list[Call]:
    """The first round's calls about an item."""
    return next(method.ask(item))  # type: ignore[no-any-return]


def keys(method: Any, item: Any = PAIR) -> list[str]:
    return [call.key for call in calls(method, item)]


def says_longer(prompt: Any, first: str, second: str) -> float:
    return 0.9 if len(first) > len(second) else 0.2


# One judge, however it is given ---------------------------------------------------------------------------------------

SAME: list[tuple[str, str, JudgeConfig, dict[str, Any]]] = [
    (
        "model:\n  name: m\n  kind: api\n  base_url: URL\n  served_as: x\n  logprobs: never\n"
        "template: compact\norders: ab\nsamples: 2\ntemperature: 0.5\nmax_tokens: 64\ncombine: log_odds\n",
        "judge: api\njudge_model: m\nbase_url: URL\nserved_as: x\nlogprobs: never\n"
        "template: compact\norders: ab\nsamples: 2\ntemperature: 0.5\nmax_tokens: 64\ncombine: log_odds\n",
        JudgeConfig(
            "api",
            "m",
            "compact",
            base_url=URL,
            served_as="x",
            logprobs="never",
            orders="ab",
            samples=2,
            temperature=0.5,
            max_tokens=64,
            combine="log_odds",
        ),
        {
            "model": {"name": "m", "base_url": URL, "served_as": "x", "logprobs": "never"},
            "template": "compact",
            "orders": "ab",
            "samples": 2,
            "temperature": 0.5,
            "max_tokens": 64,
            "combine": "log_odds",
        },
    ),
    (
        "model: CHAT\n",
        "judge_model: CHAT\n",
        JudgeConfig("CHAT"),
        {"model": {"name": "CHAT", "kind": "local"}},
    ),
    (
        "model:\n  name: CHAT\n  dtype: float32\n  tokens: 400\n  load_in_4bit: false\ntemplate: harmless\n",
        "judge: local\njudge_model: CHAT\njudge_dtype: float32\njudge_tokens: 400\ntemplate: harmless\n",
        JudgeConfig("local", "CHAT", "harmless", judge_dtype="float32", judge_tokens=400),
        {"judge_model": "CHAT", "judge_dtype": "float32", "judge_tokens": 400, "template": "harmless"},
    ),
    (
        "model: test_judge_settings:says_longer\norders: ba\n",
        "judge: scripted\njudge_model: test_judge_settings:says_longer\norders: ba\n",
        JudgeConfig("scripted", "test_judge_settings:says_longer", orders="ba"),
        {"model": {"name": "test_judge_settings:says_longer", "kind": "function"}, "orders": "ba"},
    ),
]


@pytest.mark.parametrize(("nested", "flat", "config", "mapping"), SAME, ids=["api", "name", "local", "function"])
def test_nested_flat_command_line_and_mapping_are_one_judge(
    nested: str, flat: str, config: JudgeConfig, mapping: dict[str, Any], chat_model: Path
) -> None:
    def filled(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("URL", URL).replace("CHAT", str(chat_model)))

    config = JudgeConfig(**filled(vars(config)))
    given: list[Any] = [yaml(filled(nested), "nested.yaml"), yaml(filled(flat), "flat.yml"), config, filled(mapping)]
    given += [Path("nested.yaml"), JudgeConfig("flat.yml"), judge_settings("nested.yaml")]
    methods = [load_judge(one) for one in given]
    assert len({method.hash for method in methods}) == 1
    assert len({tuple(keys(method)) for method in methods}) == 1
    raters = [load_rater(one) for one in given]
    assert len({rater.hash for rater in raters}) == 1
    assert len({tuple(keys(rater, Response("p", "r"))) for rater in raters}) == 1
    settings = [judge_settings(one) for one in given[:-1]]
    assert all(one == settings[0] for one in settings)
    assert all(one.row() == settings[0].row() for one in settings)
    json.dumps(settings[0].row())


def test_a_function_itself_is_a_judge() -> None:
    for judge in (says_longer, {"model": says_longer}, {"model": {"name": says_longer}, "orders": "both"}):
        method = load_judge(judge)
        assert judge_pairs([PAIR], method, None).judgments[0].z == pytest.approx((0.2 + 0.1) / 2)
    for name in (f"{__name__}:says_longer", f"{__name__}.says_longer"):
        assert judge_pairs([PAIR], load_judge(name), None).judgments[0].z == pytest.approx(0.15)
    assert judge_settings(says_longer).row()["judge"] == "scripted"


def test_a_dot_makes_a_function_only_of_a_module_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_judges.py").write_text("def kind(prompt, first, second): return 0.5\n")
    kinds = {name: judge_settings(name).row()["judge"] for name in ("my_judges.kind", "my_models.kind", "gpt2.kind")}
    assert kinds == {"my_judges.kind": "scripted", "my_models.kind": "local", "gpt2.kind": "local"}
    Path("my_judges.kind").mkdir()
    assert judge_settings("my_judges.kind").row()["judge"] == "local"
    with pytest.raises(UsageError, match=r"'my_judges\.kinds': my_judges has no 'kinds' .*did you mean 'kind'\?"):
        load_judge("my_judges.kinds")


def test_the_scale_is_the_yamls_in_either_form() -> None:
    nested = yaml(f"model: {{name: m, base_url: {URL}}}\nscale: 1-10\n", "nested.yaml")
    flat = yaml(f"judge: api\njudge_model: m\nbase_url: {URL}\nscale: 1-10\n", "flat.yaml")
    assert [load_rater(one).template.scale for one in (nested, flat)] == [(1, 10)] * 2
    assert load_rater(nested).hash == load_rater(flat).hash
    assert load_judge(nested).hash == load_judge({"model": {"name": "m", "base_url": URL}}).hash  # of ratings alone
    assert judge_settings(nested).row()["scale"] == "1-10"


# What a word means ----------------------------------------------------------------------------------------------------


def test_a_kinds_exact_name_goes_before_a_file_and_a_file_before_a_model(chat_model: Path) -> None:
    yaml("model: other\n", "api")
    yaml("model: other\n", "local")
    assert judge_settings(JudgeConfig("api", "m")).model.name == "m"
    assert judge_settings(JudgeConfig("local", "m")).model.kind == "local"
    assert judge_settings(JudgeConfig(judge_model="m")).model.kind == "local"
    yaml("model: gpt\n", "Org.yaml")
    assert judge_settings("Org.yaml").model.name == "gpt"
    assert judge_settings(str(chat_model)).model == judge_settings(JudgeConfig("local", str(chat_model))).model
    assert judge_settings("Qwen/Qwen3-8B").model.kind == "local"
    assert judge_settings("Qwen/Qwen2.5-7B.local").model.name == "Qwen/Qwen2.5-7B.local"
    Path("scriptd").mkdir()  # a folder of that name is a model's
    assert judge_settings("scriptd").model.name == "scriptd"


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("Qwen/Qwen3-8B", "local"),
        ("runs/mine/policy", "local"),
        ("llama3:8b", "local"),
        ("my.package:judge", "function"),
        ({"name": "m", "base_url": URL}, "api"),
        ({"name": "llama3:latest", "base_url": URL}, "api"),  # looks like a function, but has an address
        ({"name": "llama3:latest", "kind": "api"}, "api"),
        ({"name": "m", "kind": "scripted"}, "function"),
    ],
)
def test_the_kind_that_is_left_out_is_told_by_the_rest(model: Any, kind: str) -> None:
    assert judge_settings({"model": model}).model.kind == kind


def test_an_address_on_the_command_line_makes_a_model_an_endpoints() -> None:
    for judge in ("llama3:latest", yaml("model: llama3:latest\n")):
        settings = judge_settings(JudgeConfig(judge, base_url=URL))
        assert (settings.model.kind, settings.model.name, settings.model.base_url) == ("api", "llama3:latest", URL)


def test_the_command_line_wins_over_the_file() -> None:
    judge = yaml(
        f"model:\n  name: m\n  base_url: {URL}\n  concurrency: 3\n  timeout: 5\n  extra_body: {{top_k: 1}}\n"
        "template: harmless\ntemperature: 0.7\nsamples: 3\norders: ab\nmax_tokens: 64\n"
    )
    plain = judge_settings(judge)
    assert (plain.model.concurrency, plain.model.timeout, plain.samples, plain.template) == (3, 5, 3, "harmless")
    given = JudgeConfig(
        judge, base_url="http://other/v1", concurrency=7, temperature=1.0, samples=1, orders="both", template="compact"
    )
    settings = judge_settings(given)
    assert (settings.model.base_url, settings.model.concurrency) == ("http://other/v1", 7)
    assert (settings.temperature, settings.samples, settings.orders, settings.template) == (1.0, 1, "both", "compact")
    # What is not given stays the file's.
    assert (settings.model.timeout, settings.max_tokens, settings.model.extra_body) == (5, 64, {"top_k": 1})
    # What says 0 is given: None alone is not.
    assert judge_settings(JudgeConfig(judge, samples=1, temperature=0.0)).temperature == 0.0
    assert judge_settings(JudgeConfig(yaml("model: m\n"), judge_tokens=1)).model.tokens == 1


def test_a_judge_reads_its_own_model_and_template_and_nothing_that_only_has_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output folder `compact` or `local` is no input, a Hub id is no folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("compact", "local", "judge", "me"):
        Path(name).mkdir()
    Path("judge/config.json").write_text("{}")
    Path("mine.yaml").write_text("")

    def settings(model: str, template: str, kind: str = "local") -> JudgeSettings:
        return JudgeSettings(ModelSettings(model, kind), template)

    assert settings("judge", "mine.yaml").reads == ["judge", "mine.yaml"]
    assert settings("judge", "compact", "api").reads == settings("me", "compact").reads == []
    reads = {"judge": "judge", "judge_model": "judge", "template": "judge"}
    assert sources(reads, {"judge": "local", "judge_model": "judge", "template": "compact"}) == ["judge"]


def test_the_program_takes_the_file_and_lets_the_command_line_win(server: Server, tmp_path: Path) -> None:
    judge = yaml(f"model: {{name: m, base_url: {server.url}, logprobs: never}}\ntemplate: compact\norders: ab\n")
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(3))
    for more, asked in (((), 3), (("--orders", "both"), 3), (("--template", "helpful"), 3)):
        before = len(server.bodies)
        done = here("judge", "--judge", judge, "--pairs", pairs, "--output", tmp_path / "out", *more)
        assert done.returncode == 0, done.stderr
        assert len(server.bodies) - before == asked
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["inputs"].keys() == {str(pairs), judge}
    config = manifest["config"]
    assert (config["judge"], config["judge_model"], config["orders"], config["template"]) == (
        "api",
        "m",
        "ab",
        "helpful",
    )


# What is told to a model ----------------------------------------------------------------------------------------------

TOLD: list[tuple[dict[str, Any], Callable[[dict[str, Any]], Any], Any]] = [
    ({"extra_body": {"top_k": 5, "choices": ["1", "2"]}}, lambda b: (b["top_k"], b["choices"][1]), (5, "2")),
    (
        {"chat_template_kwargs": {"enable_thinking": False}},
        lambda b: b["chat_template_kwargs"]["enable_thinking"],
        False,
    ),
    ({"reasoning_effort": "low"}, lambda b: b["reasoning_effort"], "low"),
    (
        {"extra_body": {"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs": {"b": 2}},
        lambda b: b["chat_template_kwargs"],
        {"b": 2},
    ),
]


@pytest.mark.parametrize(("told", "read", "value"), TOLD)
def test_what_an_endpoint_is_told_reaches_it_and_is_part_of_the_address(
    told: dict[str, Any], read: Callable[[dict[str, Any]], Any], value: Any, server: Server
) -> None:
    plain = {"name": "m", "base_url": server.url}
    with_it = load_judge({"model": {**plain, **told}, "template": "compact"})
    assert judge_pairs([PAIR], with_it, None).asked == 2
    assert [read(body) for body in server.bodies] == [value] * 2
    without = load_judge({"model": plain, "template": "compact"})
    assert judge_pairs([PAIR], without, None).asked == 2
    assert not any(name in body for body in server.bodies[2:] for name in ("top_k", *told))
    assert not set(keys(with_it)) & set(keys(without))
    assert with_it.hash != without.hash
    rated = load_rater({"model": {**plain, **told}})
    assert keys(rated, Response("p", "r")) != keys(load_rater({"model": plain}), Response("p", "r"))
    settings = judge_settings({"model": {**plain, **told}})
    assert all(settings.row()[name] == told[name] for name in told)


def test_headers_reach_the_endpoint_and_their_values_no_file(server: Server, tmp_path: Path) -> None:
    """Through the program, PPO's rewards and an endpoint that refuses: the header's name may be kept, its value not."""
    judge = yaml(
        f"model:\n  name: m\n  base_url: {server.url}\n  logprobs: never\n  extra_headers:\n    X-Team: {SECRET}-team\n"
        "template: compact\n"
    )
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(3))
    output = tmp_path / "out"
    done = here("judge", "--judge", judge, "--pairs", pairs, "--output", output)
    assert done.returncode == 0, done.stderr
    assert {headers["X-Team"] for headers in server.headers} == {f"{SECRET}-team"}
    server.answer = lambda body, number: (400, "the context length is too small", {})
    rating, pairwise = load_rewards([f"rating={judge}", f"pairwise={judge}"], output / "run")
    assert rating(["p"], ["r"]) == pairwise(["p"], ["r"], reference=["s"]) == [None]
    for reward in (rating, pairwise):
        reward.close()
    files = [path for path in output.rglob("*") if path.is_file()]
    assert {"judgments.jsonl", "votes.jsonl", "report.json", "manifest.json"} <= {path.name for path in files}
    assert sum(path.parent.name == "replies" for path in files) == 2
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr
    config = json.loads((output / "manifest.json").read_text())["config"]
    assert config["extra_headers"] == ["X-Team"]
    # Another header is another call: it may choose another model.
    methods = [load_judge(judge)] + [
        load_judge({"model": {"name": "m", "base_url": server.url, **more}, "template": "compact"})
        for more in ({}, {"extra_headers": {"X-Team": "b"}}, {"extra_headers": {"X-Other": "b"}})
    ]
    assert len({keys(method)[0] for method in methods}) == 4
    assert not [call for call in calls(methods[0]) if SECRET in repr(call)]


@pytest.fixture(scope="module")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose chat template, like Qwen3's, writes an empty thought unless it may think."""
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template += "{% if not enable_thinking %}<think></think>{% endif %}"
    return save_model(tmp_path_factory.mktemp("models") / "thinking", tiny_llama(seed=3), tokenizer)


def test_a_local_chat_template_is_told_what_the_yaml_says(thinking_model: Path) -> None:
    thinks = yaml(
        f"model:\n  name: {thinking_model}\n  chat_template_kwargs: {{enable_thinking: true}}\n", "thinks.yaml"
    )
    plain = yaml(f"model: {thinking_model}\n", "plain.yaml")
    texts: dict[str, list[str]] = {}
    z = {}
    for name in (thinks, plain):
        method = load_judge(name)
        z[name] = judge_pairs([PAIR], method, None).judgments[0].z
        model = method.question.model
        assert isinstance(model, LocalModel)
        texts[name] = list(model._texts.values())
    assert len(texts[thinks]) == len(texts[plain]) == 2
    assert all(text.endswith("<|assistant|>\n") for text in texts[thinks])
    assert all(text.endswith("<|assistant|>\n<think></think>") for text in texts[plain])
    assert z[thinks] != z[plain]
    assert not set(keys(load_judge(thinks))) & set(keys(load_judge(plain)))
    assert load_judge(thinks).hash != load_judge(plain).hash
    assert keys(load_rater(thinks), Response("p", "r")) != keys(load_rater(plain), Response("p", "r"))


def test_patience_and_salt_reach_who_uses_them() -> None:
    """The patience is nobody's identity; the salt is one of the method where its template has a mark."""
    plain = {"name": "m", "base_url": URL}
    patient = load_judge({"model": {**plain, "patience": 5}})
    assert patient.question.model.endpoint.patience == 5  # type: ignore[attr-defined]
    assert load_judge({"model": plain}).question.model.endpoint.patience == 900  # type: ignore[attr-defined]
    assert patient.hash == load_judge({"model": plain}).hash
    assert judge_settings(JudgeConfig("api", "m", patience=7.5)).row()["patience"] == 7.5
    for template, same in (("helpful", True), ("reasoned", False)):
        one, other = (load_judge({"model": plain, "template": template, "salt": salt}) for salt in ("a", "b"))
        assert (one.hash == other.hash) is same
        assert (keys(one) == keys(other)) is same
    assert judge_settings({"model": plain, "salt": "a"}).row()["salt"] == "a"
    assert "salt" not in judge_settings({"model": plain}).row()


# What is refused ------------------------------------------------------------------------------------------------------

API = {"name": "m", "base_url": URL}
BAD: list[tuple[Any, str]] = [
    # A word.
    ("no.yaml", r"judge is 'no.yaml', which does not exist; expected a judge's YAML file\."),
    ("scriped", r"judge is 'scriped'; expected one of local, api, scripted, .* Did you mean 'scripted'\?"),
    ("Local", r"judge is 'Local'; .*Did you mean 'local'\?"),
    (JudgeConfig("apii", "m"), r"judge is 'apii' and judge_model 'm'; .*did you mean 'api'\?"),
    (JudgeConfig("zzz", "m"), r"beside a judge_model the judge is a kind: expected one of local, api, function, scr"),
    (JudgeConfig("api"), r"judge_model is not set; expected a model \(local, api\) or a function"),
    (JudgeConfig(), r"judge_model is not set"),
    # A file.
    ("model: m\ntemprature: 0.5", r"bad.yaml: 'temprature' is not a setting of a judge; did you mean 'temperature'\?"),
    ("model: {name: m, revison: x}", r"bad.yaml: 'revison' is not a setting of a judge; did you mean 'revision'\?"),
    ("model: m\nzzz: 1", r"'zzz' is not a setting of a judge; known are template, orders"),
    ("model: m\nbase_url: x", r"bad.yaml: 'base_url' belongs under `model:`\."),
    ("model: {name: m, template: x}", r"bad.yaml: 'template' belongs beside `model:`\."),
    ("model: m\n5: x", r"bad.yaml: '5' is not a setting"),
    ("judge_model: m\njudge_tokns: 5", r"'judge_tokns' is not a setting of a judge; did you mean 'judge_tokens'\?"),
    (
        "judge: apii\njudge_model: m",
        r"bad.yaml: judge is 'apii'; expected one of local, api, scripted; did you mean 'api'",
    ),
    ("- 1\n- 2", r"bad.yaml holds a list; expected `name: value` lines"),
    ("", r"bad.yaml holds nothing; expected `name: value` lines"),
    ("template: x", r"bad.yaml has no `model`; expected as in `model: Qwen/Qwen3-8B`\."),
    ("modl: x", r"bad.yaml has no `model`; did you misspell it as 'modl'\?"),
    ("model:", r"bad.yaml: model is null; expected a model's name, or a mapping with its `name`\."),
    ("model: ''", r"bad.yaml: model is ''; expected a model's name"),
    ("model: 7", r"bad.yaml: model is 7; expected a model's name"),
    ("model: [m]", r"bad.yaml: model is \[\"m\"\]; expected a model's name"),
    ("model: {kind: api}", r"bad.yaml: model is a mapping with kind; expected .* a mapping with its `name`"),
    (
        "model: {name: m, kind: apii}",
        r"the model's kind is 'apii'; expected one of local, api, function; did you mean 'api'",
    ),
    ("model: {name: m, kind: [api]}", r"the model's kind is \[\"api\"\]; expected one of"),
    # A value.
    ({"model": {**API, "concurrency": "many"}}, r"concurrency is 'many'; expected a whole number\."),
    ({"model": {**API, "concurrency": 0}}, r"concurrency is 0; expected at least 1\."),
    ({"model": {**API, "concurrency": True}}, r"concurrency is true; expected a whole number\."),
    ({"model": {**API, "max_retries": -1}}, r"max_retries is -1; expected at least 0\."),
    ({"model": {**API, "timeout": 0}}, r"timeout is 0; expected a number of seconds above 0\."),
    ({"model": {**API, "timeout": float("nan")}}, r"timeout is nan; expected"),
    ({"model": {**API, "base_url": 8000}}, r"base_url is 8000; expected an address such as http"),
    ({"model": {**API, "logprobs": "yes"}}, r"logprobs is 'yes'; expected one of auto, never\."),
    ({"model": {**API, "reasoning_effort": 3}}, r"reasoning_effort is 3; expected text: quote it\."),
    ({"model": {**API, "extra_body": [1]}}, r"extra_body is \[1\]; expected a mapping\."),
    ("model: {name: m, kind: api, extra_body: {day: 2024-01-01}}", r"extra_body is .*, which is no JSON.*Quote dates"),
    ({"model": {**API, "extra_body": {"a": float("nan")}}}, r"extra_body is .*, which is no JSON"),
    ({"model": {**API, "extra_headers": SECRET}}, r"extra_headers is a text; expected a mapping\."),
    ({"model": {**API, "extra_headers": {"X": 5}}}, r"extra_headers has 'X' as a number; expected text for text"),
    ({"model": {"name": "m", "load_in_4bit": "yes"}}, r"load_in_4bit is 'yes'; expected true or false\."),
    ({"model": {"name": "m", "tokens": 1.5}}, r"tokens is 1.5; expected a whole number\."),
    ({"model": "m", "orders": "abba"}, r"orders is 'abba'; expected one of both, ab, ba; did you mean 'ba' or 'ab'"),
    ({"model": "m", "combine": ["mean"]}, r"combine is \[\"mean\"\]; expected one of mean, log_odds\."),
    ({"model": "m", "samples": 0}, r"samples is 0; expected at least 1\."),
    ({"model": "m", "scale": "9-0"}, r"the judge has scale '9-0'; expected the worst and the best number, as in 0-9"),
    ({"model": "m", "scale": 10}, r"the judge has scale 10; expected the worst and the best number"),
    ({"model": "m", "template": 5}, r"template is 5; expected text: quote it\."),
    # A value that nobody would use.
    ({"model": "m", "samples": 2}, r"samples is 2; a local judge gives the same vote every time, use 1\."),
    ({"model": API, "samples": 2}, r"samples > 1 at temperature 0 asks the same thing again; set --temp"),
    ({"model": "m", "temperature": 0.5}, r"temperature is 0.5, which judge 'local' does not use; leave it out, or set"),
    (JudgeConfig("local", "m", base_url=URL), r"base_url is .*, which judge 'local' does not use; .*--judge to api\."),
    (JudgeConfig("api", "m", judge_tokens=5), r"judge_tokens is 5, which judge 'api' does not use; .*--judge to local"),
    (JudgeConfig("api", "m", trust_remote_code=True), r"trust_remote_code is true, which judge 'api' does not use"),
    ({"model": {**API, "trust_remote_code": True}}, r"trust_remote_code is true, which judge 'api' does not use"),
    (JudgeConfig("scripted", "a:b", trust_remote_code=True), r"trust_remote_code is true, which judge 'scripted' does"),
    (JudgeConfig("scripted", "a:b", template="x"), r"template is 'x', which judge 'scripted' does not use"),
    ({"model": {"name": "m", "extra_headers": {"X": SECRET}}}, r"extra_headers is a mapping, which judge 'local'"),
    ({"model": {"name": "m", "extra_headers": {"X": SECRET}, "kind": 1}}, r"the model's kind is 1"),
    ({"model": {"extra_headers": {"X": SECRET}}}, r"model is a mapping with extra_headers; expected a model's name"),
]


@pytest.mark.parametrize(("judge", "message"), BAD, ids=range(len(BAD)))
def test_what_is_no_judge_is_one_line(judge: Any, message: str) -> None:
    """It names the setting, says what was got and what was expected, and shows no header's value."""
    if isinstance(judge, str) and (":" in judge or judge.startswith("-") or not judge):
        judge = yaml(judge, "bad.yaml")
    for load in (judge_settings, load_judge, load_rater):
        with pytest.raises(ValueError, match=message) as error:
            load(judge)
        assert "\n" not in str(error.value)
        assert SECRET not in str(error.value)


def test_the_program_refuses_in_one_line_before_it_begins(tmp_path: Path) -> None:
    from support import refused

    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(1))
    judge = yaml("model: m\nscale: 9-0\n")
    done = here("judge", "--judge", judge, "--pairs", pairs, "--output", tmp_path / "out")
    assert "judge.yaml has scale '9-0'" in refused(done)
    assert not (tmp_path / "out").exists()


def test_a_rating_on_a_scale_of_no_template() -> None:
    with pytest.raises(ValueError, match=r"has the scale 0-1000; expected one within 0-100, as in 0-9"):
        load_rater({"model": API, "scale": "0-1000"})
    assert isinstance(load_judge({"model": API, "scale": "0-9"}), Pairwise)
