"""The engine: the values of a method for many items, every call answered from a store or by its model.

Resume is replay: a generator is thrown away with the process, made again by the next one, and sent what is stored.

Two ways to drive (`rlaif.judging.drive`), by the models that a method asks:

    stream     every model is a StreamModel (an endpoint): a new item is admitted whenever fewer calls than the limit
               are in flight, and each moves on when its own replies are there. No round holds others up.
    sweep      local, deferred and mixed models: the items of a chunk take their rounds together, so that a round's
               calls can share batches. A chunk is a number of items, cut by their place in the source; with a deferred
               model all items are one.

Under `accelerate launch` chunk k is asked by process k mod n; then every process reads all replies.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from rlaif.config import warn
from rlaif.files.index import Index
from rlaif.files.store import Store
from rlaif.judging.drive import Driver
from rlaif.judging.method import Counts, Method
from rlaif.models.base import Call, DeferredModel, StreamModel
from rlaif.models.parallel import is_main, process_count, process_index, wait_for_everyone

__all__ = ["answers", "ask_here", "chunk_size"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
X = TypeVar("X")
X_contra = TypeVar("X_contra", contravariant=True)

_CHUNK = 256  # items of a chunk at most: enough to fill a device's batches, few enough to share out
_SHARES = 16  # chunks that a smaller set is cut into at least, so that as many processes have work


def chunk_size(total: int | None) -> int:
    """How many items take their rounds together, of `total`: the same for any number of processes."""
    return _CHUNK if total is None else max(4, min(_CHUNK, -(-total // _SHARES)))


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
    if chunk is None and any(isinstance(model, DeferredModel) for model in method.models.values()):
        chunk = sys.maxsize  # hours pass between handing over and the replies: everything goes at once
    chunk = chunk or chunk_size(total)
    if store.torn:
        warn(
            f"{len(store.torn)} line(s) in the store are cut off or unreadable (first: {store.torn[0]}), as a killed "
            "run leaves them; they stay as they are, and what they answered is asked again."
        )
    store.mark()
    added = store.added
    driver = Driver(method, store, ask, counts)
    transient = next((model.transient for model in method.models.values() if model.transient), None)
    if transient and store.folder is not None:
        warn(transient)
    # What another process cannot find, in memory or under an address of its own, each process asks for itself.
    if process_count() == 1 or not ask or store.folder is None or transient:
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
            yield from Driver(method, store, False, counts).run(_batched(items(), chunk))
    counts.asked = store.added - added


def ask_here(method: Method[X, T], items: Sequence[X], store: Store, counts: Counts | None = None) -> list[T]:
    """The values of `method` for a few items, asked by this process alone, without a bar: no process waits for another.

    What `answers` does where each process has items of its own, as in training.
    """
    counts = counts if counts is not None else Counts()
    added = store.added
    store.mark()
    # One chunk, whatever its size: its batches depend on the call alone, and not on what was asked before.
    values = list(Driver(method, store, True, counts).run([items]))
    counts.asked += store.added - added
    return values


def _shown(driver: Driver[X, T], chunks: Iterable[Sequence[X]], total: int | None, label: str) -> Iterator[T]:
    """The values of some chunks, under a progress bar of items that also says how many calls were answered."""
    from tqdm import tqdm  # the plain bar: in a notebook the other one wants packages of its own

    with tqdm(total=total, desc=label, disable=not is_main() or total == 0, mininterval=1.0) as bar:
        streams = [model for model in driver.method.models.values() if isinstance(model, StreamModel)]

        def tell() -> None:
            waiting = "".join(f", {model.waiting}" for model in streams if model.waiting)
            bar.set_postfix_str(f"{driver.store.added} answered{waiting}", refresh=False)
            bar.update(0)

        shown = 0.0

        def tell_waiting() -> None:
            nonlocal shown
            if time.monotonic() - shown >= 1.0:  # nothing else moves the bar meanwhile
                shown = time.monotonic()
                tell()
                bar.refresh()

        driver.on_reply = tell
        for model in streams:
            model.on_wait = tell_waiting
        for value in driver.run(chunks):
            yield value
            bar.update()


def _share(method: Method[X, Any], items: Iterable[X], chunk: int, owners: Index, late: bool) -> Iterator[list[X]]:
    """This process's chunks of `items`: those items whose first calls no other process asks or, `late`, the rest.

    A call that two processes asked would be paid for twice. So an item that begins with another process's call waits
    until all first replies are stored, and is asked late about what they leave open. Late items that begin with a call
    which nobody has asked by then may share it with one another: those are the main process's, all of them.

    Every process makes the first calls of all items for this, twice: a matter of microseconds an item.

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


def _batched(items: Iterable[X], size: int) -> Iterator[list[X]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part
