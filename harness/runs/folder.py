"""A run folder on disk: created, appended to, sealed, and read back. Nothing recorded is ever rewritten but run.json."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from io import RawIOBase
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal

import msgspec

from testcard.harness.errors import Exit, Interrupted, TestcardError, UsageError
from testcard.harness.redaction import redacted, redacted_bytes
from testcard.harness.runs.reading import CHANGED, content, decoded, lines, record
from testcard.harness.runs.records import Body, Environment, Exchange, Outcome, Run, Saturations, Summary, TargetRecord, Verdicts
from testcard.harness.stops import Stop, StopReason

INLINE_BYTES = 4096
RULESET_VERSION = "2026.11"
_EXCHANGE_NUMBER = re.compile(r"e([0-9]{1,18})")
#: Room for run.json, kept so that the end of a run can be written on a disk that has become full.
_RESERVE = ".reserve"
_RESERVE_BYTES = 64 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: With less room than this nothing is sent whose answers could not be kept.
_LEAST_FREE_BYTES = 1024 * 1024
_ANOTHER = "name another folder with --out"
_RECORDED_PACKAGES = ("testcard", "httpx", "locust", "geventhttpclient", "schemathesis", "openapi-core", "pillow")


def utc_now() -> str:
    """The present moment in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tool_version() -> str:
    """The installed version of Testcard."""
    try:
        return metadata.version("testcard")
    except metadata.PackageNotFoundError:
        return "0+source"


def environment() -> Environment:
    """This machine, as far as a comparison of runs needs it."""
    packages = {}
    for name in _RECORDED_PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu_count=os.cpu_count() or 1,
        packages=packages,
    )


class RunWriter:
    """A run folder being written. Appending is safe from several threads; every append reaches the file at once.

    As a context manager it seals the run however the block ends: an error or Ctrl-C that leaves the block before `finish` was
    called is written down as the run's end (see `_ending`), so that run.json never says `running` of a command that is over.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder
        self.run = run
        self._lock = threading.Lock()
        self._written: set[str] = set()

    @classmethod
    def create(
        cls,
        folder: Path,
        kind: Literal["check", "bench", "report", "evaluate", "selftest"],
        *,
        targets: Sequence[TargetRecord] = (),
        config: dict[str, Any] | None = None,
        seed: int | None = None,
        region: str | None = None,
    ) -> RunWriter:
        """A new folder with its run.json (outcome `running`); `UsageError` when it holds something else or cannot be written."""
        require_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}", hint=_ANOTHER) from None
        run = Run(
            kind=kind,
            tool_version=tool_version(),
            ruleset_version=RULESET_VERSION,
            started=utc_now(),
            seed=seed,
            region=region,
            targets=list(targets),
            config=config or {},
            environment=environment(),
        )
        writer = cls(folder, run)
        try:
            writer._claim()
        except FileExistsError:
            raise UsageError(f"{folder} is another run's, which began at the same moment", hint=_ANOTHER) from None
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}", hint=_ANOTHER) from None
        return writer

    def _claim(self) -> None:
        """Takes the folder: of two runs that find it empty at the same moment, one has its run.json there first, and whole."""
        own = self.folder / f".run.json.{os.getpid()}.{threading.get_ident()}.part"
        try:
            own.write_bytes(_pretty(self.run))
            try:
                os.link(own, self.folder / "run.json")
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                with (self.folder / "run.json").open("xb") as file:
                    file.write(_pretty(self.run))
            with suppress(OSError):
                (self.folder / _RESERVE).write_bytes(bytes(_RESERVE_BYTES))
        finally:
            with suppress(OSError):
                own.unlink(missing_ok=True)

    def update(self, **changes: Any) -> None:
        """Replaces fields of run.json, atomically; on a full disk in the room that was kept for it."""
        with self._lock, self._there():
            self.run = msgspec.structs.replace(self.run, **changes)
            try:
                _put(self.folder / "run.json", _pretty(self.run))
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._give_way()
                _put(self.folder / "run.json", _pretty(self.run))

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Says of a folder that was removed, renamed or replaced in the middle of a run that it was: that is no mistake of ours."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            said = "the run folder was removed or renamed while the run went on"
            raise OSError(errno.EIO, said, str(self.folder)) from None

    def _give_way(self) -> None:
        """Gives back the room that was kept for the end of the run."""
        with suppress(OSError):
            (self.folder / _RESERVE).unlink(missing_ok=True)

    def add_file(self, kind: str, name: str) -> Path:
        """Path of a file in the folder, listed in run.json under `kind`."""
        if self.run.files.get(kind) != name:
            self.update(files={**self.run.files, kind: name})
        return self.folder / name

    def write(self, kind: str, name: str, record: msgspec.Struct) -> Path:
        """Writes one record as indented JSON and lists it."""
        path = self.add_file(kind, name)
        _put(path, _pretty(record))
        return path

    def write_text(self, kind: str, name: str, text: str) -> Path:
        """Writes a text, as it is but for keys, and lists it. A byte of a file's name that UTF-8 has not becomes a question mark."""
        path = self.add_file(kind, name)
        _put(path, redacted(text).encode("utf-8", "replace"))
        return path

    def body(self, content: bytes) -> Body:
        """The record of a body; one over 4 KiB goes to bodies/, once for each content."""
        if len(content) <= INLINE_BYTES:
            try:
                return Body(size=len(content), text=content.decode("utf-8"))
            except UnicodeDecodeError:
                return Body(size=len(content), base64=base64.b64encode(content).decode("ascii"))
        digest = hashlib.sha256(content).hexdigest()
        with self._lock, self._there():  # another thread's exchange may name the same body, and has to find all of it
            if digest not in self._written:
                place = self.folder / "bodies"
                place.mkdir(exist_ok=True)
                _put(place / digest, content)
                self._written.add(digest)
        return Body(size=len(content), sha256=digest)

    def append(self, exchange: Exchange) -> None:
        """Appends one exchange to exchanges.jsonl."""
        path = self.add_file("exchanges", "exchanges.jsonl")
        line = _encoded(exchange) + b"\n"
        with self._lock, self._there(), path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_whole(file, line)
            except OSError:
                with suppress(OSError):  # a full disk: what fits later must not stand behind half a line
                    file.truncate(before)
                raise

    def finish(self, outcome: Outcome, exit_code: int, reason: str | None = None, stops: Sequence[Stop] = ()) -> None:
        """Seals run.json with how the run ended, and why it ended early where it did.

        Once more only changes what it says of the end, never when that was.
        """
        self._give_way()
        self.update(outcome=outcome, exit_code=int(exit_code), reason=reason, stops=list(stops), ended=self.run.ended or utc_now())

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.run.outcome == "running":
            with suppress(OSError):  # a full disk: what ended the run is what the command tells of
                outcome, code, reason = _ending(error)
                self.finish(outcome, code, reason, [Stop(reason=StopReason.INTERRUPTED)] if outcome == "interrupted" else [])


