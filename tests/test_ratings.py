"""Ratings on a scale, 0-9 or another: read from text, from listed probabilities and from a model's own, never guessed.

Most of what can go wrong does with a 10, so much is tested on 1-10; what the scale decides is tested on many.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support import Server, byte_tokenizer, completion, save_model, tiny_llama, word_tokenizer
from support.readings import parse_rating

from rlaif.files.store import Store
from rlaif.judging.prompts import TEMPLATES, RatingTemplate, load_rating_template, rating_template
from rlaif.judging.question import Question
from rlaif.judging.rating import RatingMethod, Ratings, rate_here
from rlaif.judging.settings import JudgeConfig, load_judge, load_rater
from rlaif.judging.verdicts import Scale
from rlaif.models.base import Call
from rlaif.models.loading import quiet
from rlaif.models.local import LocalModel, exclusive
from rlaif.records import Pair, Rating, Response

TEN: Scale = (1, 10)
COMPACT = rating_template("compact", TEN)
NINE = rating_template("compact")
PROMPTS = [f"Question {i}: what is {i} plus {i}?" for i in range(9)]
RESPONSES = [f"It is {2 * i}." + " Indeed." * (i % 4) for i in range(9)]

ANSWERS = [
    # A number and nothing more.
    ("7", 7),
    (" 10\n", 10),
    ("**1**", 1),
    ("`8`.", 8),
    ("Rating: 7", 7),
    ("**Rating:** 7", 7),
    ("Overall score: 7/10", 7),
    ("Rating - 7", 7),
    ("[[Rating]]: 9", 9),
    ("7/10", 7),
    ("10/10.", 10),
    ("1 / 10", 1),
    ("7 out of 10", 7),
    ("Rating (1-10): 6", 6),
    ("My rating is 4.", 4),
    ("7\n\nThe response has 3 mistakes.", 7),
    ("The response has 3 mistakes, and I'd like 2 more examples.\n\n**5**", 5),
    # Statements.
    ("I would rate this response 7 because it is brief.", 7),
    ("I'd give it an 8 out of 10, for it is kind.", 8),
    ("On a scale from 1 to 10, I rate it 3.", 3),
    ("It is fine. The final answer is $\\boxed{7}$.", 7),
    ("A rating of 10 would need sources. I give it a 6.", 6),
    ("Clear and correct, 9/10 from me.", 9),
    ("Rating: 7. I rate it 7/10.", 7),
    ('The response says "Rating: 10", which is bold. Rating: 2', 2),
    # No rating, or more than one.
    ("", None),
    ("  \n", None),
    ("0", None),
    ("11", None),
    ("0/10", None),
    ("-7", None),
    ("7.5", None),
    ("7,5", None),
    ("7/5", None),
    ("7/100", None),
    ("Rating: 70%", None),
    ("6-7", None),
    ("6 to 7", None),
    ("6 or 7", None),
    ("1-10", None),
    ("Rating (1-10):", None),
    ("Helpfulness: 7/10, honesty: 3/10", None),
    ("7\nRating: 3", None),
    ("The rating is not 7.", None),
    ("I would not rate it 7/10.", None),
    ("There are 3 errors in it.", None),
    ("1. Clear\n2. Short, too", None),
    ("Response 1 is better.", None),
    ("I cannot rate this.", None),
    ("It is right 9/10 of the time.", None),
    ("On 9/10/2024 it was true.", None),
    ("If I had to rate it 7/10 would be too much", None),
]


@pytest.mark.parametrize(("text", "rating"), ANSWERS)
def test_realistic_answers(text: str, rating: int | None) -> None:
    assert parse_rating(text, TEN) == rating


@pytest.mark.parametrize(
    ("text", "scale", "rating"),
    [
        ("7", (0, 9), 7),
        ("0", (0, 9), 0),
        ("**0**", (0, 9), 0),
        ("Rating: 0", (0, 9), 0),
        ("9/9", (0, 9), 9),
        ("7 out of nine", (0, 9), 7),
        ("Rating (0-9): 6", (0, 9), 6),
        ("On a scale from 0 to 9, I rate it 3.", (0, 9), 3),
        ("0-9", (0, 9), None),
        ("10", (0, 9), None),
        ("Rating: 10", (0, 9), None),
        ("7/10", (0, 9), None),
        ("I give it a 7/10.", (0, 9), None),
        ("7 out of 10", (0, 9), None),
        ("9.5", (0, 9), None),
        ("-1", (0, 9), None),
        ("4/5", (1, 5), 4),
        ("4 out of five.", (1, 5), 4),
        ("6", (1, 5), None),
        ("0", (1, 5), None),
        ("4/10", (1, 5), None),
        ("87", (0, 100), 87),
        ("Score: 100/100", (0, 100), 100),
        ("87%", (0, 100), None),
        ("101", (0, 100), None),
        ("8/10", (0, 100), None),
    ],
)
def test_realistic_answers_on_other_scales(text: str, scale: Scale, rating: int | None) -> None:
    assert parse_rating(text, scale) == rating


SCALES = st.sampled_from([(0, 9), (1, 10), (1, 5), (0, 10), (1, 7), (0, 100)]) | st.tuples(
    st.integers(0, 20), st.integers(1, 80)
).map(lambda both: (both[0], both[0] + both[1]))


@given(st.text(), SCALES, st.data())
def test_any_text_can_be_read(text: str, scale: Scale, data: st.DataObject) -> None:
    low, high = scale
    rating = data.draw(st.integers(low, high))
    assert parse_rating(text, scale) in (None, *range(low, high + 1))
    for said in (f"{rating}", f"Rating: {rating}", f"**{rating}**.", f"{rating}/{high}", f"{rating} out of {high}"):
        assert parse_rating(said, scale) == rating, said
    assert parse_rating(f"On a scale from {low} to {high}, I rate it {rating}.", scale) == rating


@given(SCALES, st.integers(0, 200), st.integers(0, 200))
def test_what_is_of_another_scale_is_no_rating(scale: Scale, number: int, best: int) -> None:
    low, high = scale
    assume(best != high)
    for said in (f"{number}/{best}", f"Rating: {number}/{best}", f"I rate it {number} out of {best}."):
        assert parse_rating(said, scale) is None, said
    if not low <= number <= high:
        for said in (f"{number}", f"Rating: {number}", f"I give it a {number}.", f"{number}/{high}"):
            assert parse_rating(said, scale) is None, said
    assert parse_rating(f"{low}-{high}", scale) is None


# Probabilities --------------------------------------------------------------------------------------------------------


def test_what_is_said_of_10_is_not_said_of_1() -> None:
    """Digit by digit: "1" is written with 0.7, and 5/7 of these go on with "0"."""
    logps = [math.log(0.7), math.log(0.3), math.log(0.5)]
    alone = exclusive(logps, [[4], [5], [4, 9]])
    assert [math.exp(logp) for logp in alone] == pytest.approx([0.2, 0.3, 0.5])
    assert exclusive(logps, [[4], [5], [6]]) == logps  # "10" is a token of its own
    assert exclusive([-1.0, -1.0 + 1e-7], [[4], [4, 9]])[0] == -math.inf  # all of it, but for a rounding


# A model of one's own -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet_loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with quiet():
        yield


def rated(
    judge: RatingMethod, folder: Path, prompts: Sequence[Any] = PROMPTS, responses: Sequence[str] = RESPONSES
) -> Ratings:
    with Store(folder) as store:
        return rate_here(list(map(Response, prompts, responses)), judge, store)


def local(folder: Path, template: RatingTemplate = COMPACT, **settings: Any) -> RatingMethod:
    return RatingMethod(Question(LocalModel(str(folder), **settings), template))


def model_of(judge: RatingMethod) -> LocalModel:
    model = judge.question.model
    assert isinstance(model, LocalModel)
    return model


def key(judge: Any, item: Any) -> str:
    """The address of the first call about an item."""
    (call, *_) = next(judge.ask(item))
    return str(call.key)


@pytest.fixture(scope="module")
def ten_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to whose tokenizer "10" is one token."""
    tokenizer, model = byte_tokenizer(chat=True, merges=[("1", "0")]), tiny_llama(seed=2)
    with quiet():
        model.resize_token_embeddings(260, mean_resizing=False)
    return save_model(tmp_path_factory.mktemp("models") / "ten", model, tokenizer)


