"""Driving the asks of one method over one store: in rounds that share batches, or each as its replies come."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from rlaif.files.sources import write_json
from rlaif.files.store import Store
from rlaif.judging.method import Ask, Counts, Method
from rlaif.models.base import UNASKED, Call, DeferredModel, Reply, RoundModel, StreamModel
from rlaif.records import content_hash

__all__ = ["Driver"]

T = TypeVar("T")
X = TypeVar("X")


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


class Driver(Generic[X, T]):
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
            calls = [call for one in waiting for call in one.calls]
            # What is only looked up comes last: where another item asks the same call, the reply is that one's.
            for call in sorted(calls, key=lambda call: call.stored_only):
                if call.key not in replies and call.key not in missing:
                    reply = self._stored(call)
                    if reply is None:
                        missing[call.key] = call
                    else:
                        replies[call.key] = reply
            if missing:
                replies |= self._ask_round(missing, {call.key: call for call in calls})
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

    def __init__(self, driver: Driver[X, T], items: Iterator[X]) -> None:
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
            missing: list[Call] = []
            for call in sorted(one.calls, key=lambda call: call.stored_only):
                if call.key not in replies:
                    asked = call.key in self.waiters or any(call.key == other.key for other in missing)
                    reply = None if asked else self.driver._stored(call)
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
