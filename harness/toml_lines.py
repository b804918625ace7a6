"""TOML data together with the line of every key, so that an error in a person's file can point at it.

tomllib tells the line of broken syntax but of nothing that it has read, and no library keeps the places of what it reads. So
tomllib reads, and a scanner goes over the text that it found valid and notes where each key, table and entry stands.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcard.harness.errors import UsageError
from testcard.specs.user_files import content

#: A configuration, a workload, a list of waivers is no larger.
MOST_BYTES = 4 * 1024 * 1024

Pointer = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: A quoted string; three quotes before one, or the empty string would be found in their place.
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|' + r"'''.*?'''(?:'{0,2})|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'", re.DOTALL)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]*")  # a number, a date, true or false


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A TOML document: its data, and for each path of keys and indexes the line (from 1) where it stands."""

    path: Path
    data: dict[str, Any]
    lines: dict[Pointer, int]

    def line(self, pointer: Pointer) -> int:
        """Line of what `pointer` names, or of its nearest parent that the file writes out."""
        while pointer and pointer not in self.lines:
            pointer = pointer[:-1]
        return self.lines.get(pointer, 1)

    def place(self, pointer: Pointer) -> str:
        """`file:line: key`, as editors and compilers have it."""
        return f"{self.path}:{self.line(pointer)}" + (f": {'.'.join(map(str, pointer))}" if pointer else "")


def read_toml(path: Path) -> TomlFile:
    """The file with its lines; `UsageError` naming the file, and the line where there is one, when it cannot be read."""
    try:
        text = content(path, MOST_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
        data = tomllib.loads(text)
        lines = key_lines(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file", hint="is the path right? It counts from the working folder") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is no UTF-8", hint="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_where(path, text, str(error)), hint="https://toml.io shows how TOML is written") from None
    except RecursionError:
        raise UsageError(f"{path}:{_deepest(text)}: is nested too deeply to be read") from None
    except (ValueError, OverflowError) as error:  # a number of thousands of digits
        digits = re.search(r"\d{4000}", text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else 1
        raise UsageError(f"{path}:{line}: {'a number has too many digits' if digits else error}") from None
    return TomlFile(path, data, lines)


def _deepest(text: str) -> int:
    """The line with the most brackets, or dots in a name."""
    counts = [sum(map(line.count, "[{.")) for line in text.splitlines()] or [0]
    return counts.index(max(counts)) + 1


def _where(path: Path, text: str, said: str) -> str:
    """tomllib's sentence with the place in front, as all our errors have it."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", said)
    if found:
        return f"{path}:{found[2]}: {found[1]} in column {found[3]}"
    return f"{path}:{len(text.splitlines()) or 1}: {said.replace('(at end of document)', 'at the end of the file')}"


def key_lines(text: str) -> dict[Pointer, int]:
    """The line (from 1) of every key, table and array entry of a valid TOML document, by its path; `()` is line 1."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    """Goes once over a document that tomllib has read without complaint."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._found: dict[Pointer, int] = {(): 1}
        self._entries: dict[Pointer, int] = {}  # of each array of tables: how many tables it has by now

    def scan(self) -> dict[Pointer, int]:
        table: Pointer = ()
        self._skip(_BLANK_LINES)
        while self._at < len(self._text):
            if self._takes("[["):
                *above, last = self._key()
                table = (*self._table(above), last)
                self._note(table)
                number = self._entries.get(table, 0)
                self._entries[table] = number + 1
                table = (*table, number)
                self._note(table)
                self._at += 2
            elif self._takes("["):
                table = self._table(self._key())
                self._at += 1
            else:
                self._pair(table)
            self._skip(_BLANK_LINES)
        return self._found

    def _table(self, keys: list[str]) -> Pointer:
        """The path that a header's keys mean: within an array of tables its latest table."""
        path: Pointer = ()
        for key in keys:
            path = (*path, key)
            self._note(path)
            if path in self._entries:
                path = (*path, self._entries[path] - 1)
        return path

    def _pair(self, path: Pointer) -> None:
        for key in self._key():
            path = (*path, key)
            self._note(path)
        self._at += 1  # =
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Pointer) -> None:
        if self._takes("["):
            number = 0
            self._skip(_BLANK_LINES)
            while not self._takes("]"):
                self._note((*path, number))
                self._value((*path, number))
                self._next_of_several()
                number += 1
        elif self._takes("{"):
            self._skip(_BLANK_LINES)
            while not self._takes("}"):
                self._pair(path)
                self._next_of_several()
        elif string := _STRING.match(self._text, self._at):
            self._at = string.end()
        else:
            self._skip(_OTHER_VALUE)

    def _next_of_several(self) -> None:
        self._skip(_BLANK_LINES)
        self._takes(",")
        self._skip(_BLANK_LINES)

    def _key(self) -> list[str]:
        """The parts of a dotted key, unquoted; leaves the position at what follows it."""
        parts = []
        while True:
            self._skip(_BLANK)
            found = _BARE_KEY.match(self._text, self._at) or _STRING.match(self._text, self._at)
            assert found is not None, "tomllib has read this"
            self._at = found.end()
            parts.append(found[0] if found[0][0] not in "\"'" else str(tomllib.loads(f"key = {found[0]}")["key"]))
            self._skip(_BLANK)
            if not self._takes("."):
                return parts

    def _note(self, path: Pointer) -> None:
        """Notes that `path` stands here, where it does not stand further up."""
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        self._found.setdefault(path, self._line)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _takes(self, token: str) -> bool:
        there = self._text.startswith(token, self._at)
        self._at += len(token) if there else 0
        return there