def _ending(error: BaseException | None) -> tuple[Outcome, Exit, str]:
    """How a run ended that nobody sealed."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit | Interrupted):
        return "interrupted", Exit.INTERRUPTED, "interrupted"
    if isinstance(error, TestcardError):
        return "error", Exit(int(error.exit_code)), error.message
    return "error", Exit.INTERNAL, f"{type(error).__name__}: {error}" if error is not None else "it ended without saying how"


class RunReader:
    """A run folder that was written before. `UsageError`, with file and line, when it is none or holds what does not fit its schema.

    Of a run that never ended in good order (killed, interrupted, a full disk) what is there is read, and a last line that was cut
    off is left out. A run that did end holds everything that its run.json lists, whole.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        path = self.folder / "run.json"
        if not _lies_there(path):
            raise UsageError(f"{folder} is no run folder: it holds no run.json", hint="name a folder that check, bench or evaluate wrote")
        self.run: Run = record(path, Run)

    @property
    def is_whole(self) -> bool:
        """Whether the run came to its end, so that all it lists has to be there."""
        return self.run.outcome in ("pass", "fail", "inconclusive")

    def path(self, kind: str) -> Path | None:
        """Path of the file of a kind, or None when the run has none."""
        name = self.run.files.get(kind)
        if not name or not _stays_inside(name):
            return None
        return self.folder / name if _lies_there(self.folder / name) else None

    def evidence(self, kind: str) -> Path | None:
        """As `path`; `UsageError` where a run that came to its end lists the file and has lost it."""
        path = self.path(kind)
        if path is None and self.is_whole and kind in self.run.files:
            raise UsageError(f"{self.folder / self.run.files[kind]} is missing: run.json lists it", hint=CHANGED)
        return path

    def exchanges(self) -> Iterator[Exchange]:
        """The recorded exchanges in plan order; a last line cut off by a kill is left out."""
        return iter(in_plan_order(self._recorded()))

    def _recorded(self) -> Iterator[Exchange]:
        path = self.evidence("exchanges")
        if path is None:
            return
        decoder = msgspec.json.Decoder(Exchange)
        for number, line in lines(path):
            if not line.endswith(b"\n"):
                if self.is_whole:
                    raise UsageError(f"{path}:{number}: the line is cut off", hint=CHANGED)
                return
            yield decoded(line, decoder, path, number)

    def bytes_of(self, body: Body) -> bytes:
        """The whole content of a recorded body."""
        try:
            if body.text is not None:
                return body.text.encode()
            if body.base64 is not None:
                return base64.b64decode(body.base64)
        except ValueError as error:
            raise UsageError(f"{self.folder / 'exchanges.jsonl'}: a body is unreadable: {error}", hint=CHANGED) from None
        if body.sha256 is None or not re.fullmatch(r"[0-9a-f]{64}", body.sha256):
            raise UsageError(f"{self.folder / 'exchanges.jsonl'}: a body has no content", hint=CHANGED)
        path = self.folder / "bodies" / body.sha256
        found = content(path)
        if hashlib.sha256(found).hexdigest() != body.sha256:
            raise UsageError(f"{path}: its content has another sha256", hint=CHANGED)
        return found

    def verdicts(self) -> Verdicts | None:
        """verdicts.json, or None."""
        path = self.evidence("verdicts")
        return record(path, Verdicts) if path else None

    def summary(self) -> Summary | None:
        """summary.json, or None."""
        path = self.evidence("summary")
        return record(path, Summary) if path else None

    def saturations(self) -> Saturations | None:
        """saturation.json, what a search for the highest rate found, or None."""
        path = self.evidence("saturation")
        return record(path, Saturations) if path else None

    def children(self) -> list[RunReader]:
        """The runs inside an `evaluate` folder."""
        return [
            RunReader(self.folder / name)
            for name in self.run.children
            if _stays_inside(name) and _lies_there(self.folder / name / "run.json")
        ]


