"""How methods ask: they yield calls and are sent the replies, which the driver here gets from a store or a model.

    Ask        a generator of lists of calls that is sent the list of their replies and returns a value
    gather     several asks side by side, one list of calls a round
    Method     makes an ask of an item (a pair, a response, a prompt, a group of responses)
    answers    the values of a method for many items, in their order

Resume is replay: a generator is thrown away with the process, made again by the next one, and sent what is stored.

Two ways to drive, by the models that a method asks:

    stream     every model is a StreamModel (an endpoint): a new item is admitted whenever fewer calls than the limit
               are in flight, and each moves on when its own replies are there. No round holds others up.
    sweep      local, deferred and mixed models: the items of a chunk take their rounds together, so that a round's
               calls can share batches. A chunk is a number of items, cut by their place in the source.

Under `accelerate launch` chunk k is asked by process k mod n; then every process reads all replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rlaif.config import warn
from rlaif.files.index import Index
from rlaif.files.sources import write_json
from rlaif.files.store import Store
from rlaif.models.base import UNASKED, Call, DeferredModel, Model, Reply, RoundModel, StreamModel
from rlaif.models.parallel import is_main, process_count, process_index, wait_for_everyone
from rlaif.records import content_hash

__all__ = ["Ask", "Counts", "Method", "answers", "ask_here", "chunk_size", "gather"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
X = TypeVar("X")
X_contra = TypeVar("X_contra", contravariant=True)

Ask = Generator[list[Call], list[Reply], T]

_CHUNK = 256  # items of a chunk at most: enough to fill a device's batches, few enough to share out
_SHARES = 32  # chunks that a smaller set is cut into at least, so that as many processes have work


def chunk_size(total: int | None) -> int:
    """How many items take their rounds together, of `total`: the same for any number of processes."""
    return _CHUNK if total is None else max(4, min(_CHUNK, -(-total // _SHARES)))


class Method(Protocol[X_contra, T_co]):
    """A way of asking about an item.

    Attributes:
        name: what people call it.
        hash: 16 hex digits of the method, its prompts and its models. It goes into what is written, never into a call's
            address: a call that two methods make alike is one call.
        models: every model that it may ask, by digest.
    """

    @property
    def name(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def models(self) -> Mapping[str, Model]: ...

    def ask(self, item: X_contra) -> Ask[T_co]:
        """Yields lists of calls, is sent the list of their replies, returns the value."""
        ...


def gather(asks: Sequence[Ask[T]]) -> Ask[list[T]]:
    """Several asks side by side: each round yields the calls of all that are not done; their values, in order."""
    values: dict[int, T] = {}
    waiting: dict[int, list[Call]] = {}

    def advance(index: int, replies: list[Reply] | None) -> None:
        try:
            waiting[index] = next(asks[index]) if replies is None else asks[index].send(replies)
        except StopIteration as stop:
            waiting.pop(index, None)
            values[index] = stop.value

    for index in range(len(asks)):
        advance(index, None)
    while waiting:
        turn = list(waiting.items())
        replies = yield [call for _, calls in turn for call in calls]
        at = 0
        for index, calls in turn:
            advance(index, replies[at : at + len(calls)])
            at += len(calls)
    return [values[index] for index in range(len(asks))]


@dataclass
class Counts:
    """What asking took: `asked` calls were put to a model now, by all processes; `reused` replies were there before."""

    asked: int = 0
    reused: int = 0


def answers(
    method: Method[X, T],
    items: Callable[[], Iterable[X]],
    store: Store,
    *,
    total: int | None = None,
    label: str = "asking",
    ask: bool = True,
    chunk: int | None = None,
    counts: Counts | None = None,
    everyone: bool = True,
) -> Iterator[T]:
    """The values of `method` for `items`, in their order and in every process alike, every reply stored as it comes.

    Args:
        method: it.
        items: gives them anew each time it is called, always the same.
        store: of replies. Calls that it answers are not asked.
        total: how many items there are, for the progress bar.
        label: the bar's title.
        ask: False asks nothing: a call that is not stored gets an `UNASKED` reply.
        chunk: items that take their rounds together; by default `chunk_size(total)`.
        counts: is filled as the values come.
        everyone: False gives the values to the main process alone.

    Raises:
        ValueError: from the first item on that some model can give nothing at all. What was answered is stored.
    """
    counts = counts if counts is not None else Counts()
    chunk = chunk or chunk_size(total)
    if store.torn:
        warn(
            f"{len(store.torn)} line(s) in the store are cut off or unreadable (first: {store.torn[0]}), as a killed "
            "run leaves them; they stay as they are, and what they answered is asked again."
        )
    store.mark()
    added = store.added
    driver = _Driver(method, store, ask, counts)
    if process_count() == 1 or not ask:
        yield from _shown(driver, _batched(items(), chunk), total, label)
    else:
        owners = Index()
        for late in (False, True):
            wait_for_everyone()  # nobody writes before everybody has read
            store.refresh()
            share = _share(method, items(), chunk, owners, late)
            own = None if total is None or late else total // process_count()
            for _ in _shown(driver, share, own, label):
                pass
        owners.close()
        wait_for_everyone()
        store.refresh()
        counts.reused = 0
        if everyone or is_main():
            yield from _Driver(method, store, False, counts).run(_batched(items(), chunk))
    counts.asked = store.added - added


def ask_here(method: Method[X, T], items: Sequence[X], store: Store, counts: Counts | None = None) -> list[T]:
    """The values of `method` for a few items, asked by this process alone, without a bar: no process waits for another.

    What `answers` does where each process has items of its own, as in training.
    """
    counts = counts if counts is not None else Counts()
    added = store.added
    store.mark()
    # One chunk, whatever its size: its batches depend on the call alone, and not on what was asked before.
    values = list(_Driver(method, store, True, counts).run([items]))
    counts.asked += store.added - added
    return values


def _shown(driver: _Driver[X, T], chunks: Iterable[Sequence[X]], total: int | None, label: str) -> Iterator[T]:
    """The values of some chunks, under a progress bar of items that also says how many calls were answered."""
    from tqdm import tqdm  # the plain bar: in a notebook the other one wants packages of its own

    with tqdm(total=total, desc=label, disable=not is_main() or total == 0, mininterval=1.0) as bar:

        def tell() -> None:
            bar.set_postfix_str(f"{driver.store.added} answered", refresh=False)
            bar.update(0)

        driver.on_reply = tell
        for value in driver.run(chunks):
            yield value
            bar.update()


def _share(method: Method[X, Any], items: Iterable[X], chunk: int, owners: Index, late: bool) -> Iterator[list[X]]:
    """This process's chunks of `items`: those items whose first calls no other process asks or, `late`, the rest.

    A call that two processes asked would be paid for twice. So an item that begins with another process's call waits
    until all first replies are stored, and is asked late about what they leave open. Late items that begin with a call
    which nobody has asked by then may share it with one another: those are the main process's, all of them.

    Args:
        owners: which process asks a call. It is filled where not `late`, by all processes alike, and read then.
    """
    mine = process_index()
    for number, part in enumerate(_batched(items, chunk)):
        owner = number % process_count()
        kept = []
        for item in part:
            keys = [bytes.fromhex(call.key) for call in _first_calls(method, item)]
            found = {owners.get(key) for key in keys}
            if late:
                taken = None if found <= {owner} else 0 if None in found else owner
            else:
                taken = owner if found <= {owner, None} else None
                for key in keys if taken is not None else ():
                    owners.put(key, owner)
            if taken == mine:
                kept.append(item)
        if kept:
            yield kept


def _first_calls(method: Method[X, Any], item: X) -> list[Call]:
    ask = method.ask(item)
    try:
        return next(ask)
    except StopIteration:
        return []
    finally:
        ask.close()


class _Running(Generic[T]):
    """An item that is being asked about: its generator, the calls that it waits for, and at last its value."""

    __slots__ = ("ask", "calls", "done", "value")

    def __init__(self, ask: Ask[T]) -> None:
        self.ask = ask
        self.calls: list[Call] = []
        self.done = False
        self.value: Any = None
        self._step(lambda: next(ask))

    def send(self, replies: list[Reply]) -> None:
        self._step(lambda: self.ask.send(replies))

    def _step(self, step: Callable[[], list[Call]]) -> None:
        try:
            self.calls = step()
        except StopIteration as stop:
            self.calls, self.done, self.value = [], True, stop.value


class _Driver(Generic[X, T]):
    """Drives the generators of one method over one store."""

    def __init__(self, method: Method[X, T], store: Store, ask: bool, counts: Counts) -> None:
        self.method = method
        self.store = store
        self.asks = ask
        self.counts = counts
        self.on_reply: Callable[[], Any] = lambda: None

    def run(self, chunks: Iterable[Sequence[X]]) -> Iterator[T]:
        models = list(self.method.models.values())
        if models and all(isinstance(model, StreamModel) for model in models):
            yield from self._stream(itertools.chain.from_iterable(chunks))
            return
        for part in chunks:
            yield from self._sweep(part)

    def _stored(self, call: Call) -> Reply | None:
        """The reply to a call where none has to be asked for."""
        found = self.store.find(call.key)
        if found is not None:
            reply = Reply.from_row(found[0])
            if reply.answered or not self.asks or call.stored_only:
                self.counts.reused += found[1]
                return reply
        if call.stored_only or not self.asks:
            return Reply(call.key, finish=UNASKED, reason="not asked: no reply to this call is stored", answered=False)
        return None

    def _keep(self, replies: Sequence[Reply]) -> None:
        self.store.append(reply.row() for reply in replies)
        self.on_reply()

    # Sweep --------------------------------------------------------------------------------------------------------

    def _sweep(self, items: Sequence[X]) -> Iterator[T]:
        """The values of a chunk, in order; its items take every round together."""
        running = [_Running(self.method.ask(item)) for item in items]
        while waiting := [one for one in running if not one.done]:
            replies: dict[str, Reply] = {}
            missing: dict[str, Call] = {}
            for one in waiting:
                for call in one.calls:
                    if call.key in replies or call.key in missing:
                        continue
                    reply = self._stored(call)
                    if reply is None:
                        missing[call.key] = call
                    else:
                        replies[call.key] = reply
            if missing:
                calls = {call.key: call for one in waiting for call in one.calls}
                replies |= self._ask_round(missing, calls)
            for one in waiting:
                one.send([replies[call.key] for call in one.calls])
        for one in running:
            yield one.value

    def _ask_round(self, missing: Mapping[str, Call], calls: Mapping[str, Call]) -> dict[str, Reply]:
        """Asks what is missing of a round's `calls`, each model its own; stores the replies and returns them."""
        replies: dict[str, Reply] = {}
        by_model: dict[str, list[Call]] = {}
        for call in missing.values():
            by_model.setdefault(call.model, []).append(call)
        for digest, wanted in by_model.items():
            model = self.method.models[digest]
            found: Iterable[Reply]
            if isinstance(model, RoundModel):
                found = self._in_batches(model, wanted, calls)
            elif isinstance(model, StreamModel):
                found = self._side_by_side(model, wanted)
            else:
                assert isinstance(model, DeferredModel), f"{model!r} is none of the three kinds of model"
                found = self._deferred(model, wanted)
            replies |= {reply.key: reply for reply in found}
        return replies

    def _in_batches(self, model: RoundModel, missing: list[Call], calls: Mapping[str, Call]) -> Iterator[Reply]:
        """Computes batches of what is missing, as they were first planned.

        A local model's reply may change in its last digit with the batch that it is computed in. So a batch's keys are
        noted before it is computed, and what a killed run left of it is computed in the same batch again.
        """
        keys = {call.key for call in missing}
        begun, again = [], set[str]()
        for call in missing:
            batch = self.store.planned.get(call.key)
            if batch and call.key not in again and all(key in calls for key in batch):
                begun.append([calls[key] for key in batch])
                again.update(batch)
        new = model.plan([call for call in missing if call.key not in again])
        self.store.begin([call.key for call in batch] for batch in new)
        for planned in [*begun, *new]:
            replies = [reply for reply in model.answer(planned) if reply.key in keys]
            keys.difference_update(reply.key for reply in replies)  # two killed runs may have begun it in two batches
            self._keep(replies)
            yield from replies

    def _side_by_side(self, model: StreamModel, missing: list[Call]) -> list[Reply]:
        """All calls to a model whose calls are independent, `concurrency` at a time."""
        with _Loop() as loop:

            async def one(call: Call, places: asyncio.Semaphore) -> Reply:
                async with places:
                    reply = await model.reply(call)
                self._keep([reply])
                return reply

            async def everything() -> list[Reply]:
                await model.open()
                try:
                    places = asyncio.Semaphore(model.concurrency)
                    tasks = [asyncio.ensure_future(one(call, places)) for call in missing]
                    try:
                        return list(await asyncio.gather(*tasks))
                    finally:
                        for task in tasks:
                            task.cancel()
                        await asyncio.gather(*tasks, return_exceptions=True)
                finally:
                    await model.close()

            return loop.run(everything())

    def _deferred(self, model: DeferredModel, missing: list[Call]) -> list[Reply]:
        """Hands the calls over and waits.

        Each ticket is kept with the calls that it is for, so that a run that goes on waits for what a killed one handed
        over, whatever else it asks by now.
        """
        folder, left = self.store.folder, {call.key: call for call in missing}
        tickets: list[tuple[str, Path | None]] = []
        for kept in sorted(folder.glob("ticket-*.json")) if folder is not None else []:
            try:
                was = json.loads(kept.read_text(encoding="utf-8"))
            except FileNotFoundError:  # another process's, which has got its replies by now
                continue
            if was["model"] == model.digest and not left.keys().isdisjoint(was["calls"]):
                tickets.append((str(was["ticket"]), kept))
                for key in was["calls"]:
                    left.pop(key, None)
        if left:
            token = content_hash(sorted(left))
            ticket = model.submit(list(left.values()), token)
            path = None if folder is None else folder / f"ticket-{token}.json"
            if path is not None:
                write_json(path, {"model": model.digest, "ticket": ticket, "calls": list(left)})
            tickets.append((ticket, path))
        wanted, got = {call.key for call in missing}, dict[str, Reply]()
        for ticket, path in tickets:
            while (replies := model.poll(ticket)) is None:
                time.sleep(model.wait)
            new = {reply.key: reply for reply in replies if reply.key in wanted and reply.key not in got}
            self._keep(list(new.values()))
            got |= new
            if path is not None:
                path.unlink(missing_ok=True)  # what it brought is stored; what failed is handed over anew
        reason = "the batch came back without it"
        lost = [Reply(key, finish="error", reason=reason, answered=False) for key in wanted - got.keys()]
        self._keep(lost)
        return [*got.values(), *lost]

    # Stream -------------------------------------------------------------------------------------------------------

    def _stream(self, items: Iterator[X]) -> Iterator[T]:
        stream = _Stream(self, items)
        with _Loop() as loop:
            try:
                while values := loop.run(stream.advance()):
                    yield from values
            finally:
                loop.run(stream.close())


