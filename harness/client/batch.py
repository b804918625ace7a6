"""Many requests with a bound on how many go on at once, each with its own outcome, kept in a folder from which an interrupted batch goes on.

The folder holds the pictures and `batch.jsonl`: a line for each item before it is sent, and one when it came to its end. An item whose result has
its line, and whose files are there, is not asked for again; nor is one that was sent and never came to its end, as the batch was killed: it may be
billed, and only who says so (`resend`) has it asked for once more.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from testcard.harness.client.asynchronous import AsyncClient
from testcard.harness.client.call import Call
from testcard.harness.client.errors import AuthenticationFailed, ClientError, PaymentRequired, SpendingLimitReached
from testcard.harness.client.masks import Mask
from testcard.harness.client.results import ENDINGS, Result
from testcard.harness.client.sync import Client
from testcard.harness.client.terms import PictureSource, as_input_image
from testcard.harness.errors import Inconclusive, TestcardError, UsageError
from testcard.harness.locks import lock
from testcard.specs.profile import Task

#: what no further request of the batch would escape
FATAL = (AuthenticationFailed, PaymentRequired, SpendingLimitReached)
_LOG = "batch.jsonl"
_LONGEST_LINE = 4 << 20


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One request: a prompt, for pictures also `images`; `terms` as the client's methods take them. `name` begins its files' names."""

    prompt: str | None
    task: Task = "generate"
    images: tuple[PictureSource, ...] = ()
    terms: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What an item came to: `files` of its pictures and the result's record, or an error; neither where the batch stopped before it.

    `earlier`: it was found done in the folder, and `result` is None then. `record` is `Result.record()`. With an error, `result` is there where
    only its pictures could not be written.
    """

    index: int
    item: BatchItem
    files: tuple[Path, ...] = ()
    record: Mapping[str, Any] | None = None
    result: Result | None = field(default=None, repr=False)
    error: TestcardError | None = None
    earlier: bool = False

    @property
    def done(self) -> bool:
        """Whether its pictures, or its text, are there."""
        return self.record is not None


#: gives the file names of a result's pictures, by the item's index and the item
Names = Callable[[int, BatchItem, Result], Sequence[str]]


def run_batch(
    client: Client,
    items: Iterable[BatchItem | str],
    folder: Path | str,
    *,
    concurrency: int = 4,
    on_outcome: Callable[[BatchOutcome], None] | None = None,
    names: Names | None = None,
    again: bool = False,
    resend: bool = False,
) -> list[BatchOutcome]:
    """Carries all items out, at most `concurrency` at once, and gives their outcomes in the items' order.

    `on_outcome` hears of each as it ends (of one at a time). An item that fails stops no other, but for a refused key, an empty account, a
    reached limit and a folder that can no longer be written: then nothing more is begun. `names` gives other file names than the usual; one that is taken gets a number. `again`: what is done
    already is done again, and its files are overwritten. `resend`: what an earlier batch sent and has no result of, as it was killed, is asked for
    again, though it may be billed already; without it such an item ends as `Inconclusive`. The retry policy, the spending limit and the hooks are the client's.
    """

    def work(entry: _Entry) -> None:
        if not batch.stopped and batch.begun(entry):
            batch.ended(entry, *_caught(lambda: client.finish(entry.call(client))))

    with (
        _Batch(client, items, Path(folder), concurrency, on_outcome, names, again=again, resend=resend) as batch,
        ThreadPoolExecutor(concurrency, thread_name_prefix="batch") as pool,
    ):
        try:
            list(pool.map(work, batch.left))
        except BaseException:
            # Ctrl-C, or a hook that raised: what is under way ends, nothing else begins.
            batch.stopped = True
            raise
    return batch.outcomes()


async def run_batch_async(
    client: AsyncClient,
    items: Iterable[BatchItem | str],
    folder: Path | str,
    *,
    concurrency: int = 4,
    on_outcome: Callable[[BatchOutcome], None] | None = None,
    names: Names | None = None,
    again: bool = False,
    resend: bool = False,
) -> list[BatchOutcome]:
    """`run_batch` for async code."""

    async def worker() -> None:
        for entry in left:
            if batch.stopped or not batch.begun(entry):
                return
            try:
                ended: tuple[Result | None, TestcardError | None] = (await client.finish(entry.call(client)), None)
            except (ClientError, UsageError) as error:
                ended = (None, error)
            batch.ended(entry, *ended)

    with _Batch(client, items, Path(folder), concurrency, on_outcome, names, again=again, resend=resend) as batch:
        left = iter(batch.left)
        async with anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(worker)
    return batch.outcomes()


def _caught(what: Callable[[], Result]) -> tuple[Result | None, TestcardError | None]:
    try:
        return what(), None
    except (ClientError, UsageError) as error:
        return None, error


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item with its place in the batch and the digest by which its line is found again."""

    index: int
    item: BatchItem
    key: str

    def call(self, client: Client | AsyncClient) -> Call:
        """The call that it asks for."""
        return client.settings.call(self.item.task, self.item.prompt, self.item.images, **self.item.terms)


