"""`testcard generate`, `edit`, `variation` and `describe`: the reference client as commands."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import click

from testcard.harness.cli import say
from testcard.harness.cli.options import CONFIG, PATH, SECONDS, WhereAndKey, option, takes
from testcard.harness.client.http import DEFAULT_TIMEOUT_S
from testcard.harness.client.results import Picture, Result
from testcard.harness.client.sync import Client
from testcard.harness.client.terms import task_request
from testcard.harness.config import load_config
from testcard.harness.errors import UsageError
from testcard.harness.progress import PLAIN_INTERVAL_S
from testcard.harness.targets import named_target, open_target
from testcard.harness.text.prices import amount
from testcard.harness.text.words import data_size
from testcard.harness.wire.contract import choose
from testcard.specs.loader import load_provider
from testcard.specs.profile import Task

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ENDINGS = {"jpeg": "jpg"}


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | str | None:
    """A size as WIDTHxHEIGHT in pixels, or a word that the provider documents."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)[xX×](\d+)", value)
    if match:
        return int(match[1]), int(match[2])
    if not re.fullmatch(r"[A-Za-z][\w-]*", value):
        raise click.BadParameter(f"{value} is no size; write it as 512x512", ctx, param)
    return value


def _fields(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, Any] | None:
    """Further fields by wire name: each value as the JSON that it is, else as text."""
    found: dict[str, Any] = {}
    for pair in value:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{pair} is no field; write it as name=value", ctx, param)
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found or None


@dataclass(frozen=True, slots=True)
class _Target(WhereAndKey):
    """Whom to ask for what, and how long to wait."""

    operation: Annotated[str | None, option("--operation", metavar="ID", help="The operation, where the provider has several.")] = None
    model: Annotated[str | None, option("--model", "-m", metavar="M", help="The model to ask for.")] = None
    timeout_s: Annotated[
        float,
        option("--timeout", type=SECONDS, show_default=True, metavar="S", help="Seconds for each request, poll and download."),
    ] = DEFAULT_TIMEOUT_S
    config_file: Annotated[Path | None, option(*CONFIG[0], **CONFIG[1])] = None


@dataclass(frozen=True, slots=True)
class _Talk:
    """How much is said."""

    quiet: Annotated[bool, option("--quiet", "-q", is_flag=True, help="No talk on stderr, only errors.")] = False
    as_json: Annotated[bool, option("--json", is_flag=True, help="Print the result as one JSON object.")] = False


@dataclass(frozen=True, slots=True)
class _PictureTerms:
    """What pictures are to be like; what is None is not sent. The names are those of `harness.client.terms.Terms`."""

    size: Annotated[
        Any, option("--size", "-s", callback=_size, metavar="WxH", help="Size in pixels, or a word the provider knows (auto).")
    ] = None
    n: Annotated[int | None, option("--n", "-n", type=click.IntRange(min=1), metavar="N", help="How many pictures.")] = None
    seed: Annotated[
        int | None, option("--seed", type=int, metavar="N", help="Same seed, same picture, where the provider promises it.")
    ] = None
    format: Annotated[str | None, option("--format", metavar="F", help="png, jpeg or webp.")] = None
    delivery: Annotated[
        str | None,
        option("--delivery", type=click.Choice(["url", "base64", "binary"]), help="How pictures travel; addresses are downloaded."),
    ] = None
    negative_prompt: Annotated[str | None, option("--negative-prompt", metavar="TEXT", help="What not to show.")] = None
    steps: Annotated[int | None, option("--steps", type=int, metavar="N", help="Denoising steps.")] = None
    guidance: Annotated[float | None, option("--guidance", type=float, metavar="X", help="How closely to keep to the prompt.")] = None
    quality: Annotated[str | None, option("--quality", metavar="WORD", help="A quality that the provider knows.")] = None
    aspect_ratio: Annotated[str | None, option("--aspect-ratio", metavar="W:H", help="The shape, where the provider takes one.")] = None
    style: Annotated[str | None, option("--style", metavar="WORD", help="A style that the provider knows.")] = None
    stream: Annotated[bool | None, option("--stream", is_flag=True, help="Have pictures streamed, where the provider streams them.")] = None
    asynchronous: Annotated[bool | None, option("--async", is_flag=True, help="Submit as a task and poll until it ends.")] = None
    extra: Annotated[
        dict[str, Any] | None,
        option("--field", callback=_fields, multiple=True, metavar="NAME=VALUE", help="A further field by its wire name; JSON or text."),
    ] = None


