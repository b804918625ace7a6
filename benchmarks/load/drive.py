"""One request from its sending to its last picture: the answer, polls of an async task, downloads of returned addresses.

Only what must happen before the next byte can be asked for happens on the clock: an answer is parsed here when it is an
accepted task, or when it holds addresses to fetch. Everything else is the judge's, after the clock has stopped.
"""

from __future__ import annotations

import re
from typing import Any

import gevent

from testcard.benchmarks.net.reply import Reply
from testcard.benchmarks.net.transport import Prepared, Transport, clock
from testcard.benchmarks.plan.cells import Attempt, Cell
from testcard.harness.wire.addresses import fetchable, may_ask
from testcard.harness.wire.decode import decode, decode_body
from testcard.harness.wire.encode import fetch_request, poll_request
from testcard.harness.wire.model import AsyncTask
from testcard.specs.loader import Provider

#: Bodies above this cannot be lists of addresses; they are not searched for any.
_ADDRESSES_BYTES = 256 * 1024
#: What an address in JSON has and nothing else is likely to: ":" is no letter of base64, and between values no slash follows it.
_ADDRESS = re.compile(rb":(?:\\?/|\\u)")


def perform(attempt: Attempt, prepared: Prepared, transport: Transport) -> None:
    """Sends the attempt's request and fills in what happened. Raises only when it is killed."""
    attempt.sent_s = clock()
    reply = transport.exchange(prepared)
    attempt.reply = reply
    attempt.done_s = reply.ended_s
    attempt.sent_s = reply.sent_s
    if reply.failure is not None or reply.status is None or not 200 <= reply.status < 300:
        return
    cell = attempt.cell
    protocol = cell.provider.profile.asynchronous
    if protocol is not None and reply.status == protocol.status:
        answer = decode(cell.provider, cell.operation, reply.response())
        attempt.answer = answer
        if answer.task is not None:
            _poll(attempt, answer.task, transport)
    elif _may_hold_addresses(cell.provider, cell.operation, reply):
        attempt.answer = decode(cell.provider, cell.operation, reply.response())
    if attempt.answer is not None and attempt.failure is None:
        _download(attempt, [picture.url for picture in attempt.answer.pictures if picture.url is not None], transport)


def _may_hold_addresses(provider: Provider, operation: str, reply: Reply) -> bool:
    if len(reply.body) > _ADDRESSES_BYTES or provider.operation_profile(operation).response.url is None:
        return False
    return _ADDRESS.search(reply.content()) is not None


def _poll(attempt: Attempt, task: AsyncTask, transport: Transport) -> None:
    cell = attempt.cell
    protocol = cell.provider.profile.asynchronous
    assert protocol is not None
    accepted = clock()
    deadline = attempt.sent_s + transport.timeouts.whole_s
    queued, failed, completed = (protocol.states.get(name) for name in ("queued", "failed", "completed"))
    prepared: Prepared | None = None
    while True:
        if task.state != queued and attempt.queue_s is None:
            attempt.queue_s = clock() - accepted
        if task.state == completed:
            attempt.answer = decode_body(cell.provider, cell.operation, task.result)
            return
        if task.state == failed:
            attempt.failure = "task-failed"
            return
        if clock() + protocol.poll_interval_s > deadline:
            attempt.failure, attempt.done_s = "timeout", clock()
            return
        gevent.sleep(protocol.poll_interval_s)
        if prepared is None:
            try:
                request = poll_request(cell.provider, task.reference, base_url=cell.base_url, api_key=cell.api_key, poll_url=task.poll_url)
                prepared = _local_only(cell, transport, request)
            except Exception:  # noqa: BLE001 (an answer's own address, which may be anything)
                attempt.failure, attempt.done_s = "broken", clock()
                return
        reply = transport.exchange(prepared, within_s=deadline - clock())
        attempt.done_s = reply.ended_s
        if reply.failure is not None:
            attempt.failure = reply.failure
            return
        answer = decode(cell.provider, protocol.operation, reply.response())
        if reply.status == 429 or (reply.status or 0) >= 500:
            continue  # polls cost nothing, and the task may be doing well behind a busy status endpoint
        if answer.task is None or answer.task.state is None:
            attempt.failure = "broken"
            return
        task = AsyncTask(task.reference, answer.task.state, task.poll_url, answer.task.result, answer.task.error)


def _download(attempt: Attempt, urls: list[str], transport: Transport) -> None:
    if not urls:
        return
    began = clock()
    deadline = attempt.sent_s + transport.timeouts.whole_s
    attempt.downloads = downloads = []
    prepared: list[Prepared] = []
    for url in urls:
        try:
            if not fetchable(url):
                raise ValueError("no address that may be fetched")
            prepared.append(_local_only(attempt.cell, transport, fetch_request(url, attempt.cell.operation)))
        except ValueError:
            downloads.append(Reply(began, last_byte_s=began, failure="broken", detail="the address cannot be fetched"))
    if len(prepared) == 1:
        downloads.append(transport.exchange(prepared[0], within_s=deadline - began))
    elif prepared:
        workers = [gevent.spawn(transport.exchange, one, deadline - began) for one in prepared]
        try:
            gevent.joinall(workers)
        except BaseException:
            gevent.killall(workers)
            raise
        downloads += [worker.value for worker in workers]
    attempt.done_s = max([attempt.done_s, *(reply.ended_s for reply in downloads)])
    attempt.download_s = attempt.done_s - began


def _local_only(cell: Cell, transport: Transport, request: Any) -> Prepared:
    """The request prepared; ValueError when an answer of a server on this machine leads off it without --live."""
    if not may_ask(request.url, asked=cell.base_url, live=cell.may_leave_machine):
        raise ValueError("the address is none, or not on this machine")
    return transport.prepare(request)