def in_plan_order(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """The exchanges in the order of the plan that they were sent for, whichever of them ended first.

    The number in an id is the place in the plan; those of one request, such as its polls, stay as they were recorded. Addresses
    that were asked once more when all was done (`.again`) come last.
    """
    return sorted(exchanges, key=_place_in_plan)


def _place_in_plan(exchange: Exchange) -> tuple[bool, int]:
    number = _EXCHANGE_NUMBER.match(exchange.id)
    return ".again" in exchange.id, int(number.group(1)) if number is not None else 0


def _lies_there(path: Path) -> bool:
    """Whether there is something of that name: a file, or what stands in its place. A name that cannot be one is nothing."""
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL
        return False


def _put(path: Path, data: bytes) -> None:
    """The file with this content, whole or not at all: a kill never leaves half of it."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _write_whole(file: RawIOBase, data: bytes) -> None:
    """All of it, in one call of the system where that takes it: a kill leaves the whole or nothing."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _stays_inside(name: str) -> bool:
    """Whether a path from run.json stays below its folder: a run from a stranger must not open other files."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


def _encoded(record: msgspec.Struct) -> bytes:
    """The record as JSON, without keys. A lone surrogate, which a stranger's JSON may hold and UTF-8 cannot, becomes a question mark."""
    try:
        return redacted_bytes(msgspec.json.encode(record))
    except UnicodeEncodeError:
        return redacted_bytes(json.dumps(msgspec.to_builtins(record), ensure_ascii=False).encode("utf-8", "replace"))


def _pretty(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(_encoded(record), indent=2) + b"\n"


def require_free(folder: Path) -> None:
    """`UsageError` where a run cannot be written to this folder: it holds something, is a file, or its place is not writable.

    Changes nothing, so that a command can find out before it starts anything.
    """
    try:
        if folder.is_dir():
            if any(folder.iterdir()):
                raise UsageError(f"{folder} is not empty", hint="a run is evidence and is never overwritten: name a new folder with --out")
        elif folder.exists():
            raise UsageError(f"{folder} is a file", hint=_ANOTHER)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}", hint=_ANOTHER) from None
    place = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    if not place.is_dir():
        raise UsageError(f"{folder} cannot be written: {place} is a file", hint=_ANOTHER)
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written: {os.strerror(errno.EACCES)}", hint=_ANOTHER)
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return
    if free < _LEAST_FREE_BYTES:
        raise UsageError(f"{folder} cannot be written: only {free // 1024} KiB are free there", hint=f"make room, or {_ANOTHER}")


def default_folder(kind: str, parent: Path = Path("testcard-runs")) -> Path:
    """A new, empty folder for a run, named after its kind and the time, with a number when another run has that name.

    It is made here, so that of two runs that start in the same second each has its own.
    """
    stem = f"{kind}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise UsageError(f"{folder} cannot be written: {parent} is a file", hint=_ANOTHER) from None
            number += 1
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}", hint=_ANOTHER) from None
        else:
            return folder
