"""What the commands that get pictures do with them: names for their files, a look at them in the terminal, prompts from a file.

Where pictures are written: a name, or a template with what is known of each picture.

Pictures in terminals that can show them: kitty's graphics protocol, iTerm2's inline images, sixel. Which one a terminal has is told by its
environment; nothing is sent to ask it, for what a terminal answers would land among what a user types.

Prompts, one a line: a batch into a folder, which goes on from there when it is asked for again.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import string
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
from PIL import Image

from testcard.harness.cli import say
from testcard.harness.client.batch import BatchItem, BatchOutcome, run_batch
from testcard.harness.client.results import ENDINGS, Picture, Result
from testcard.harness.client.sync import Client
from testcard.harness.errors import Exit, UsageError, worst
from testcard.harness.text.words import amount, shortened
from testcard.specs.profile import Task
from testcard.specs.user_files import MOST_BYTES, content

#: what a template may name, and what it stands for
FIELDS = {
    "prompt": "the prompt",
    "seed": "the picture's seed, or the one asked for; random where there is none",
    "index": "the picture's number, over all prompts, from 1",
    "n": "the picture's number of its request, from 1",
    "model": "the model",
    "provider": "the provider's id",
    "operation": "the operation",
    "width": "pixels",
    "height": "pixels",
    "format": "png, jpg or webp",
}
_UNFIT = re.compile(r"[^\w.,+=@()-]+")
#: bytes that file systems bear in one name, with room for an ending
_LONGEST = 200
#: What is added to a name at most.
_MOST_ADDED = "-99.webp"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the pictures were asked for with."""

    prompt: str | None
    seed: int | None = None


class Template:
    """A file name with fields in braces, such as `{prompt:.20}-{seed}.png`; `UsageError` for one that cannot be filled in."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            named = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
            wrong = next((name for name in named if name not in FIELDS), None)
            if wrong is not None:
                raise UsageError(f"-o {text}: there is no {{{wrong}}}", hint="there are " + ", ".join(f"{{{name}}}" for name in FIELDS))
            self._filled(dict.fromkeys(FIELDS, "x") | dict.fromkeys(("index", "n", "width", "height"), 1))
        except (ValueError, IndexError, KeyError, AttributeError) as error:
            raise UsageError(f"-o {text}: {error}", hint="write fields as {prompt:.20} or {index:03}") from None

    @staticmethod
    def is_one(text: str) -> bool:
        """Whether a name is a template."""
        return "{" in text

    def name(self, result: Result, picture: Picture, asked: Asked, *, index: int, n: int) -> str:
        """The file name of one picture, with nothing in it that a file system takes amiss."""
        seed = picture.seed if picture.seed is not None else asked.seed
        known = {
            "prompt": asked.prompt or "",
            "seed": "random" if seed is None else str(seed),
            "model": result.model or "",
            "provider": result.provider,
            "operation": result.operation,
            "format": ENDINGS.get(picture.format, picture.format),
        }
        numbers = {"index": index, "n": n, "width": picture.width, "height": picture.height}
        folder, slash, _ = self.text.rpartition("/")
        words, text = {key: fit(value) for key, value in known.items()}, self.text[len(folder) + len(slash) :]
        name = self._filled({**words, **numbers}, text)
        # The prompt alone is shortened, so that a seed and an ending behind it stay.
        while (excess := len(name.encode()) - _LONGEST) > 0 and words["prompt"]:
            words["prompt"] = cut(words["prompt"], len(words["prompt"].encode()) - excess)
            name = self._filled({**words, **numbers}, text)
        return f"{folder}{slash}{cut(name, _LONGEST).strip(' .') or 'picture'}"

    def _filled(self, known: dict[str, object], text: str | None = None) -> str:
        return (self.text if text is None else text).format(**known)


def fit(text: str) -> str:
    """The text as part of a file name: words joined by hyphens, no slashes, no control characters."""
    return _UNFIT.sub("-", text).strip("-.") or "x"


def cut(text: str, most: int) -> str:
    """The text, shortened to so many bytes: file systems count those, and a letter may be several."""
    return text.encode()[: max(0, most)].decode(errors="ignore")


def refuse_to_overwrite(output: Path) -> None:
    """`UsageError`, before anything is paid for, where a file is there that the picture, or the first of several, would replace."""
    if is_device(output):
        return
    plain = [output] if output.suffix else [output.with_name(f"{output.name}.{ending}") for ending in ("png", "jpg", "webp")]
    taken = [path for one in plain for path in (one, one.with_name(f"{one.stem}-1{one.suffix}")) if path.exists()]
    if taken:
        raise UsageError(f"-o {taken[0]}: is there already", hint="name another file, or add --force to overwrite it")


def refuse_unwritable(output: Path | None) -> None:
    """`UsageError`, before anything is paid for, where no file of this name could be written, or of none in the present folder."""
    folder = output.absolute().parent if output is not None else Path.cwd()
    named = f"-o {output}" if output is not None else str(folder)
    try:
        if output is not None and not Template.is_one(str(output)):
            with suppress(FileNotFoundError, NotADirectoryError):
                os.lstat(f"{output}{_MOST_ADDED}")
        if not folder.is_dir() or (output is not None and output.is_dir()):
            return  # told in words of its own
        if output is not None and output.exists():
            with output.open("ab"):
                return
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{named}: {error.strerror}", hint="name a file in a folder that can be written, with -o") from None


def save(result: Result, output: Path | None, stem: str, asked: Asked, *, force: bool) -> list[Path]:
    """Writes each picture and returns where. `boat.png` becomes boat-1.png, boat-2.png for several; a template says its own names.

    Without a name, and under a template without `force`, nothing is overwritten: a number is added.
    """
    template = Template(str(output)) if output is not None and Template.is_one(str(output)) else None
    files: list[Path] = []
    for number, picture in enumerate(result.pictures, 1):
        ending = "." + ENDINGS.get(picture.format, picture.format)
        if template is not None:
            path = with_ending(Path(template.name(result, picture, asked, index=number, n=number)), ending)
            path = path if force else _free(path, files)
        elif output is None:
            path = _free(Path(stem + ending), ())
        else:
            path = with_ending(output, ending)
            if len(result.pictures) > 1 and not is_device(path):
                path = path.with_name(f"{path.stem}-{number}{path.suffix}")
        if path.suffix.lower() not in (ending, f".{picture.format}") and not is_device(path):
            say(f"{path} holds {picture.format}, whatever its name says")
        try:
            files.append(picture.save(path))
        except OSError as error:
            files.append(_saved_elsewhere(picture, path, ending, error))
    return files


def _saved_elsewhere(picture: Picture, path: Path, ending: str, error: OSError) -> Path:
    """The picture, which is paid for, in a file for whatever comes to hand; `UsageError` where there is no place for that either."""
    said = error.strerror or str(error)
    saved = _elsewhere(picture, ending, f"{path}: {said}")
    if saved is None:
        raise UsageError(f"{path}: {said}", hint="name another file with -o") from None
    return saved


def _elsewhere(picture: Picture, ending: str, said: str) -> Path | None:
    """Where the picture is now, after `said` kept it from its own place; None where it is nowhere."""
    try:
        handle, name = tempfile.mkstemp(suffix=ending, prefix="testcard-")
        os.close(handle)
        saved = picture.save(Path(name))
    except OSError:
        return None
    say(f"{said}; the picture is in {saved}")
    return saved


def with_ending(path: Path, ending: str) -> Path:
    """The path with the picture's ending, where it has none of its own and is no device."""
    return (
        path
        if is_device(path) or path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") or path.suffix[1:].isalpha()
        else path.with_name(path.name + ending)
    )