class _Batch:
    """The items, what is done of them, and the folder."""

    def __init__(
        self,
        client: Client | AsyncClient,
        items: Iterable[BatchItem | str],
        folder: Path,
        concurrency: int,
        on_outcome: Callable[[BatchOutcome], None] | None,
        names: Names | None,
        *,
        again: bool,
        resend: bool,
    ) -> None:
        if concurrency < 1:
            raise UsageError("a batch needs at least one request at once", hint="concurrency=4")
        self._folder = folder
        self._on_outcome = on_outcome
        self._names = names
        self._taken: set[str] = set()
        self._replaced: set[str] = set()
        self._lock = threading.Lock()
        self.stopped = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / _LOG).exists() and not (folder / _LOG).is_file():  # a pipe would be waited for, a device keeps nothing
                raise OSError(errno.EINVAL, f"{_LOG} in it is no file")
            # Unbuffered: what a full disk did not take must not come again when the file is closed.
            self._held = (folder / _LOG).open("ab", buffering=0)
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}", hint="name a folder that can be written") from None
        try:
            self._begin(items, client.settings.provider.id, again=again, resend=resend)
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> _Batch:
        for outcome in [one for one in self._outcomes.values() if one.error is not None]:
            self._tell(outcome)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _begin(self, items: Iterable[BatchItem | str], provider: str, *, again: bool, resend: bool) -> None:
        folder = self._folder
        try:
            lock(self._held)
        except OSError:
            hint = "wait for it, or give this one a folder of its own: both would ask for the same, and pay for it twice"
            raise UsageError(f"another batch is at work in {folder}", hint=hint) from None
        try:
            earlier, unended = self._earlier()
            self._end_cut_line()
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}", hint="name a folder that can be written") from None
        self._entries = list(_entries(items, provider))
        self._outcomes: dict[int, BatchOutcome] = {}
        self.left: list[_Entry] = []
        for entry in self._entries:
            line = earlier.get(entry.key)
            files = tuple(folder / Path(name).name for name in line["files"]) if line is not None else ()
            if again:
                self._replaced.update(file.name for file in files)
                self.left.append(entry)
            elif line is not None and all(map(_is_file, files)):
                self._taken.update(file.name for file in files)
                self._outcomes[entry.index] = BatchOutcome(entry.index, entry.item, files, line["record"], earlier=True)
            elif entry.key in unended and not resend:
                self._outcomes[entry.index] = BatchOutcome(entry.index, entry.item, error=_sent_already())
            else:
                self.left.append(entry)

    def begun(self, entry: _Entry) -> bool:
        """Writes that an item is about to be sent; where that cannot be written, nothing is to be sent, and the batch stops."""
        with self._lock:
            try:
                self._write({"key": entry.key, "index": entry.index, "begun": True})
            except OSError as error:
                self.stopped = True
                self._tell(BatchOutcome(entry.index, entry.item, error=self._unwritable(error)))
        return not self.stopped

    def ended(self, entry: _Entry, result: Result | None, error: TestcardError | None) -> None:
        """Keeps an outcome, writes its files and its line, and tells of it."""
        with self._lock:
            outcome = self._kept(entry, result) if result is not None else self._failed(entry, error)
            self.stopped = self.stopped or isinstance(outcome.error, FATAL) or (result is not None and outcome.error is not None)
            self._tell(outcome)

    def _tell(self, outcome: BatchOutcome) -> None:
        self._outcomes[outcome.index] = outcome
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def _failed(self, entry: _Entry, error: TestcardError | None) -> BatchOutcome:
        """The outcome of an error, which is told and can be asked for again."""
        with suppress(OSError):  # at worst it stands as under way
            self._write({"key": entry.key, "index": entry.index, "error": str(error)})
        return BatchOutcome(entry.index, entry.item, error=error)

    def _write(self, line: Mapping[str, Any]) -> None:
        written = (json.dumps(line) + "\n").encode()
        if self._held.write(written) != len(written):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self._folder}: {error.strerror or error}", hint="make room, or let the folder be written, and begin again")

    def _kept(self, entry: _Entry, result: Result) -> BatchOutcome:
        """The outcome of a result whose pictures and line are in the folder, or of one that could not be put there."""
        try:
            files = self._saved(entry, result)
            record = result.record()
            names = [file.name for file in files]
            self._write({"key": entry.key, "index": entry.index, "prompt": entry.item.prompt, "files": names, "record": record})
        except OSError as error:
            return BatchOutcome(entry.index, entry.item, result=result, error=self._unwritable(error))
        return BatchOutcome(entry.index, entry.item, files, record, result)

    def outcomes(self) -> list[BatchOutcome]:
        """Of every item, in order."""
        return [self._outcomes.get(entry.index) or BatchOutcome(entry.index, entry.item) for entry in self._entries]

    def _saved(self, entry: _Entry, result: Result) -> tuple[Path, ...]:
        """The files of its pictures, under plain names where the file system takes no others."""
        wanted = self._names(entry.index, entry.item, result) if self._names is not None else _usual_names(entry, result)
        try:
            return self._written(wanted, result)
        except (OSError, ValueError):
            return self._written(_usual_names(replace(entry, item=replace(entry.item, name=None)), result), result)

    def _written(self, names: Sequence[str], result: Result) -> tuple[Path, ...]:
        return tuple(picture.save(self._folder / self._free(name)) for name, picture in zip(names, result.pictures, strict=True))

    def _free(self, name: str) -> str:
        """The name, with a number where a file has it already: what is there is paid for, and may be another item's.

        Files of the batch itself make room where it is done again.
        """
        path, number = Path(Path(name).name), 1
        while path.name in self._taken or (path.name not in self._replaced and (self._folder / path.name).exists()):
            number += 1
            path = path.with_name(f"{Path(name).stem}-{number}{path.suffix}")
        self._taken.add(path.name)
        return path.name

    def _earlier(self) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """The lines of results of before by their keys, and the keys of what was sent and did not end; a line that a kill cut is passed over, as is
        whatever else is no line of ours."""
        log = self._folder / _LOG
        results: dict[str, dict[str, Any]] = {}
        unended: set[str] = set()
        for line in _lines(log):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(found, dict) or not isinstance(key := found.get("key"), str):
                continue
            if "begun" in found:
                unended.add(key)
                continue
            if "error" not in found:
                files, record = found.get("files"), found.get("record")
                if not (isinstance(files, list) and all(isinstance(name, str) for name in files) and isinstance(record, dict)):
                    continue
                results[key] = found
            unended.discard(key)
        return results, unended

    def _end_cut_line(self) -> None:
        """Ends a line that a kill or a full disk cut, so that the next one does not become a part of it."""
        log = self._folder / _LOG
        if log.is_file() and log.stat().st_size:
            with log.open("rb+") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")


