"""PPO's rewards: what each kind says of a completion, what it counts, and what it refuses before anything is loaded."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import Server, byte_tokenizer, completion, forks, rows_of
from support.models import tiny_reward_model

from rlaif.judging.pairwise import judge_pairs
from rlaif.judging.rewards import (
    FunctionReward,
    RewardModelReward,
    check_rewards,
    completion_text,
    load_rewards,
    parse_rewards,
)
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.models.loading import quiet
from rlaif.models.reward_model import RewardModel
from rlaif.records import Pair

PROMPTS: list[Any] = ["What is up?", "Say a number.", [{"role": "user", "content": "Hello"}]]
COMPLETIONS: list[Any] = ["The sky.", "Seven, if I may choose.", [{"role": "assistant", "content": "Hi!"}]]
TEXTS = ["The sky.", "Seven, if I may choose.", "Hi!"]


@pytest.fixture(autouse=True)
def quiet_loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with quiet():
        yield


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random reward model with a zero, for conversations of at most 64 bytes."""
    folder = tmp_path_factory.mktemp("models") / "reward_model"
    return tiny_reward_model(folder, 0, max_length=64, base_model="tiny", zero=0.75)


def yaml(folder: Path, text: str, name: str = "judge.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def scripted(folder: Path, function: str) -> Path:
    return yaml(folder, f"judge: scripted\njudge_model: {__name__}:{function}\n", f"{function}.yaml")


def endpoint(folder: Path, server: Server, more: str = "") -> Path:
    """A judge's YAML in its older, flat form."""
    settings = f"judge: api\njudge_model: m\nbase_url: {server.url}\ntemplate: compact\nlogprobs: never\n{more}"
    return yaml(folder, settings)


# A reward model -------------------------------------------------------------------------------------------------------


def test_a_reward_models_reward_is_its_score_less_its_zero(reward_model: Path, tmp_path: Path) -> None:
    (reward,) = load_rewards([f"reward_model={reward_model}"], tmp_path / "run")
    model = RewardModel.load(reward_model)
    prompts, completions = [*PROMPTS, "long"], [*COMPLETIONS, "word " * 20]
    rewards = reward(prompts, completions, completion_ids=[[1]] * 4, trainer_state=None)
    scores = model.score(prompts, [*TEXTS, "word " * 20])
    assert rewards[:3] == [float(score) - 0.75 for score in scores[:3]]
    assert math.isnan(scores[3])
    assert rewards[3] is None
    assert (reward.__name__, reward.completions, reward.asked) == ("reward_model", 4, 0)
    assert reward.unscored_reasons == {"longer than the N tokens that the reward model takes": 1}
    # By hand: the rendering that it was trained in, nothing padded, the head's output at the EOS.
    ids = model.rendering.encode(model.tokenizer, PROMPTS[0], TEXTS[0]).ids
    with torch.no_grad():
        by_hand = float(model.model(torch.tensor([ids])).logits[0, 0]) - 0.75
    assert rewards[0] == pytest.approx(by_hand, abs=1e-5)
    assert not (tmp_path / "run").exists()  # it stores nothing


def test_a_ready_reward_model_in_micro_batches(reward_model: Path) -> None:
    model = RewardModel.load(reward_model)
    sizes: list[int] = []
    model.model.register_forward_pre_hook(lambda m, a, k: sizes.append(k["input_ids"].numel()), with_kwargs=True)
    reward = RewardModelReward(model, "mine", tokens=120)
    rewards = reward(PROMPTS, COMPLETIONS)
    assert len(sizes) == 2 + 2  # twice it is asked whether padding moves a score, and never again
    sizes.clear()
    assert reward(PROMPTS, COMPLETIONS) == rewards
    assert len(sizes) == 2
    assert max(sizes) <= 120
    whole = RewardModelReward(model)(PROMPTS, COMPLETIONS)
    (given,) = load_rewards([f"reward_model={reward_model}"], reward_model, ready={str(reward_model): model})
    assert isinstance(given, RewardModelReward)
    assert given.model is model
    assert rewards == pytest.approx(whole, abs=1e-5)
    model.card.__dict__["zero"] = None
    assert RewardModelReward(model)(PROMPTS, COMPLETIONS) == pytest.approx([(r or 0.0) + 0.75 for r in whole])


# Judges ---------------------------------------------------------------------------------------------------------------


def test_ratings_are_stored_and_found_by_the_run_that_resumes(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: {"What": "Rating: 3", "Say ": "9/9"}.get(
        body["messages"][0]["content"][:4], "I would rather not."
    )
    spec = f"rating={endpoint(tmp_path, server)}"
    (reward,) = load_rewards([spec], tmp_path / "run")
    assert reward(PROMPTS, COMPLETIONS) == [3.0, 9.0, None]
    asked = len(server.bodies)
    assert (reward.asked, reward.from_cache, reward.completions) == (6, 0, 3)  # four times what cannot be read
    assert reward.unscored_reasons == {"no verdict in the answer.": 1}
    assert reward(PROMPTS[:1], COMPLETIONS[:1]) == [3.0]
    assert (reward.asked, reward.from_cache) == (6, 1)
    reward.close()
    assert reward(PROMPTS[1:2], COMPLETIONS[1:2]) == [9.0]  # closed for a while, not for good
    assert (reward.asked, reward.from_cache) == (6, 2)
    (again,) = load_rewards([spec], tmp_path / "run")
    assert again(PROMPTS, COMPLETIONS) == [3.0, 9.0, None]
    assert (again.asked, again.from_cache, len(server.bodies)) == (0, 6, asked)
    (file,) = (tmp_path / "run" / "replies").iterdir()
    texts = [row["text"] for row in rows_of(file)]
    assert sorted(texts) == ["9/9", *["I would rather not."] * 4, "Rating: 3"]
    del reward, again
    gc.collect()  # a store left open would warn


def test_all_rewards_of_a_run_share_their_replies(server: Server, tmp_path: Path) -> None:
    """The same judge named twice, once to learn from and once to watch, is paid once, in one process and the next."""
    server.answer = lambda body, number: "4"
    judge = endpoint(tmp_path, server)
    specs = [f"rating={judge}", f"rating={judge}", f"pairwise={judge}"]
    first, second, pairwise = load_rewards(specs, tmp_path / "run")
    assert first(PROMPTS, COMPLETIONS) == second(PROMPTS, COMPLETIONS) == [4.0] * 3
    assert [(r.asked, r.from_cache) for r in (first, second)] == [(3, 0), (0, 3)]
    # A list of rewards of its own has a store of its own, on the same folder: both write, neither harms the other.
    (watch,) = load_rewards([f"rating={judge}"], tmp_path / "run")
    assert watch(PROMPTS[:1] * 2, ["new", "The sky."]) == [4.0] * 2
    assert (watch.asked, watch.from_cache) == (1, 1)
    server.answer = lambda body, number: "1"
    assert pairwise(PROMPTS[:1], ["mine"], reference=["theirs"]) == [0.5]
    assert first(["p"], ["late"]) == [1.0]
    for reward in (first, watch):
        reward.close()
    files = list((tmp_path / "run" / "replies").iterdir())
    assert len(files) == 2
    keys = [row["key"] for file in files for row in rows_of(file)]
    assert len(keys) == len(set(keys)) == len(server.bodies) == 7
    (resumed,) = load_rewards([f"rating={judge}"], tmp_path / "run")
    assert resumed([*PROMPTS, PROMPTS[0], "p"], [*COMPLETIONS, "new", "late"]) == [4.0, 4.0, 4.0, 4.0, 1.0]
    assert (resumed.asked, resumed.from_cache) == (0, 5)


def test_a_run_of_an_older_version_is_asked_anew(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: "4"
    for name in ("ratings", "votes"):
        yaml(tmp_path, '{"key": "0123456789abcdef0123456789abcdef", "rating": 9.0}\n', f"{name}.jsonl")
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / f"{name}.jsonl").rename(tmp_path / "run" / name / "x.jsonl")
    (reward,) = load_rewards([f"rating={endpoint(tmp_path, server)}"], tmp_path / "run")
    assert reward(PROMPTS[:1], COMPLETIONS[:1]) == [4.0]
    assert (reward.asked, reward.from_cache) == (1, 0)


@pytest.mark.parametrize("kind", ["flat", "nested"])
@pytest.mark.parametrize(("scale", "best", "answer"), [(None, 9, "9/9"), ("0-9", 9, "9"), ("1-10", 10, "10/10")])
def test_a_rating_is_on_the_scale_of_the_yaml(
    kind: str, scale: str | None, best: int, answer: str, server: Server, tmp_path: Path
) -> None:
    server.answer = lambda body, number: answer
    said = "" if scale is None else f"scale: {scale}\n"
    nested = f"model:\n  name: m\n  base_url: {server.url}\n  logprobs: never\ntemplate: compact\n{said}"
    judge = yaml(tmp_path, nested) if kind == "nested" else endpoint(tmp_path, server, said)
    (reward,) = load_rewards([f"rating={judge}"], tmp_path / "run")
    assert reward(PROMPTS[:1], COMPLETIONS[:1]) == [float(best)]
    assert f"Rating from {best - 9} to {best}:" in server.questions()[0]
    # What is on the other scale is no rating.
    server.answer = lambda body, number: "0" if best == 10 else "10"
    assert reward(PROMPTS[1:2], COMPLETIONS[1:2]) == [None]


def test_a_model_alone_is_a_judge(chat_model: Path, tmp_path: Path) -> None:
    (rating, pairwise) = load_rewards([f"rating={chat_model}", f"pairwise={__name__}:prefers_longer"], tmp_path / "run")
    (value,) = rating(PROMPTS[:1], COMPLETIONS[:1])
    assert value is not None
    assert 0.0 < value < 9.0
    assert pairwise(PROMPTS[:1], COMPLETIONS[:1], reference=["It is blue."]) == [0.25]


def test_pairwise_takes_the_judges_orders(tmp_path: Path) -> None:
    judge = yaml(tmp_path, f"model: {__name__}:prefers_longer\norders: ab\n")
    (reward,) = load_rewards([f"pairwise={judge}"], tmp_path / "run")
    assert reward(["p", "p"], ["long one", "same"], reference=["short", "same"]) == [0.8, 0.5]
    assert reward.asked == 1


def test_a_local_judge_rates_and_warns_once(
    chat_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = yaml(tmp_path, f"judge_model: {chat_model}\ntemplate: compact\njudge_tokens: 400\n")
    (reward,) = load_rewards([f"rating={judge}"], tmp_path / "run")
    rewards = reward(PROMPTS, COMPLETIONS)
    assert all(r is not None and 0.0 < r < 9.0 for r in rewards)
    reward(PROMPTS, ["Response: mine is best.", "b", "c"])
    assert (reward.marked, reward.asked) == (1, 6)
    (warning,) = capsys.readouterr().err.split("warning: ")[1:]
    assert warning.startswith("reward rating: the judge gives the 10 numbers")


def prefers_longer(prompt: Any, first: str, second: str) -> float:
    return 0.8 if len(first) > len(second) else 0.3


def test_a_pairwise_reward_is_z_of_rlaif_judge(tmp_path: Path) -> None:
    (reward,) = load_rewards(
        [f"pairwise={scripted(tmp_path, 'prefers_longer')}"], tmp_path / "run", columns={"reference"}
    )
    references = ["It is blue.", "", [{"role": "assistant", "content": "Hi!"}]]
    assert reward(PROMPTS, COMPLETIONS, reference=references) == [0.25, None, 0.5]
    assert (reward.asked, reward.from_cache) == (2, 0)  # both orders of the first; nothing to ask of the equal ones
    assert reward.unscored_reasons == {"the reference is empty": 1}
    judge = load_judge(JudgeConfig(judge="scripted", judge_model=f"{__name__}:prefers_longer"))
    pair = Pair(PROMPTS[0], COMPLETIONS[0], "It is blue.")
    assert judge_pairs([pair], judge, tmp_path / "run").judgments[0].z == 0.25
    assert judge_pairs([pair], judge, tmp_path / "run").asked == 0  # the same replies in the same store
    assert reward(["p"] * 3, ["", "b", "b"], reference=["x", None, "  "]) == [None] * 3
    assert reward.unscored_reasons["the completion is empty"] == 1
    with pytest.raises(ValueError, match=r"got no column 'reference' to compare completions with; it got text"):
        reward(PROMPTS, COMPLETIONS, text=references)


def test_a_judge_that_fails_gives_none(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (400, f"the context length is {number}", {}) if number % 2 else "1"
    (reward,) = load_rewards([f"pairwise={endpoint(tmp_path, server)}"], tmp_path / "run")
    assert reward(["p"], ["a"], reference=["b"]) == [None]
    assert reward.unscored_reasons == {"refused with status 400": 1}


# Functions ------------------------------------------------------------------------------------------------------------


def length(prompt: Any, response: str) -> float | None:
    return len(response) / 2 if response != "Hi!" else None


def as_trl(prompts: list[Any], completions: list[Any], **kwargs: Any) -> Any:
    assert kwargs.keys() == {"completion_ids", "reference", "trainer_state", "log_metric"}
    kwargs["log_metric"]("seen", len(completions))
    return np.array([float(len(c)) for c in completions], dtype=np.float32)


def picky(completions: list[Any], prompts: list[Any], *, reference: list[str]) -> list[Any]:
    return [r if r is None else torch.tensor(len(r) / 2) for r in reference]


async def slow(prompts: list[Any], completions: list[Any], **kwargs: Any) -> list[int]:
    return [7] * len(prompts)


def test_functions_are_called_as_they_are_written(tmp_path: Path) -> None:
    names = ["length", "as_trl", "picky", "slow"]
    rewards = load_rewards([f"function={__name__}:{name}" for name in names], tmp_path)
    seen: list[Any] = []
    columns = {
        "completion_ids": [[1], [2], [3]],
        "reference": ["abc", "a", None],
        "trainer_state": None,
        "log_metric": lambda *metric: seen.append(metric),
    }
    results = {reward.__name__: reward(prompts=PROMPTS, completions=COMPLETIONS, **columns) for reward in rewards}
    assert results == {
        "length": [4.0, 11.5, None],
        "as_trl": [8.0, 23.0, 1.0],  # TRL's functions get completions as TRL has them: messages here
        "picky": [1.5, 0.5, None],
        "slow": [7.0] * 3,
    }
    assert seen == [("seen", 3)]
    assert rewards[0].unscored_reasons == {"the function returned None": 1}


def test_the_sandboxs_gold_reward_is_a_reward(tmp_path: Path) -> None:
    from rlaif.sandbox import demonstrations, gold_reward

    rows = demonstrations(4, seed=0)
    (reward,) = load_rewards(["function=rlaif.sandbox:gold_reward"], tmp_path)
    prompts, responses = [row["prompt"] for row in rows], [row["completion"] for row in rows]
    assert reward(prompts, responses) == [gold_reward(p, r) for p, r in zip(prompts, responses, strict=True)]


@pytest.mark.parametrize("value", [math.nan, math.inf, "7", True, [1.0], torch.tensor([1.0, 2.0]), np.nan])
def test_what_is_no_number_is_refused(value: Any) -> None:
    for function in (lambda prompt, response: value, lambda prompts, completions: [value] * len(prompts)):
        reward = FunctionReward(function, "f", "module:f")
        with pytest.raises(
            ValueError, match=r"the reward function 'module:f' returned .* for the prompt 'What is up.'"
        ) as e:
            reward(PROMPTS[:1], COMPLETIONS[:1])
        assert "expected a finite number, or None" in str(e.value)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("values", "got"), [([1.0], "1 rewards"), ([1.0] * 4, "4 rewards"), (0.5, "0.5"), (None, "null")]
)
def test_the_wrong_number_of_rewards_is_refused(values: Any, got: str) -> None:
    reward = FunctionReward(lambda prompts, completions: values, "f", "module:f")
    with pytest.raises(ValueError, match=f"'module:f' returned {got} for 3 completions .the first to the prompt 'What"):
        reward(PROMPTS, COMPLETIONS)


# Names and what is refused --------------------------------------------------------------------------------------------


def test_names_are_short_and_each_its_own(tmp_path: Path) -> None:
    specs = ["rating=a.yaml", "function=x.y:rating", "rating=b.yaml", "reward_model=m", "function=z:longer"]
    assert [spec.name for spec in parse_rewards(specs)] == ["rating", "rating_2", "rating_3", "reward_model", "longer"]
    assert str(parse_rewards(["function = a:b"])[0]) == "function=a:b"


def two(prompt: Any) -> float:
    return 0.0


async def alone(prompt: Any, response: str) -> float:
    return 0.0


def other_tokenizer(folder: Path, reward_model: Path) -> str:
    """A reward model beside which another tokenizer was put."""
    from shutil import copytree

    copytree(reward_model, folder / "other")
    byte_tokenizer(chat=False).save_pretrained(folder / "other")
    (folder / "other" / "chat_template.jinja").unlink(missing_ok=True)
    return f"reward_model={folder / 'other'}"


BAD: list[tuple[str | Callable[[Path, Path], str], str]] = [
    ("gold", r"reward 'gold' is not kind=value; expected one of reward_model=FOLDER"),
    ("rating=", r"is not kind=value"),
    ("ratings=j.yaml", r"of an unknown kind, 'ratings'; did you mean 'rating'\?"),
    ("zzz=j.yaml", r"of an unknown kind, 'zzz'; expected one of reward_model=FOLDER"),
    ("reward_model=no/such", r"reward reward_model=no/such: no/such is neither a folder nor a Hub model"),
    (lambda folder, rm: f"reward_model={folder}", r"has no rlaif.json"),
    (other_tokenizer, r"was trained with rendering kind = 'chat', but its tokenizer now gives 'plain'"),
    ("rating=no.yaml", r"reward rating=no.yaml: judge is 'no.yaml', which does not exist; expected a judge's"),
    (lambda f, rm: f"rating={yaml(f, '- 1')}", r"holds a list; expected `name: value` lines"),
    (
        lambda f, rm: f"rating={yaml(f, 'judge_modle: m')}",
        r"has no `model`; expected as in `model: Qwen/Qwen3-8B`",
    ),
    (lambda f, rm: f"rating={yaml(f, 'modle: m')}", r"has no `model`; did you misspell it as 'modle'\?"),
    (lambda f, rm: f"rating={yaml(f, 'model: m' + chr(10) + 'scal: 0-9')}", r"'scal' is not .*did you mean 'scale'\?"),
    (lambda f, rm: f"rating={yaml(f, 'model: m' + chr(10) + 'scale: 9-0')}", r"judge.yaml has scale '9-0'; expected"),
    (lambda f, rm: f"rating={yaml(f, 'judge: api')}", r"has no `model`"),
    ("rating=api", r"reward rating=api: judge_model is not set"),
    ("rating=scriptde", r"judge is 'scriptde'; expected one of .*Did you mean 'scripted'\?"),
    (lambda f, rm: f"rating={yaml(f, 'judge_model: no/such')}", r"no tokenizer could be loaded from no/such"),
    (lambda f, rm: f"pairwise={yaml(f, 'judge_model: no/such')}", r"no tokenizer could be loaded from no/such"),
    (
        lambda f, rm: f"rating={yaml(f, 'judge_model: m' + chr(10) + 'template: x')}",
        r"template 'x' is neither built in",
    ),
    (
        lambda f, rm: f"rating={yaml(f, 'judge: api' + chr(10) + 'judge_model: m')}",
        r"the environment variable OPENAI_API_KEY is not set",
    ),
    ("function=nowhere:f", r"'nowhere:f' cannot be imported"),
    ("function=math", r"'math' names no function"),
    ("function=math:pi", r"is a number; expected a function"),
    (
        f"function={__name__}:two",
        r"takes \(prompt: .*\) -> .*too many positional.*expected \(prompt, response\), or TRL's",
    ),
    (f"function={__name__}:alone", r"it is async"),
]


@pytest.mark.parametrize(("spec", "message"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_a_reward_is_one_line(
    spec: str | Callable[[Path, Path], str], message: str, reward_model: Path, tmp_path: Path
) -> None:
    spec = spec if isinstance(spec, str) else spec(tmp_path, reward_model)
    with pytest.raises(ValueError, match=message) as error:
        check_rewards([f"function={__name__}:length", spec])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):
        load_rewards([spec], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_the_dataset_lacks_and_an_empty_list(tmp_path: Path) -> None:
    spec = f"pairwise={scripted(tmp_path, 'prefers_longer')}"
    with pytest.raises(ValueError, match=r"the dataset has no column 'reference' .*; it has prompt, text. Add"):
        check_rewards([spec], ["prompt", "text"])
    assert [s.name for s in check_rewards([spec], ["prompt", "reference"])] == ["pairwise"]
    with pytest.raises(ValueError, match="no reward is given; expected at least one of reward_model=FOLDER"):
        check_rewards([])


def test_what_a_completion_is() -> None:
    assert [completion_text(c) for c in COMPLETIONS] == TEXTS
    with pytest.raises(ValueError, match="a completion is 7; expected text or a list of messages"):
        completion_text(7)


def test_an_endpoint_that_is_gone_ends_the_run_in_one_line(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (401, "wrong key", {})
    (reward,) = load_rewards([f"rating={endpoint(tmp_path, server)}"], tmp_path / "run")
    with pytest.raises(ValueError, match="refused the key in OPENAI_API_KEY"):
        reward(PROMPTS, COMPLETIONS)
    server.answer = lambda body, number: completion("4")
    assert reward(PROMPTS, COMPLETIONS) == [4.0] * 3


def test_how_a_judges_answers_were_read_is_reported(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With log-probabilities, without, and with some that belong to something else; said once of each kind."""
    places = [("7", {"7": -0.01, "8": -5.0})]
    server.models = {"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]}

    def answer(body: dict[str, Any], number: int) -> Any:
        other = [("no", {"no": -0.1, "yes": -3.0})] if "three" in str(body["messages"]) else places
        return completion("7", logprobs=None if "two" in str(body["messages"]) else other)

    server.answer = answer
    (reward, function) = load_rewards([f"rating={endpoint(tmp_path, server)}", f"function={__name__}:length"], tmp_path)
    assert reward.how_read() == {"methods": {}}
    reward(["one", "two", "three"], ["a", "b", "c"])
    reward(["one", "two", "three"], ["d", "e", "f"])
    read = reward.how_read()
    assert read["methods"] == {"logprobs": 2, "text": 4}
    assert sum(read["logprobs_not_used"].values()) == 2
    assert read["served"]["m"]["server"] == "vLLM"
    assert function.how_read() == {}
    assert capsys.readouterr().err.count("came with log-probabilities that were not used") == 1


def test_processes_do_not_wait_for_one_another(reward_model: Path, chat_model: Path, tmp_path: Path) -> None:
    """The second process scores once more than the first: anything collective would wait for ever."""
    judge = yaml(tmp_path, f"judge_model: {chat_model}\ntemplate: compact\n")
    program = yaml(
        tmp_path,
        "from rlaif.models.parallel import process_index\n"
        "from rlaif.judging.rewards import load_rewards\n"
        f"specs = ['reward_model={reward_model}', 'rating={judge}', 'pairwise={judge}']\n"
        f"rewards = load_rewards(specs, {str(tmp_path / 'run')!r})\n"
        "for turn in range(1 + process_index()):\n"
        "    texts = [f'{process_index()} {turn} {i}' for i in range(3)]\n"
        "    rows = [reward(['p'] * 3, texts, reference=['r'] * 3) for reward in rewards]\n"
        "    assert all(value is not None for row in rows for value in row), rows\n"
        "print('asked', process_index(), [reward.asked for reward in rewards])\n",
        "program.py",
    )
    processes = forks.side_by_side(program=program)
    for done in processes:
        assert done.returncode == 0, done.stderr
    assert [done.stdout for done in processes] == ["asked 0 [0, 3, 6]\n", "asked 1 [0, 6, 12]\n"]
    files = list((tmp_path / "run" / "replies").iterdir())
    assert len(files) == 2  # one a process, for all its rewards
    assert sum("key" in row for file in files for row in rows_of(file)) == 3 * 9