class _Stream(Generic[X, T]):
    """Items asked about as their replies come. Everything here runs in the event loop."""

    def __init__(self, driver: _Driver[X, T], items: Iterator[X]) -> None:
        self.driver = driver
        self.items = enumerate(items)
        self.models: dict[str, StreamModel] = dict(driver.method.models)  # type: ignore[arg-type]
        self.limit = sum(model.concurrency for model in self.models.values())
        self.places: dict[str, asyncio.Semaphore] = {}
        self.flying: dict[asyncio.Task[Reply], str] = {}
        self.waiters: dict[str, list[tuple[int, _Running[T], dict[str, Reply]]]] = {}
        self.values: dict[int, T] = {}
        self.next = 0
        self.opening: dict[str, asyncio.Task[None]] = {}  # a model is opened when it is first asked

    async def close(self) -> None:
        for task in self.flying:
            task.cancel()
        await asyncio.gather(*self.flying, return_exceptions=True)
        for digest in self.opening:
            await self.models[digest].close()

    async def advance(self) -> list[T]:
        """The next values in the items' order, at least one; none when all are given."""
        while True:
            ready = []
            while self.next in self.values:
                ready.append(self.values.pop(self.next))
                self.next += 1
            if ready:
                return ready
            more = self._admit()
            if self.next in self.values:
                continue
            if not self.flying:
                return []
            done, _ = await asyncio.wait(self.flying, timeout=0 if more else None, return_when=asyncio.FIRST_COMPLETED)
            # Replies first, so that an error loses none of those that came with it.
            for task in sorted(done, key=lambda task: task.exception() is not None):
                key = self.flying.pop(task)
                if task.exception() is not None:
                    for other in self.flying:  # now, and not when the caller hears of it: no call more is begun
                        other.cancel()
                self._deliver(key, task.result())

    def _admit(self) -> bool:
        """Starts items while there is room, a few in one go; whether there is room for more."""
        for _ in range(_TURN):
            if len(self.flying) >= self.limit or len(self.values) >= _WAITING:
                return False
            try:
                position, item = next(self.items)
            except StopIteration:
                return False
            self._go_on(position, _Running(self.driver.method.ask(item)), {})
        return True

    def _go_on(self, position: int, one: _Running[T], replies: dict[str, Reply]) -> None:
        """Advances an item as far as replies are there, and asks for what it lacks."""
        while not one.done:
            missing = []
            for call in one.calls:
                if call.key not in replies:
                    reply = self.driver._stored(call) if call.key not in self.waiters else None
                    if reply is None:
                        missing.append(call)
                    else:
                        replies[call.key] = reply
            if missing:
                for call in {call.key: call for call in missing}.values():
                    if call.key not in self.waiters:
                        self.waiters[call.key] = []
                        self.flying[asyncio.ensure_future(self._ask(call))] = call.key
                    self.waiters[call.key].append((position, one, replies))
                return
            wanted = [replies[call.key] for call in one.calls]
            replies.clear()
            one.send(wanted)
        self.values[position] = one.value

    async def _ask(self, call: Call) -> Reply:
        model = self.models[call.model]
        if call.model not in self.opening:
            self.opening[call.model] = asyncio.ensure_future(model.open())
            self.places[call.model] = asyncio.Semaphore(model.concurrency)
        await self.opening[call.model]
        async with self.places[call.model]:
            reply = await model.reply(call)
        self.driver._keep([reply])
        return reply

    def _deliver(self, key: str, reply: Reply) -> None:
        for position, one, replies in self.waiters.pop(key):
            replies[key] = reply
            if all(call.key in replies for call in one.calls):
                self._go_on(position, one, replies)


_TURN = 256  # items started in one go, so that values are handed on between them where everything is stored
_WAITING = 65_536  # values that wait for an earlier item's before no more items are started


class _Loop:
    """An event loop in a thread of its own, so that asking works where a loop is running already, as in a notebook."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rlaif-ask", daemon=True)
        self._ended = False

    def _run(self) -> None:
        while not self._ended:
            # A SystemExit or KeyboardInterrupt within a task ends the loop; the task holds it too, for who waits.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's value. An interrupt of the waiting thread cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def __enter__(self) -> _Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(_end_all())  # an interrupt has cancelled what was waited for, and it takes its time to end
        finally:
            self._ended = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()


async def _end_all() -> None:
    """Cancels every task of this loop but its own, and waits for them."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _batched(items: Iterable[X], size: int) -> Iterator[list[X]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part
