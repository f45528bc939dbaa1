"""Toy methods and toy models for the engine of `rlaif.judging.ask`, and a program that runs them, killed or whole.

What a toy model says is a hash of the call's whole address, so that a reply in the wrong place shows in the values.

    python -m support.toys SPECS.json OUT.json    each spec in a process of its own; then, where it is to be swept,
                                                  again and again, killed at another place each time (see `swept`)

Under `accelerate launch` the specs are run one after the other by the launched processes themselves.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlaif.files.store import Store
from rlaif.judging.ask import answers
from rlaif.judging.method import Ask, Counts, Method, gather
from rlaif.judging.pairwise import Comparison, combine_votes
from rlaif.judging.question import method_hash
from rlaif.metrics import log_odds, sigmoid
from rlaif.models.base import Call, DeferredModel, Model, Reply, RoundModel, StreamModel
from rlaif.models.parallel import process_count, process_index
from rlaif.records import ORDERS, Judgment, Order, Pair, Rating, Response, Vote, content_hash, uniform_hash

# Methods --------------------------------------------------------------------------------------------------------------


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def shown(pair: Pair, order: Order) -> dict[str, str]:
    first, second = (pair.response_a, pair.response_b) if order == "ab" else (pair.response_b, pair.response_a)
    return user(json.dumps([pair.prompt, first, second]))


def p_first(reply: Reply) -> tuple[float | None, str | None]:
    """P(the first choice), or the reason why there is none."""
    if reply.logps is None:
        return None, reply.reason or "no reply"
    p = [math.exp(logp) for logp in reply.logps if logp is not None]
    return p[0] / sum(p), None


@dataclass(frozen=True)
class ToyMethod:
    """What all of them share: the hash follows from the fields."""

    name = "toy"

    @cached_property
    def hash(self) -> str:
        return method_hash(type(self).__name__, repr(sorted(self.models)))

    @cached_property
    def models(self) -> Mapping[str, Model]:
        found: dict[str, Model] = {}
        for value in vars(self).values():
            for one in value if isinstance(value, tuple) else (value,):
                found |= {one.digest: one} if isinstance(one, Model) else getattr(one, "models", {})
        return found


@dataclass(frozen=True)
class Direct(ToyMethod):
    """One question a vote; each order `samples` times."""

    model: Model
    samples: int = 1
    combine: str = "mean"

    def ask(self, item: Pair) -> Ask[Comparison]:
        votes = yield from gather([self.vote(item, order, k) for order in ORDERS for k in range(self.samples)])
        return Comparison(combine_votes(item, votes, combine=self.combine), tuple(votes))

    def vote(self, pair: Pair, order: Order, sample: int) -> Ask[Vote]:
        (reply,) = yield [self.verdict(shown(pair, order), sample=sample)]
        return self.voted(pair, order, sample, reply)

    def verdict(self, *messages: dict[str, str], sample: int = 0) -> Call:
        return Call(self.model.digest, messages, choices=("1", "2"), sample=sample)

    def voted(self, pair: Pair, order: Order, sample: int, reply: Reply, text: str | None = None) -> Vote:
        p, reason = self.read(reply)
        return Vote(reply.key, pair.id, self.model.name, "toy", order, sample, p, reason, text=text)

    def read(self, reply: Reply) -> tuple[float | None, str | None]:
        return p_first(reply)


@dataclass(frozen=True)
class TwoRounds(Direct):
    """A reason is written; a new turn that holds it asks for the verdict."""

    def vote(self, pair: Pair, order: Order, sample: int) -> Ask[Vote]:
        question = shown(pair, order)
        (reason,) = yield [Call(self.model.digest, (question,), max_tokens=32, sample=sample)]
        answer = {"role": "assistant", "content": str(reason.text)}
        (reply,) = yield [self.verdict(question, answer, user("Which?"), sample=sample)]
        return self.voted(pair, order, sample, reply, reason.text)


@dataclass(frozen=True)
class Reference(Direct):
    """An answer of the model's own, which all pairs of a prompt share; the verdicts' calls hold it."""

    def ask(self, item: Pair) -> Ask[Comparison]:
        (own,) = yield [Call(self.model.digest, (user(str(item.prompt)),), max_tokens=32)]
        calls = [self.verdict(user(str(own.text)), shown(item, order)) for order in ORDERS]
        replies = yield calls
        votes = [self.voted(item, order, 0, reply) for order, reply in zip(ORDERS, replies, strict=True)]
        return Comparison(combine_votes(item, votes, combine=self.combine), tuple(votes))


@dataclass(frozen=True)
class Panel(ToyMethod):
    """Several methods side by side: z is the sigmoid of the mean of their log-odds."""

    members: tuple[Any, ...]

    def ask(self, item: Pair) -> Ask[Comparison]:
        comparisons = yield from gather([member.ask(item) for member in self.members])
        votes = tuple(vote for comparison in comparisons for vote in comparison.votes)
        zs = [comparison.judgment.z for comparison in comparisons]
        z = None if None in zs else float(sigmoid(float(log_odds(zs).mean())))
        reasons = [comparison.judgment.reason for comparison in comparisons if comparison.judgment.reason]
        return Comparison(Judgment(item, z, next(iter(reasons), None), votes=len(votes)), votes)


@dataclass(frozen=True)
class Cascade(ToyMethod):
    """A cheap method; a better one where z is near 0.5 or the orders disagree."""

    steps: tuple[Any, ...]
    near: float = 0.2

    def ask(self, item: Pair) -> Ask[Comparison]:
        for step in self.steps:
            comparison = yield from step.ask(item)
            if self.sure(comparison.judgment):
                break
        return comparison

    def sure(self, judgment: Judgment) -> bool:
        if judgment.z is None or judgment.z_ab is None or judgment.z_ba is None:
            return False
        # The same of a pair and its swap: |0.3 - 0.5| and |0.7 - 0.5| differ in binary, and an order may be at 0.5.
        margin = round(abs(judgment.z - 0.5), 9)
        return margin >= self.near and (judgment.z_ab - 0.5) * (judgment.z_ba - 0.5) > 0.0


@dataclass(frozen=True)
class Group:
    """Responses to one prompt."""

    prompt: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class AllPairs(ToyMethod):
    """Listwise by pairs: the mean z of each response against the others."""

    member: Any

    def ask(self, item: Group) -> Ask[list[float]]:
        n = len(item.texts)
        both = [(i, j) for i in range(n) for j in range(i + 1, n)]
        pairs = [Pair(item.prompt, item.texts[i], item.texts[j]) for i, j in both]
        comparisons = yield from gather([self.member.ask(pair) for pair in pairs])
        wins = [0.0] * n
        for (i, j), comparison in zip(both, comparisons, strict=True):
            wins[i] += comparison.judgment.z
            wins[j] += 1.0 - comparison.judgment.z
        return [win / (n - 1) for win in wins]


@dataclass(frozen=True)
class Ranking(ToyMethod):
    """Listwise in one call: P(the best) of each response."""

    model: Model

    def ask(self, item: Group) -> Ask[list[float]]:
        question = user(json.dumps([item.prompt, *item.texts]))
        (reply,) = yield [Call(self.model.digest, (question,), choices=tuple(map(str, range(len(item.texts)))))]
        return [math.exp(logp) for logp in reply.logps or ()]


@dataclass(frozen=True)
class Rated(ToyMethod):
    """The expected number of a scale of 1 to 5."""

    model: Model

    def ask(self, item: Response) -> Ask[Rating]:
        question = user(json.dumps([item.prompt, item.text]))
        (reply,) = yield [Call(self.model.digest, (question,), choices=tuple("12345"))]
        value = sum(number * math.exp(logp) for number, logp in enumerate(reply.logps or (), start=1))
        return Rating(reply.key, item.id, self.model.name, "toy", 0, value)


@dataclass(frozen=True)
class ByRating(ToyMethod):
    """A pair by the ratings of its two responses: pairs that share a response share a call."""

    member: Rated

    def ask(self, item: Pair) -> Ask[Comparison]:
        texts = (item.response_a, item.response_b)
        a, b = yield from gather([self.member.ask(Response(item.prompt, text)) for text in texts])
        return Comparison(Judgment(item, float(sigmoid(a.rating - b.rating)), vote_keys=(a.key, b.key)))


# Models ---------------------------------------------------------------------------------------------------------------


def said(key: str, choices: Sequence[str]) -> Reply:
    """What every toy model says to a call: a function of its address."""
    if not choices:
        return Reply(key, text=f"because {content_hash(key)[:12]}")
    weights = [0.02 + uniform_hash(key, choice) for choice in choices]
    return Reply(key, logps=tuple(math.log(weight / sum(weights)) for weight in weights))


class Toy(Model):
    """The part that all toy models share.

    Attributes:
        log: a file that gets a line for each batch or call when it is begun: the process, the name, the keys.
    """

    can = frozenset({"score", "write", "samples"})

    def __init__(self, name: str, log: Path | None = None) -> None:
        self.name = name
        self.log = log

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"kind": type(self).__name__, "name": self.name}

    def note(self, calls: Iterable[Call]) -> None:
        if self.log is not None:
            line = " ".join([str(process_index()), self.name, *(call.key for call in calls)])
            with self.log.open("ab", buffering=0) as file:
                file.write(line.encode() + b"\n")


class Local(Toy, RoundModel):
    """Batches of up to `size` calls, in the order of their keys. With `mixes` a reply depends on its batch as well."""

    def __init__(self, name: str, log: Path | None = None, size: int = 3, mixes: bool = False) -> None:
        super().__init__(name, log)
        self.size = size
        self.mixes = mixes

    def plan(self, calls: Sequence[Call]) -> list[list[Call]]:
        ordered = sorted(calls, key=lambda call: call.key)
        return [ordered[i : i + self.size] for i in range(0, len(ordered), self.size)]

    def answer(self, batch: Sequence[Call]) -> list[Reply]:
        self.note(batch)
        whole = content_hash(sorted(call.key for call in batch))
        replies = []
        for call in batch:
            reply = said(content_hash(call.key, whole) if self.mixes else call.key, call.choices)
            replies.append(Reply(call.key, reply.text, logps=reply.logps))
        DEATH.at("asked")
        return replies


class Streamed(Toy, StreamModel):
    """Each call takes up to `slow` seconds, by its key."""

    def __init__(self, name: str, log: Path | None = None, concurrency: int = 3, slow: float = 0.003) -> None:
        super().__init__(name, log)
        self.concurrency = concurrency
        self.slow = slow
        self.flying = self.peak = self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def reply(self, call: Call) -> Reply:
        self.note([call])
        self.flying += 1
        self.peak = max(self.peak, self.flying)
        try:
            await self.take(call)
        finally:
            self.flying -= 1
        DEATH.at("asked")
        return said(call.key, call.choices)

    async def take(self, call: Call) -> None:
        await asyncio.sleep(uniform_hash(call.key, "seconds") * self.slow)


class Deferred(Toy, DeferredModel):
    """A ticket is a file beside the log; the third look at it brings the replies."""

    wait = 0.001

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(name, log)
        self.looks: Counter[str] = Counter()

    def submit(self, calls: Sequence[Call], token: str) -> str:
        assert self.log is not None
        path = self.log.with_name(f"submitted-{token}.json")
        if not path.exists():
            self.note(calls)
            path.write_text(json.dumps([(call.key, call.choices) for call in calls]))
        DEATH.at("asked")
        return str(path)

    def poll(self, ticket: str) -> list[Reply] | None:
        DEATH.at("polled")
        self.looks[ticket] += 1
        if self.looks[ticket] <= 2:
            return None
        replies = [said(key, choices) for key, choices in json.loads(Path(ticket).read_text())]
        return sorted(replies, key=lambda reply: content_hash(reply.key))  # in any order


# Death ----------------------------------------------------------------------------------------------------------------


@dataclass
class Death:
    """SIGKILL at the `n`th time of `when`.

    asked:  the model has answered, and nothing of it is stored
    stored: all of it is stored
    torn:   half of its bytes are stored
    noted:  the batches of a round are noted, and none is computed
    polled: before a look at a deferred batch
    """

    n: int = 0
    when: str = "never"

    def due(self, when: str) -> bool:
        self.n -= when == self.when
        return when == self.when and self.n == 0

    def at(self, when: str) -> None:
        if self.due(when):
            self.now()

    def now(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # a killed process's other threads may run on for a moment; this one does not


DEATH = Death()


class MortalStore(Store):
    """A store whose process may die in the middle of a write or right after it."""

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        rows = list(rows)
        self.tear = bool(rows) and DEATH.due("torn")
        super().append(rows)
        if rows:
            DEATH.at("stored")

    def begin(self, batches: Iterable[Sequence[str]]) -> None:
        self.tear = False
        super().begin(batches)
        DEATH.at("noted")

    def _write(self, lines: list[bytes]) -> list[int]:
        if self.tear:
            block = b"".join(lines)
            super()._write([block[: len(block) // 2]])
            DEATH.now()
        return super()._write(lines)


# Runs -----------------------------------------------------------------------------------------------------------------


def some_pairs(count: int) -> list[Pair]:
    return [Pair(f"Question {i // 2}", f"Yes {i}", f"No {i}" + "!" * (i % 3)) for i in range(count)]


def pairs_again(count: int) -> list[Pair]:
    """Each pair again some places later, every other time swapped: the same calls."""
    pairs = some_pairs(count)
    again = [pair if i % 2 else pair.swap() for i, pair in enumerate(pairs)]
    return [*pairs[:3], again[0], *pairs[3:], *again[1:]]


def chain(count: int) -> list[Pair]:
    """Neighbours share a response."""
    return [Pair("Which?", f"Answer {i}", f"Answer {i + 1}") for i in range(count)]


def some_groups(count: int) -> list[Group]:
    return [Group(f"Question {i}", tuple(f"Answer {i}.{k}" for k in range(3))) for i in range(count)]


def some_responses(count: int) -> list[Response]:
    return [Response(f"Question {i}", f"Answer {i}") for i in range(count)]


ITEMS: dict[str, Callable[[int], Sequence[Any]]] = {
    function.__name__: function for function in (some_pairs, pairs_again, chain, some_groups, some_responses)
}
KINDS: dict[str, Callable[[str, Path], Model]] = {
    "local": Local,
    "streamed": Streamed,
    "deferred": Deferred,
    "mixing": lambda name, log: Local(name, log, mixes=True),
}
METHODS: dict[str, Callable[..., Method[Any, Any]]] = {
    "direct": lambda model, *_: Direct(model),
    "samples": lambda model, *_: Direct(model, samples=3),
    "two_rounds": lambda model, *_: TwoRounds(model),
    "reference": lambda model, *_: Reference(model),
    "panel": lambda a, b: Panel((Direct(a), TwoRounds(b), Direct(b))),
    "cascade": lambda a, b: Cascade((Direct(a), TwoRounds(b), Direct(b, samples=2))),
    "all_pairs": lambda a, b: AllPairs(Cascade((Direct(a), Direct(b)))),
    "ranking": lambda model, *_: Ranking(model),
    "rating": lambda model, *_: Rated(model),
    "by_rating": lambda model, *_: ByRating(Rated(model)),
}


@dataclass(frozen=True)
class Spec:
    """One run.

    Attributes:
        folder: of its store, its log and its values.
        method: of METHODS.
        kinds: of KINDS, one for each of its two models.
        items: of ITEMS.
        count: how many of them.
        chunk: as in `answers`.
        deaths: (n, when) of the runs that are killed before the last one, which ends.
        sweep: see `swept`.
    """

    folder: str
    method: str
    kinds: tuple[str, str]
    items: str = "some_pairs"
    count: int = 6
    chunk: int = 4
    deaths: tuple[tuple[int, str], ...] = ()
    sweep: bool = False

    @property
    def log(self) -> Path:
        return Path(self.folder) / "asked"

    def toy(self) -> Method[Any, Any]:
        return METHODS[self.method](*(KINDS[kind](name, self.log) for kind, name in zip(self.kinds, "ab", strict=True)))

    def run(self) -> None:
        """Asks, and writes the values as JSON."""
        counts = Counts()
        with MortalStore(self.folder) as store:
            found = ITEMS[self.items](self.count)
            values = list(answers(self.toy(), lambda: found, store, chunk=self.chunk, counts=counts))
        written = {"values": [plain(value) for value in values], "asked": counts.asked, "reused": counts.reused}
        (Path(self.folder) / f"values-{process_index()}.json").write_text(json.dumps(written))


def plain(value: Any) -> Any:
    """A value as JSON."""
    if isinstance(value, Comparison):
        return [value.judgment.row(), [vote.row() for vote in value.votes]]
    return [value.key, value.rating] if isinstance(value, Rating) else value


def logged(log: Path) -> list[list[str]]:
    """The keys of each batch or call that was begun."""
    return [line.split()[2:] for line in log.read_text().splitlines()] if log.exists() else []


def raw_keys(folder: str | Path) -> list[str]:
    """The key of every whole row in a store's files, repetitions too."""
    lines = [line for path in (Path(folder) / "replies").glob("*.jsonl") for line in path.read_bytes().split(b"\n")]
    return [line[9:41].decode() for line in lines if line.startswith(b'{"key"') and line.endswith(b"}")]


