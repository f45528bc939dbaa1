"""Held-out numbers of TRL's trainers, over rows: each row counts once, whatever the batches and the processes.

TRL logs the mean of its batches' means, so a last batch of 3 rows weighs as much as one of 64, and in several processes
the rows that fill up the last batch are counted twice. Here every row of an evaluation leaves its own numbers, under
its place in the data; what is logged as `eval_...` and what a report says are means over these. A number that is not of
rows is not logged in evaluations. Training logs stay TRL's: means over the batches of a logging window, weighted alike.

    prediction_step    takes the rows' places off the batch
    compute_loss       (of each trainer) leaves the rows' numbers with `keep_rows`
    evaluation_loop    gathers them and puts `row_metrics` in the place of TRL's
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["PLACE", "ByRow"]

Array = NDArray[np.float64]

PLACE = "row"  # the column that says where a held-out row stands


class _Placed:
    """A collator that carries `row` into the batch: (B,)."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        if PLACE not in examples[0]:
            return dict(self.collator(examples))
        places = torch.tensor([example[PLACE] for example in examples])
        bare = [{name: value for name, value in example.items() if name != PLACE} for example in examples]
        return {**self.collator(bare), PLACE: places}


class ByRow:
    """Evaluations row by row. Stands before one of TRL's trainers that have a loss of their own.

    Attributes:
        columns: of the rows, those that `compute_loss` takes beside the ones that TRL's does.
        held_out_rows: of the newest evaluation, every number of every row, in the data's order: (N,) each.
    """

    model: Any
    accelerator: Any
    data_collator: Any
    _metrics: Any
    _signature_columns: Any
    columns: tuple[str, ...] = ()
    held_out_rows: dict[str, Array]
    _kept: list[tuple[Any, dict[str, Array]]] | None = None  # while an evaluation goes on

    def __init__(self, *args: Any, eval_dataset: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, eval_dataset=_placed(eval_dataset), **kwargs)  # type: ignore[call-arg]
        self.data_collator = _Placed(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        first = self._signature_columns is None
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        if first:
            self._signature_columns += [PLACE, *self.columns]

    def evaluate(self, eval_dataset: Any = None, **kwargs: Any) -> dict[str, float]:
        """The Trainer's; other rows than those that it began with get their places here."""
        metrics: dict[str, float] = super().evaluate(eval_dataset=_placed(eval_dataset), **kwargs)  # type: ignore[misc]
        return metrics

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        inputs = dict(inputs)
        self._places = inputs.pop(PLACE).cpu().numpy()
        return super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def keep_rows(self, **values_B: torch.Tensor) -> None:
        """What the rows of this batch are worth, in `compute_loss` of an evaluation: (B,) each."""
        if self._kept is not None:
            columns = {name: value.detach().double().cpu().numpy() for name, value in values_B.items()}
            self._kept.append((self._places, columns))

    def row_metrics(self, rows: dict[str, Array]) -> dict[str, float]:
        """What is logged of all rows, by name without `eval_`; `loss` among them."""
        raise NotImplementedError

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        self._kept = []
        output = super().evaluation_loop(  # type: ignore[misc]
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        self.held_out_rows, self._kept = self._gathered(self._kept, len(dataloader.dataset)), None
        numbers = self.row_metrics(self.held_out_rows)
        output.metrics[f"{metric_key_prefix}_loss"] = numbers.pop("loss")
        # TRL's `log` takes the mean of each list here, and adds it to what is logged and returned.
        self._metrics["eval"].clear()
        self._metrics["eval"].update({name: [value] for name, value in numbers.items()})
        return output

    def _gathered(self, kept: list[tuple[Any, dict[str, Array]]], n: int) -> dict[str, Array]:
        """The rows of all processes, each once: a row that filled up a batch is the same one again."""
        from accelerate.utils import gather_object

        if self.accelerator.num_processes > 1:
            kept = gather_object(kept)
        rows = {name: np.full(n, np.nan) for name in kept[0][1]}
        seen = np.zeros(n, dtype=bool)
        for places, columns in kept:
            seen[places] = True
            for name, values in columns.items():
                rows[name][places] = values
        assert seen.all(), f"{int((~seen).sum())} of {n} held-out rows were in no batch"
        return rows


def _placed(dataset: Any) -> Any:
    """The rows with their places; None and the name of a data set stay."""
    if isinstance(dataset, dict):
        return {name: _placed(rows) for name, rows in dataset.items()}
    if dataset is None or isinstance(dataset, str) or PLACE in dataset.column_names:
        return dataset
    return dataset.add_column(PLACE, list(range(len(dataset))))