def is_device(path: Path) -> bool:
    """Whether something is there that takes bytes and keeps no file, such as /dev/null or a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _free(path: Path, taken: Sequence[Path]) -> Path:
    return next(one for one in _numbered(path) if not one.exists() and one not in taken)


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


Way = Literal["kitty", "iterm", "sixel"]
_LONGEST_PX = 480
#: kitty takes so many characters of base64 in one escape sequence
_CHUNK = 4096
_SIXEL_COLOURS = 64


def way_of(environment: Mapping[str, str]) -> Way | None:
    """How this terminal shows pictures; None where it does not, or where nothing tells. Inside tmux and screen none get through."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux", "dumb")):
        return None
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or program.lower() == "ghostty" or "ghostty" in term:
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    if "sixel" in term or term.startswith(("foot", "mlterm", "yaft")) or program == "contour":
        return "sixel"
    return None


def drawn(picture: Image.Image, way: Way) -> str:
    """What shows a small copy of the picture, with a line break behind it."""
    small = picture.convert("RGBA")
    small.thumbnail((_LONGEST_PX, _LONGEST_PX))
    if way == "sixel":
        ground = Image.new("RGBA", small.size, (255, 255, 255, 255))
        return _sixel(Image.alpha_composite(ground, small).convert("RGB")) + "\n"
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    if way == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(buffer.getvalue())};preserveAspectRatio=1:{encoded}\x07\n"
    return "".join(_kitty(encoded)) + "\n"


def _kitty(encoded: str) -> Iterator[str]:
    for start in range(0, len(encoded), _CHUNK):
        more = int(start + _CHUNK < len(encoded))
        head = f"a=T,f=100,q=2,m={more}" if start == 0 else f"m={more}"
        yield f"\x1b_G{head};{encoded[start : start + _CHUNK]}\x1b\\"