def killed_and_run(spec: Spec) -> list[dict[str, Any]]:
    """Runs a spec in forked processes, the killed ones and the last; what each began, and what was stored before it."""
    import tqdm.auto  # noqa: F401 (here, once, and not in each child)

    global DEATH
    runs = []
    for n, when in (*spec.deaths, (0, "never")):
        Path(spec.folder).mkdir(parents=True, exist_ok=True)
        before, began = raw_keys(spec.folder), len(logged(spec.log))
        child = os.fork()
        if child == 0:
            DEATH = Death(n, when)
            try:
                spec.run()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or status == 0, f"{spec}: {status}"
        runs.append({"killed": killed, "stored": before, "asked": logged(spec.log)[began:]})
    return runs


def swept(spec: Spec) -> list[dict[str, Any]]:
    """Runs a spec whole, then in other folders killed at its beginning, its middle and its end, each time twice: at
    the same place of the first run and of the one that goes on. What became of each: its `deaths`, folder and runs."""
    found = [{"deaths": [], "folder": spec.folder, "runs": killed_and_run(spec)}]
    if spec.sweep:
        times = len(logged(spec.log))
        deaths = [(n, when) for when in ("asked", "stored", "torn") for n in {1, (times + 1) // 2, times}]
        deaths += [(n, "noted") for n in (1, 3) if not {"local", "mixing"}.isdisjoint(spec.kinds)]
        deaths += [(n, "polled") for n in (1, 4) if "deferred" in spec.kinds]
        for n, when in deaths:
            folder = f"{spec.folder}-{when}-{n}"
            runs = killed_and_run(dataclasses.replace(spec, folder=folder, deaths=((n, when), (n, when))))
            found.append({"deaths": [n, when], "folder": folder, "runs": runs})
    return found


def main(specs: Path, out: Path) -> None:
    os.fsync = lambda fd: None  # a kill loses nothing that was written; only a power cut would
    found = [Spec(**{**row, "kinds": tuple(row["kinds"])}) for row in json.loads(specs.read_text())]
    if process_count() > 1:
        for spec in found:
            Path(spec.folder).mkdir(parents=True, exist_ok=True)
            spec.run()
    else:
        out.write_text(json.dumps([swept(spec) for spec in found]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