@dataclass(frozen=True, slots=True)
class _Work:
    """What is asked for: a task with its inputs and its terms."""

    task: Task
    prompt: str | None
    images: tuple[str, ...] = ()
    mask: str | None = None
    terms: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the client is to work: the provider, the target, and how much is said."""

    provider: str
    target: _Target
    talk: _Talk


def _picture_command(command: _Command) -> _Command:
    """The options of a command that gets pictures."""
    force = click.option("--force", is_flag=True, help="Overwrite the file that -o names.")
    output = click.option("--output", "-o", type=PATH, metavar="FILE", help="Where to write; -1, -2, … are added for several.")
    return takes("picture", _PictureTerms)(output(force(takes("target", _Target)(takes("talk", _Talk)(command)))))


@click.command()
@click.argument("provider", metavar="PROVIDER[=URL]")
@click.argument("prompt")
@_picture_command
def generate(provider: str, prompt: str, picture: _PictureTerms, output: Path | None, force: bool, target: _Target, talk: _Talk) -> None:
    """Generate pictures from PROMPT with PROVIDER (a bundled id, or a folder with its two files).

    Example: testcard generate nanogpt "a red boat" --size 512x512 -o boat.png
    """
    _pictures(_Work("generate", prompt, terms=asdict(picture)), _Place(provider, target, talk), output, force)


@click.command()
@click.argument("provider", metavar="PROVIDER[=URL]")
@click.argument("image")
@click.argument("prompt")
@click.option("--image", "more", multiple=True, metavar="FILE", help="A further input picture.")
@click.option("--mask", metavar="FILE", help="Where to edit; what its colours mean is the provider's to say.")
@click.option("--strength", type=float, metavar="X", help="How far from the input picture to go.")
@_picture_command
def edit(
    provider: str,
    image: str,
    prompt: str,
    more: tuple[str, ...],
    mask: str | None,
    strength: float | None,
    picture: _PictureTerms,
    output: Path | None,
    force: bool,
    target: _Target,
    talk: _Talk,
) -> None:
    """Edit IMAGE (a file) as PROMPT says.

    Example: testcard edit nebul boat.png "at night" -o night.png
    """
    work = _Work("edit", prompt, (image, *more), mask, {**asdict(picture), "strength": strength})
    _pictures(work, _Place(provider, target, talk), output, force)


@click.command()
@click.argument("provider", metavar="PROVIDER[=URL]")
@click.argument("image")
@_picture_command
def variation(provider: str, image: str, picture: _PictureTerms, output: Path | None, force: bool, target: _Target, talk: _Talk) -> None:
    """Make pictures like IMAGE (a file).

    Example: testcard variation nebul boat.png -o another.png
    """
    _pictures(_Work("variation", None, (image,), terms=asdict(picture)), _Place(provider, target, talk), output, force)


@click.command()
@click.argument("provider", metavar="PROVIDER[=URL]")
@click.argument("image")
@click.argument("prompt", default="Describe this picture.")
@click.option("--image", "more", multiple=True, metavar="FILE", help="A further input picture.")
@click.option("--stream/--no-stream", default=True, show_default=True, help="Print the text as it arrives.")
@click.option("--max-tokens", type=int, metavar="N", help="The longest answer.")
@click.option("--temperature", type=float, metavar="X", help="How freely to choose words.")
@takes("target", _Target)
@takes("talk", _Talk)
def describe(
    provider: str,
    image: str,
    prompt: str,
    more: tuple[str, ...],
    stream: bool,
    max_tokens: int | None,
    temperature: float | None,
    target: _Target,
    talk: _Talk,
) -> None:
    """Describe IMAGE (a file, or an address where the provider takes one) in words, answering PROMPT.

    Example: testcard describe nvidia-nim-vision boat.png "What colour is it?"
    """
    work = _Work("describe", prompt, (image, *more), terms={"max_tokens": max_tokens, "temperature": temperature})
    with _client(work, _Place(provider, target, talk)) as (client, terms):
        if stream and not talk.as_json:
            with client.describe(work.images, prompt, stream=True, operation=target.operation, **terms) as pieces:
                for piece in pieces:
                    sys.stdout.write(_printable(piece))
                    sys.stdout.flush()
                result = pieces.finish()
            click.echo()
        else:
            result = client.describe(work.images, prompt, operation=target.operation, **terms)
            click.echo(json.dumps(result.record(), indent=2) if talk.as_json else _printable(result.text or ""))
    if not talk.quiet:
        for note in [*result.notes, _summary(result)]:
            say(note)


@contextmanager
def _client(work: _Work, place: _Place) -> Iterator[tuple[Client, Any]]:
    """A client for the target that the options name, and the terms to call it with.

    What the contract refuses is refused before anything is started.
    """
    config, target = load_config(place.target.config_file), place.target
    name, url = named_target(place.provider)
    if url is not None and target.base_url is not None:
        raise UsageError("the base URL is given twice", hint=f"leave --base-url out, or write {name} alone")
    base_url = url or target.base_url
    terms: Any = {name: value for name, value in {**(work.terms or {}), "model": target.model}.items() if value is not None}
    provider = load_provider(name, config.providers.path)
    choose(provider, task_request(work.task, work.prompt, work.images, work.mask, **terms), target.operation)
    if base_url is None and not place.talk.quiet:
        say(f"no base URL: starting the embedded mock of {provider.profile.name}; its pictures are test cards")
    with (
        open_target(name, base_url, config=config, live=target.live, key_file=target.api_key_file, no_auth=target.no_auth) as opened,
        Client(
            opened.provider,
            base_url=opened.base_url,
            api_key=opened.api_key,
            no_auth=opened.api_key is None,
            pricing=opened.pricing,
            timeout_s=target.timeout_s,
            live=target.live,
        ) as client,
    ):
        yield client, terms


def _pictures(work: _Work, place: _Place, output: Path | None, force: bool) -> None:
    """Gets the pictures, writes them, and prints where they are."""
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        problem = "is a folder" if output.is_dir() else "its folder does not exist"
        raise UsageError(f"-o {output}: {problem}", hint="name a file in a folder that exists, such as boat.png")
    if output is not None and not force:
        _refuse_to_overwrite(output)
    operation = place.target.operation
    with _client(work, place) as (client, terms), _waiting(client, place.talk.quiet):
        if work.task == "generate":
            asked = client.generate(work.prompt or "", operation=operation, **terms)
            result = asked if isinstance(asked, Result) else asked.finish()
        elif work.task == "edit":
            result = client.edit(work.images, work.prompt or "", mask=work.mask, operation=operation, **terms)
        else:
            result = client.variation(work.images[0], operation=operation, **terms)
    files = _save(result.pictures, output, f"{named_target(place.provider)[0].rstrip('/').rpartition('/')[2]}-{work.task}")
    if not place.talk.quiet:
        for note in [*result.notes, *_size_notes(result, terms.get("size"))]:
            say(note)
    if place.talk.as_json:
        click.echo(json.dumps({**result.record(), "files": [str(file) for file in files]}, indent=2))
        return
    for file, picture in zip(files, result.pictures, strict=True):
        seed = f", seed {picture.seed}" if picture.seed is not None else ""
        click.echo(f"{file}: {picture.format} {picture.width}x{picture.height}, {data_size(len(picture.data))}{seed}")
    click.echo(_summary(result))


def _refuse_to_overwrite(output: Path) -> None:
    """`UsageError`, before anything is paid for, where a file is there that the picture, or the first of several, would replace."""
    plain = [output] if output.suffix else [output.with_name(f"{output.name}.{ending}") for ending in ("png", "jpg", "webp")]
    taken = [path for one in plain for path in (one, one.with_name(f"{one.stem}-1{one.suffix}")) if path.exists()]
    if taken:
        raise UsageError(f"-o {taken[0]}: is there already", hint="name another file, or add --force to overwrite it")


def _save(pictures: Sequence[Picture], output: Path | None, stem: str) -> list[Path]:
    """Writes each picture; `boat.png` becomes boat-1.png, boat-2.png for several. Without a name nothing is overwritten."""
    files = []
    for number, picture in enumerate(pictures, 1):
        ending = "." + _ENDINGS.get(picture.format, picture.format)
        if output is None:
            path, attempt = Path(stem + ending), 1
            while path.exists():
                attempt += 1
                path = Path(f"{stem}-{attempt}{ending}")
        else:
            path = output if output.suffix else output.with_name(output.name + ending)
            if len(pictures) > 1:
                path = path.with_name(f"{path.stem}-{number}{path.suffix}")
            if path.suffix.lower() not in (ending, f".{picture.format}"):
                say(f"{path} holds {picture.format}, whatever its name says")
        try:
            files.append(picture.save(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="name another file with -o") from None
    return files


def _size_notes(result: Result, size: Any) -> list[str]:
    if not isinstance(size, tuple):
        return []
    others = {(picture.width, picture.height) for picture in result.pictures} - {size}
    return [f"{size[0]}x{size[1]} was asked for and {width}x{height} came" for width, height in sorted(others)]


def _summary(result: Result) -> str:
    parts = [f"{result.operation}" + (f" ({result.model})" if result.model else ""), f"{result.timings.total_s:.2f} s"]
    if result.timings.first_token_s is not None:
        parts.append(f"first token after {result.timings.first_token_s:.2f} s")
    if result.usage is not None and result.usage.total_tokens is not None:
        parts.append(f"{result.usage.total_tokens} tokens")
    if result.cost_usd is None:
        parts.append("no price known")
    else:
        whose = {"answer": "as the answer states", "illustrative": "illustrative price", "list": "list price", "config": "your price"}
        parts.append(f"{amount(result.cost_usd)} ({whose.get(result.price_origin, result.price_origin)})")
    return ", ".join(parts)


def _printable(text: str) -> str:
    """The text without control sequences: a terminal would obey what a stranger's model says."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


@contextmanager
def _waiting(client: Client, quiet: bool) -> Iterator[None]:
    """While the target works: a spinner on a terminal, one line every ten seconds elsewhere."""
    name = client.settings.provider.profile.name
    if quiet:
        yield
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(f"waiting for {name}"):
            yield
    else:
        done = threading.Event()
        thread = threading.Thread(target=_tell_time, args=(name, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _tell_time(name: str, done: threading.Event) -> None:
    waited_s = 0.0
    while not done.wait(PLAIN_INTERVAL_S):
        waited_s += PLAIN_INTERVAL_S
        say(f"waiting for {name}, {waited_s:.0f} s")