def _sixel(picture: Image.Image) -> str:
    """The picture in bands of six rows, each colour of a band in turn, equal columns run-length encoded."""
    few = picture.quantize(_SIXEL_COLOURS)
    palette = few.getpalette() or []
    width, height = few.size
    pixels = few.tobytes()
    parts = [f'\x1bPq"1;1;{width};{height}']
    for colour in range(len(palette) // 3):
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, 6):
        rows = [pixels[y * width : (y + 1) * width] for y in range(top, min(top + 6, height))]
        for colour in sorted(set(b"".join(rows))):
            columns = bytes(63 + sum(1 << bit for bit, row in enumerate(rows) if row[x] == colour) for x in range(width))
            parts.append(f"#{colour}{''.join(_runs(columns))}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\"


def _runs(columns: bytes) -> Iterator[str]:
    start = 0
    for x in range(1, len(columns) + 1):
        if x == len(columns) or columns[x] != columns[start]:
            count = x - start
            yield f"!{count}{chr(columns[start])}" if count > 3 else chr(columns[start]) * count
            start = x


# ── prompts from a file ───────────────────────────────────────────────────────────────────────────────────────────────


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file (`-`: of standard input), one a line; empty lines and those that begin with # are none."""
    try:
        text = (sys.stdin.read(MOST_BYTES + 1) if str(path) == "-" else content(path).decode("utf-8")).removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise UsageError(f"--prompts {path}: {said}", hint="name a text file with a prompt a line, or - for standard input") from None
    if len(text) > MOST_BYTES:
        raise UsageError(f"--prompts {path}: it is larger than {MOST_BYTES // 1024:,} KiB", hint="take several files")
    found = [line.strip() for line in text.split("\n")]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise UsageError(f"--prompts {path}: there is no prompt in it", hint="write one a line")
    return found


@dataclass(frozen=True, slots=True)
class Batching:
    """So many at once; `again`: also what is there; `resend`: also what an earlier batch sent and has no result of, as it was killed."""

    concurrency: int
    again: bool
    resend: bool


def carry_out(
    client: Client,
    prompts: Sequence[str],
    task: Task,
    terms: Mapping[str, Any],
    output: Path | None,
    how: Batching,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Gets the pictures of every prompt, writes them, and prints a line each; raises at the end where one failed."""
    folder, template = _place(output, f"{client.settings.provider.id}-{task}")
    items = [BatchItem(prompt, task, terms=dict(terms)) for prompt in prompts]

    def names(index: int, item: BatchItem, result: Result) -> list[str]:
        assert template is not None, "asked for only where there is one"
        asked = Asked(item.prompt, item.terms.get("seed"))
        found = []
        for number, picture in enumerate(result.pictures, 1):
            name = template.name(result, picture, asked, index=index + 1, n=number)
            ending = "." + ENDINGS.get(picture.format, picture.format)
            found.append(with_ending(Path(name), ending).name)
        return found

    done = 0

    def tell(outcome: BatchOutcome) -> None:
        nonlocal done
        done += 1
        if not quiet:
            say(f"{done}: {shortened(outcome.item.prompt or '', 60)}: {_came_to(outcome)}")
        if outcome.error is not None and outcome.result is not None:
            for picture in outcome.result.pictures:
                _elsewhere(picture, "." + ENDINGS.get(picture.format, picture.format), str(outcome.error))

    try:
        named = names if template is not None else None
        outcomes = run_batch(client, items, folder, on_outcome=tell, names=named, **asdict(how))
    except KeyboardInterrupt:
        say(f"{done} of {len(items)} prompts done; the same command goes on from {folder}")
        raise
    for outcome in outcomes:
        if as_json:
            error = None if outcome.error is None else str(outcome.error)
            files = [str(file) for file in outcome.files]
            click.echo(
                json.dumps(
                    {"index": outcome.index, "prompt": outcome.item.prompt, "files": files, "error": error, **(outcome.record or {})}
                )
            )
        else:
            for file in outcome.files:
                click.echo(f"{file}")
    _end(outcomes, folder, as_json=as_json)


def _place(output: Path | None, default: str) -> tuple[Path, Template | None]:
    """The folder of a batch and the names in it."""
    if output is None:
        return Path(default), None
    if not Template.is_one(str(output)):
        return output, None
    if Template.is_one(str(output.parent)):
        raise UsageError(f"-o {output}: the folder of a batch is one folder", hint="write fields into the file's name only")
    return output.parent, Template(output.name)


def _came_to(outcome: BatchOutcome) -> str:
    if outcome.error is not None:
        return str(outcome.error)
    assert outcome.result is not None, "told of as it ended"
    cost = outcome.result.cost_usd
    return f"{outcome.result.timings.total_s:.2f} s, {'no price known' if cost is None else amount(cost)}"


def _end(outcomes: Sequence[BatchOutcome], folder: Path, *, as_json: bool) -> None:
    """The last line; raises the worst of what went wrong, so that the exit code says it."""
    costs = [outcome.result.cost_usd for outcome in outcomes if outcome.result is not None]
    known = [cost for cost in costs if cost is not None]
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    left = [outcome for outcome in outcomes if not outcome.done and outcome.error is None]
    parts = [f"{sum(outcome.done for outcome in outcomes)} of {len(outcomes)} prompts done"]
    earlier = sum(outcome.earlier for outcome in outcomes)
    parts += [f"{earlier} of them before"] if earlier else []
    if costs:
        parts.append(amount(sum(known)) if known else "no price known")
    if not as_json:
        click.echo(", ".join(parts))
    if not failed:
        return
    say(f"{len(failed)} failed" + (f", {len(left)} were not begun" if left else "") + f"; the same command goes on from {folder}")
    code = worst([Exit(error.exit_code) for error in failed])
    raise next(error for error in failed if error.exit_code == code)