def _lines(log: Path) -> Iterator[str]:
    """The lines of the log, one at a time; of one that is longer than any of ours, pieces."""
    with log.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            yield line.decode("utf-8", "replace")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no file can have such a name
        return False


def _sent_already() -> Inconclusive:
    said = "an earlier batch sent it and was cut short before its result was here: whether it is billed is not known"
    return Inconclusive(said, hint="--resend asks for it again (in Python: resend=True)")


def _entries(items: Iterable[BatchItem | str], provider: str) -> Iterator[_Entry]:
    seen: Counter[str] = Counter()
    for index, one in enumerate(items):
        item = BatchItem(one) if isinstance(one, str) else one
        said = [provider, item.task, item.prompt, [_digest(image) for image in item.images], sorted(item.terms.items()), item.name]
        digest = hashlib.sha256(json.dumps(said, default=_digest, sort_keys=True).encode()).hexdigest()[:32]
        seen[digest] += 1
        # Equal items are different pictures: the second of them is not done because the first is.
        yield _Entry(index, item, f"{digest}-{seen[digest]}")


def _usual_names(entry: _Entry, result: Result) -> list[str]:
    stem, several = f"{entry.item.name or 'item'}-{entry.index:04}", len(result.pictures) > 1
    endings = [ENDINGS.get(picture.format, picture.format) for picture in result.pictures]
    return [f"{stem}-{number}.{ending}" if several else f"{stem}.{ending}" for number, ending in enumerate(endings, 1)]


def _digest(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, Mask):
        return [_digest(value.picture), value.edits]
    try:
        image = as_input_image(value)
    except (UsageError, TypeError):
        return repr(value)
    return hashlib.sha256(image.data).hexdigest() if image.data else asdict(image)["url"]