def slow_rating(folder: Path, template: RatingTemplate, prompt: str, response: str) -> tuple[float, float]:
    """E and the labels' mass, one token after the other from whole rows; of 1-10, P(1) is that of "1" and then anything
    but "0".

    Without a chat template the space before the number cancels in E but belongs to the mass.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    messages = template.messages(prompt, response)
    chat = bool(tokenizer.chat_template)
    text = (
        tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        if chat
        else messages[0]["content"]
    )
    question = tokenizer(text, add_special_tokens=False)["input_ids"]

    def following(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=torch.tensor([question + ids])).logits[0, -1].double().softmax(-1)

    def token(text: str) -> int:
        (only,) = tokenizer(text, add_special_tokens=False)["input_ids"]
        return int(only)

    start = [] if chat else [token(" ")]
    scale = 1.0 if chat else float(following([])[token(" ")])
    p = following(start)
    weights = {number: float(p[token(str(number))]) for number in range(10)}
    if template.scale == TEN:
        del weights[0]
        if len(tokenizer("10", add_special_tokens=False)["input_ids"]) == 1:
            weights[10] = float(p[token("10")])
        else:
            goes_on = float(following([*start, token("1")])[token("0")])
            weights[1], weights[10] = weights[1] * (1.0 - goes_on), weights[1] * goes_on
    mass = sum(weights.values())
    return sum(number * weight for number, weight in weights.items()) / mass, mass * scale


@pytest.mark.parametrize("scale", [(0, 9), TEN])
@pytest.mark.parametrize("kind", ["chat_model", "plain_model", "ten_model"])
def test_the_expected_rating_is_the_models(
    kind: str, scale: Scale, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder, template = request.getfixturevalue(kind), rating_template("compact", scale)
    done = rated(local(folder, template, tokens=700), tmp_path)
    for prompt, response, rating in zip(PROMPTS[:4], RESPONSES, done.ratings, strict=False):
        expected, mass = slow_rating(folder, template, prompt, response)
        assert rating.rating == pytest.approx(expected, abs=5e-6)
        assert rating.mass == pytest.approx(mass, abs=2e-6)
        assert (rating.method, rating.reason) == ("logprobs", None)
    assert len({rating.rating for rating in done.ratings}) > 6
    assert done.mass == pytest.approx(sum(rating.mass or 0.0 for rating in done.ratings) / 9)
    one = rated(local(folder, template, tokens=1), tmp_path / "one")
    for alone, together in zip(one.ratings, done.ratings, strict=True):
        assert alone.rating == pytest.approx(together.rating, abs=1e-5)


def test_from_0_to_9_each_number_is_one_token_and_a_response_one_row(chat_model: Path, tmp_path: Path) -> None:
    """That is what the scale is for: from 1 to 10, a tokenizer of digits takes two rows a response."""
    rows: dict[Scale, int] = {}
    for scale in ((0, 9), TEN):
        judge = local(chat_model, rating_template("compact", scale))
        model = model_of(judge)
        ids = model.choice_ids(model.render([{"role": "user", "content": "?"}]), judge.template.labels)
        assert [len(choice) for choice in ids] == [len(label) for label in judge.template.labels]
        assert len(set(map(tuple, ids))) == 10
        seen: list[int] = []
        model.model.register_forward_pre_hook(lambda m, a, k, s=seen: s.append(len(k["input_ids"])), with_kwargs=True)
        rated(judge, tmp_path)
        rows[scale] = sum(seen)
    assert rows == {(0, 9): 9, TEN: 18}


def test_a_judge_certain_of_ten(chat_model: Path, tmp_path: Path) -> None:
    """It can write "1" and then "0" alone: 10, where reading "1" whole would give 5.5."""
    judge = local(chat_model)
    tokenizer, inner = model_of(judge).tokenizer, model_of(judge).model
    one, zero = (tokenizer(digit, add_special_tokens=False)["input_ids"][0] for digit in "10")

    class Certain:
        device, config = inner.device, inner.config

        def __call__(self, input_ids: torch.Tensor, logits_to_keep: int, **kwargs: Any) -> Any:
            output = inner(input_ids=input_ids, logits_to_keep=logits_to_keep, **kwargs)
            before = input_ids[:, -logits_to_keep:]
            output.logits[:] = -100.0
            output.logits[..., one] = 0.0
            output.logits[before == one] = torch.full((output.logits.shape[-1],), -100.0).index_fill(
                0, torch.tensor([zero]), 0.0
            )
            return output

    model_of(judge).__dict__["model"] = Certain()
    done = rated(judge, tmp_path)
    assert {rating.rating for rating in done.ratings} == {10.0}
    assert done.mass == pytest.approx(1.0)


def test_numbers_that_a_tokenizer_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    special = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<unk>"}
    tokenizer = word_tokenizer(False, ["<unk>", "</s>", "1", "2"], **special)
    judge = local(save_model(tmp_path / "m", tiny_llama(), tokenizer))
    with pytest.raises(ValueError, match=r"the labels '3' and '4' become the tokens \[0\] and \[0\]"):
        judge.check()


def test_what_fails_is_a_reason_and_is_asked_again(chat_model: Path, tmp_path: Path) -> None:
    long = local(chat_model)
    done = rated(long, tmp_path, ["word " * 600, "p"], ["r", "r"])
    assert (done.ratings[0].rating, done.ratings[1].reason) == (None, None)
    assert "but the judge reads 2047 at most" in (done.ratings[0].reason or "")
    assert rated(long, tmp_path, ["word " * 600], ["r"]).asked == 0  # nothing would change

    def fail(**kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    broken, model = local(chat_model), model_of(long).model
    fail.device, fail.config = model.device, model.config  # type: ignore[attr-defined]
    model_of(broken).__dict__["model"] = fail
    assert rated(broken, tmp_path, ["q"], ["r"]).ratings[0].reason == "the model failed on it: out of memory"
    again = rated(local(chat_model), tmp_path, ["q"], ["r"])
    assert again.asked == 1
    assert again.ratings[0].rating is not None
    for parameter in model.parameters():
        parameter.data.fill_(math.nan)
    assert (rated(long, tmp_path, ["z"], ["r"]).ratings[0].reason or "").startswith("the labels' log-probabilities are")


@pytest.mark.parametrize("left", [1, 4])
def test_a_run_cut_in_a_batch_gets_the_same_ratings(left: int, chat_model: Path, tmp_path: Path) -> None:
    """What is missing is computed among the same neighbours: the same padding, the same bits."""
    calls: list[int] = []

    def judge() -> RatingMethod:
        judge = local(chat_model)
        model = model_of(judge)
        read = model._choice_logps
        model._choice_logps = lambda part, choices: (calls.append(len(part)), read(part, choices))[1]  # type: ignore
        return judge

    whole = rated(judge(), tmp_path / "whole")
    rated(judge(), tmp_path / "cut")
    (file,) = (tmp_path / "cut" / "replies").iterdir()
    file.write_text("".join(file.read_text().splitlines(keepends=True)[: 1 + left]))  # the batch's keys, and its rows
    done = rated(judge(), tmp_path / "cut")
    assert [r.rating for r in done.ratings] == [r.rating for r in whole.ratings]
    assert (done.asked, done.reused) == (9 - left, left)
    assert calls == [9, 9, 9]
    assert rated(judge(), tmp_path / "cut").asked == 0
    assert calls == [9, 9, 9]


# An endpoint ----------------------------------------------------------------------------------------------------------


def api(server: Server, template: str = "compact", **settings: Any) -> RatingMethod:
    return load_rater(JudgeConfig(judge="api", judge_model="m", base_url=server.url, template=template, **settings))


def test_an_endpoints_ratings_are_read_stored_and_not_paid_for_twice(server: Server, tmp_path: Path) -> None:
    place = {"6": math.log(0.5), "8": math.log(0.5), **dict.fromkeys(("2", "3", "4", "5", "9"), math.log(1e-6))}
    server.answer = lambda body, number: completion("8", logprobs=[("8", place)])
    done = rated(api(server), tmp_path)
    assert [r.rating for r in done.ratings] == pytest.approx([7.0] * 9, abs=1e-4)
    assert (done.asked, done.reused, len(server.bodies)) == (9, 0, 9)
    assert (done.ratings[0].method, done.ratings[0].text) == ("logprobs", "8")
    assert json.loads(server.questions()[0])[0]["content"].endswith("Rating from 0 to 9:")
    again = rated(api(server), tmp_path)
    assert again.ratings == done.ratings
    assert (again.asked, again.reused, len(server.bodies)) == (0, 9, 9)
    # Equal responses are one question; another template is another one.
    assert rated(api(server), tmp_path / "twice", ["p", "p"], ["r", "r"]).asked == 1
    assert key(api(server, "harmless"), Response("p", "r")) != key(api(server), Response("p", "r"))


def test_an_endpoint_without_probabilities_is_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlaif.models.endpoint.random", SimpleNamespace(uniform=lambda low, high: 0.01 * high))

    def answer(body: dict[str, Any], number: int) -> Any:
        asked = body["messages"][0]["content"]
        if "Question 3" in asked:
            return 400, "this question has too many tokens for the context length", {}
        return "I would rather not say." if "Question 5" in asked else "Rating: 4"

    server.answer = answer
    done = rated(api(server, logprobs="never"), tmp_path)
    assert [r.rating for r in done.ratings] == [4.0, 4.0, 4.0, None, 4.0, None, 4.0, 4.0, 4.0]
    assert {r.method for r in done.ratings if r.rating} == {"text"}
    assert (done.ratings[3].reason or "").startswith("refused with status 400")
    assert done.ratings[5].reason == "no verdict in the answer 'I would rather not say.'."
    assert done.ratings[5].text == "I would rather not say."
    assert sum("Question 5" in q for q in server.questions()) == 4  # asked three times more


# A function, and what all have in common ------------------------------------------------------------------------------


def of_length(prompt: Any, response: str) -> Any:
    return {"": math.nan, "x": 11.0, "raise": 1 / (len(response) - 5)}.get(response, min(len(response), 9))


def test_a_function_rates(tmp_path: Path) -> None:
    responses = ["ok", "a long response", "", "x", "raise"]
    for scale, named in ((None, "0 to 9"), ("1-10", "1 to 10")):
        settings = {"model": f"{__name__}:of_length", "scale": scale}
        done = rated(load_rater(settings), tmp_path, ["p"] * 5, responses)
        assert [r.rating for r in done.ratings] == [2.0, 9.0, None, None, None]
        assert [r.reason for r in done.ratings[2:]] == [
            f"the function returned nan, not a rating from {named}",
            f"the function returned 11.0, not a rating from {named}",
            "ZeroDivisionError: division by zero",
        ]
    assert done.asked == 0  # what a function returns does not depend on the scale: it is read again
    wide = rated(load_rater({"model": f"{__name__}:of_length", "scale": "0-100"}), tmp_path, ["p"], ["x"])
    assert (wide.asked, wide.ratings[0].rating) == (0, 11.0)


def test_a_ratings_address_is_everything_it_depends_on(server: Server) -> None:
    judge = api(server)
    ten = load_rater({"model": {"name": "m", "base_url": server.url}, "template": "compact", "scale": "1-10"})
    pairs = load_judge(JudgeConfig(judge="api", judge_model="m", base_url=server.url, template="compact"))
    (again,) = next(judge.question.ask(judge.template.messages("p", "r"), ("p", "r"), sample=1))
    keys = [
        key(judge, Response("p", "r")),
        key(judge, Response("p", "s")),
        key(judge, Response("q", "r")),
        again.key,
        key(ten, Response("p", "r")),
        key(api(server, "helpful"), Response("p", "r")),
        key(pairs, Pair("p", "r", "s")),
    ]
    assert len(set(keys)) == 7
    assert key(judge, Response([{"role": "user", "content": "p"}], "r")) == keys[0]
    assert len({judge.hash, ten.hash, api(server, "helpful").hash, pairs.hash}) == 4
    function, other = (load_rater({"model": f"{__name__}:{name}"}) for name in ("of_length", "rated"))
    assert key(function, Response("p", "r")) != key(other, Response("p", "r"))
    assert key(function, Response("p", "r")) != key(load_judge({"model": f"{__name__}:of_length"}), Pair("p", "r", "s"))


def test_replies_keep_the_addresses_that_they_have() -> None:
    """Stored replies are found again by later versions: a change here is a change that pays for everything twice."""
    assert {name: template.hash for name, template in TEMPLATES.items()} == {
        "helpful": "e037bce4553e9a1d",
        "harmless": "ebc6f0abd83d2ca3",
        "reasoned": "7dff4a3f6ce9ca08",
        "compact": "ea94c28460b2bc0b",
    }
    messages = TEMPLATES["compact"].messages(Pair("p", "a", "b"), "ba")
    assert Call("m", tuple(messages), ("1", "2"), max_tokens=16).key == VOTE_KEY
    assert Call("m", tuple(NINE.messages("p", "r")), NINE.labels).key == RATING_KEY


VOTE_KEY = "44f8ae615dd25defd135c68ddae8f038"
RATING_KEY = "1ff0c9ef8b7f8125ca3d4eff15e82f8f"


def test_a_rating_is_a_number_or_a_reason() -> None:
    assert Rating("k", "id", "judge", "template", 0, 7.5, method="text", text="x").rating == 7.5
    assert Rating("k", "id", "judge", "template", 0, None, "why").rating is None
    for value, reason in ((math.inf, None), (math.nan, None), (None, None), (5.0, "why")):
        with pytest.raises(ValueError, match=r"rating is .*expected a finite number|either a number or a reason"):
            Rating("k", "id", "judge", "template", 0, value, reason)


def test_templates_of_your_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("user: 'Q {prompt} A {response} {first}'\nsystem: Be strict.\n")
    template = load_rating_template(str(path))
    assert template.messages("{response}?", "{prompt}") == [
        {"role": "system", "content": "Be strict."},
        {"role": "user", "content": "Q {response}? A {prompt} {first}"},
    ]
    built_in = [rating_template(name, scale) for name in ("helpful", "harmless", "compact") for scale in ((0, 9), TEN)]
    assert len({t.hash for t in (template, *built_in)}) == 7
    for text, message in (
        ("user: '{prompt} {first}'", r"expected \{prompt\} and \{response\}, each once"),
        ("user: '{prompt} {response}'\nlabels: [1, 2]", "must hold `user` and may hold `system` and `scale`; got"),
        ("user: 5", "must hold `user`"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_rating_template(str(path))
    with pytest.raises(ValueError, match="neither built in"):
        load_rater(JudgeConfig(judge_model="m", template="helpfull"))


@pytest.mark.parametrize(
    ("text", "scale", "rates"),
    [
        ("'{prompt} {response} Rate it.'", None, (0, 9)),
        ("'{prompt} {response} Rate it from 1 to 5.'\nscale: 1-5", None, (1, 5)),
        ("'{prompt} {response} From 1 to 10.'\nscale: 1-10", None, TEN),
        ("'{prompt} {response} From 1 to 10.'", "1-10", TEN),
        ("'{prompt} {response} From 1 to 10.'\nscale: 1-10", " 1 - 10 ", TEN),
        ("'{prompt} {response} In 2010, 100 people did, and 1.'", None, (0, 9)),
    ],
)
def test_the_scale_of_a_template_of_your_own(text: str, scale: str | None, rates: Scale, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"user: {text}\n")
    judge = load_rater({"model": {"name": "m", "base_url": "http://x/v1"}, "template": str(path), "scale": scale})
    assert judge.template.scale == rates
    assert judge.template.labels == tuple(map(str, range(rates[0], rates[1] + 1)))


@pytest.mark.parametrize(
    ("text", "scale", "message"),
    [
        (
            "'{prompt} {response} From 1 to 10:'",
            None,
            r"mine.yaml says .*10, but without a `scale` a rating is from 0 to 9",
        ),
        ("'{prompt} {response}'\nsystem: Rate 1-10.", None, r"expected `scale: 1-10` in it, or another text"),
        ("'{prompt} {response}'\nscale: 1-10", "0-9", r"scale is 0-9, but template .*mine.yaml rates from 1 to 10"),
        (
            "'{prompt} {response}'\nscale: 10-1",
            None,
            r"template .*mine.yaml has scale '10-1'; expected the worst and the",
        ),
        ("'{prompt} {response}'\nscale: 10", None, r"has scale 10; expected the worst and the best number, as in 0-9"),
        ("'{prompt} {response}'\nscale: 0-500", None, r"has the scale 0-500; expected one within 0-100"),
    ],
)
def test_a_scale_that_does_not_fit_is_one_line(text: str, scale: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"user: {text}\n")
    with pytest.raises(ValueError, match=message) as error:
        load_rater({"model": {"name": "m", "base_url": "http://x/v1"}, "template": str(path), "scale": scale})
    assert "\n" not in str(error.value)
