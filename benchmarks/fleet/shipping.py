"""A worker's samples on their way to the master: in numbered batches, kept here until the master has written them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent.event
import pyarrow as pa

from testcard.benchmarks.fleet.messages import Samples
from testcard.benchmarks.judging.recorder import Rows
from testcard.harness.runs.samples import schema

#: A batch that the master has not confirmed after so long is sent again: a broken connection loses what was on its way.
AGAIN_S = 5.0


class ShippingWriter:
    """The writer of a worker. `flush` sends what is buffered; `settle` waits until the master has all of it."""

    def __init__(self, send: Callable[[Samples], None]) -> None:
        self.rows_written = 0
        self._rows = Rows()
        self._send = send
        self._number = 0
        self._unconfirmed: dict[int, tuple[float, bytes]] = {}
        self._all_there = gevent.event.Event()
        self._all_there.set()

    def add(self, row: tuple[Any, ...]) -> None:
        """Buffers one row; ships when 1,000 have gathered."""
        if self._rows.add(row):
            self.flush()

    def flush(self) -> None:
        """Ships what is buffered, and again what was not confirmed in time."""
        now = time.monotonic()
        for number, (sent_s, data) in list(self._unconfirmed.items()):
            if now - sent_s > AGAIN_S:
                self._unconfirmed[number] = (now, data)
                self._send(Samples(number=number, data=data))
        batch = self._rows.take()
        if batch is None:
            return
        data = batch.serialize().to_pybytes()
        self.rows_written += len(batch)
        self._unconfirmed[self._number] = (now, data)
        self._all_there.clear()
        self._send(Samples(number=self._number, data=data))
        self._number += 1

    def confirm(self, number: int) -> None:
        """The master has written that batch."""
        self._unconfirmed.pop(number, None)
        if not self._unconfirmed:
            self._all_there.set()

    def settle(self, within_s: float) -> bool:
        """Waits until everything is confirmed; whether it is."""
        until = time.monotonic() + within_s
        while not self._all_there.wait(0.5) and time.monotonic() < until:
            self.flush()
        return bool(self._all_there.is_set())

    def close(self) -> None:
        """Ships the rest."""
        self.flush()


def batch_of(message: Samples) -> pa.RecordBatch:
    """The batch in a message; raises pyarrow.ArrowInvalid for bytes that are none."""
    return pa.ipc.read_record_batch(pa.py_buffer(message.data), schema())
