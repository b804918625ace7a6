"""`testcard init`: a commented testcard.toml for somebody's own targets and, if wanted, the file that makes CI check them.

`init provider` begins a provider instead; it belongs to this group and lives in a module of its own.
"""

from __future__ import annotations

import errno
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from testcard.harness.cli import say
from testcard.harness.cli.options import MODEL, PATH, PROVIDER, USD, option, takes
from testcard.harness.config import FILE_NAME, Config, read_as
from testcard.harness.errors import UsageError
from testcard.harness.extras import resolve
from testcard.harness.targets import checked_base_url, is_loopback, named_target
from testcard.specs.loader import Provider, known_ids, load_provider

#: subcommand → (where it is, its help line)
SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "provider": ("testcard.harness.cli.init_provider:provider", "Propose the profile.yaml of an API from its OpenAPI document."),
}
#: What a first live check may come to, where nothing else is said.
LIVE_REQUESTS = 60
CI_FILES = {"github": Path(".github/workflows/testcard.yml"), "gitlab": Path(".gitlab-ci.yml")}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """`UsageError` where a file of the user's own cannot be written: its place is theirs to name."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise  # the machine's own, told as that
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name another folder with --out") from None


class _Group(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(SUBCOMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table's own help lines, so that --help imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported now; None when the table has no such name."""
        entry = SUBCOMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = resolve(entry[0])
        return command


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the file is to say."""

    targets: Annotated[
        tuple[str, ...],
        option("--target", type=PROVIDER, multiple=True, metavar="PROVIDER[=URL]", help="A target; again for more. Asked for if left out."),
    ] = ()
    models: Annotated[
        tuple[str, ...], option("--model", type=MODEL, multiple=True, metavar="M", help="A model to ask each target for.")
    ] = ()
    live: Annotated[bool, option("--live", is_flag=True, help="Targets off this machine may be talked to, within the limits.")] = False
    max_requests: Annotated[int | None, option("--max-requests", type=click.IntRange(0), metavar="N", help="Limit of requests.")] = None
    max_cost: Annotated[float | None, option("--max-cost", type=USD, metavar="USD", help="Limit of what may be spent.")] = None
    slos: Annotated[tuple[str, ...], option("--slo", multiple=True, metavar="EXPR", help="An objective, such as 'p95<8s'.")] = ()
    ci: Annotated[str, option("--ci", type=click.Choice(["none", *CI_FILES]), help="Write the CI file as well.", show_default=True)] = (
        "none"
    )
    folder: Annotated[Path, option("--out", type=PATH, metavar="DIR", help="Where to write.", show_default=True)] = Path()
    force: Annotated[bool, option("--force", is_flag=True, help="Overwrite what is there.")] = False


@click.group("init", cls=_Group, invoke_without_command=True)
@takes("wanted", _Wanted)
@click.pass_context
def init(context: click.Context, wanted: _Wanted) -> None:
    """Write a commented testcard.toml for your targets, and with --ci the file that checks them in CI.

    Example: testcard init --target nanogpt=http://127.0.0.1:8000 --ci github
    """
    if context.invoked_subcommand is not None:
        return
    named = [named_target(text) for text in wanted.targets or _asked()]
    targets = [(load_provider(name), name, checked_base_url(url) if url is not None else None) for name, url in named]
    for provider, _, url in targets:
        if url is not None and not is_loopback(url) and not wanted.live:
            raise UsageError(
                f"{provider.id} at {url} is not on this machine", hint="add --live to let Testcard talk to it within its limits"
            )
    files = {wanted.folder / FILE_NAME: _configuration(targets, wanted)}
    if wanted.ci != "none":
        files[wanted.folder / CI_FILES[wanted.ci]] = _ci_file(wanted.ci, targets)
    taken = [path for path in files if path.exists()]
    if taken and not wanted.force:
        raise UsageError(
            f"{' and '.join(map(str, taken))} {'are' if len(taken) > 1 else 'is'} there already",
            hint="add --force to overwrite, or name a folder with --out",
        )
    for path, text in files.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        click.echo(str(path))
    read_as(wanted.folder / FILE_NAME, Config)
    if wanted.ci != "none" and any(url is not None and is_loopback(url) for _, _, url in targets):
        say(f"edit {wanted.folder / CI_FILES[wanted.ci]}: put in what starts your server, where the file says so")
    provider, name, url = targets[0]
    say("next: testcard doctor")
    say(f"then: testcard check {name}{f'={url}' if url else ''}{' --live' if url and not is_loopback(url) else ''}")


def _asked() -> list[str]:
    """The targets that a person names when asked."""
    if not sys.stdin.isatty():
        raise UsageError("no target is named", hint="for instance: testcard init --target nanogpt=http://127.0.0.1:8000")
    say(f"Which API? One of {', '.join(known_ids())}, or a folder with its document and profile.yaml.")
    provider = click.prompt("provider", err=True)
    url = click.prompt("its base URL (empty: a mock on this machine)", default="", show_default=False, err=True)
    return [f"{provider}={url}" if url else provider]


def _configuration(targets: Sequence[tuple[Provider, str, str | None]], wanted: _Wanted) -> str:
    """testcard.toml, with what was asked for in force and everything else as comments."""
    off = any(url is not None and not is_loopback(url) for _, _, url in targets)
    requests = wanted.max_requests if wanted.max_requests is not None or wanted.max_cost is not None or not off else LIVE_REQUESTS
    lines = ["# What would be typed twice. Flags win over the environment, the environment over this file.", ""]
    for provider, name, url in targets:
        lines += ["[[target]]", f"provider = {_toml(name)}"]
        lines += [f"base_url = {_toml(url)}"] if url else ['# base_url = "http://127.0.0.1:8000"  # without one: a mock on this machine']
        if url is not None and not is_loopback(url):
            lines.append("live = true  # requests there can cost money: the limits below hold")
        known = [model.id for model in provider.profile.models]
        lines.append(
            f"models = {_toml(list(wanted.models))}" if wanted.models else f"# models = {_toml(known[:2])}  # default: the cheapest"
        )
        if provider.profile.auth.header is not None:
            lines.append(f"# key_env = {_toml(provider.profile.auth.key_env)}  # the variable that holds the key; never the key itself")
        lines.append("")
    for section, what in (("check", "each check"), ("bench", "a whole benchmark")):
        lines += [f"[{section}]  # limits of {what}"]
        lines.append(f"max_requests = {requests}" if requests is not None else "# max_requests = 60")
        lines.append(
            f"max_cost = {wanted.max_cost:g}" if wanted.max_cost is not None else "# max_cost = 1.00  # US dollars; needs known prices"
        )
        if section == "check":
            lines.append("# strict = true  # let broken shoulds fail as well")
        else:
            lines.append(f"slo = {_toml(list(wanted.slos))}" if wanted.slos else '# slo = ["p95<8s", "error_rate<1%"]')
            lines.append('# workload = "quick"  # or standard, live, or a file of your own')
        lines.append("")
    provider, name, _ = targets[0]
    lines += [
        f"# [prices.{name if name == provider.id else provider.id}]",
        '# adopt = "list"  # take the list prices of the profile as yours',
        "",
        "# [[waiver]]  # a broken promise that is known, and does not count until the day `expires`",
        '# rule = "image.size"',
        f"# provider = {_toml(provider.id)}",
        '# reason = "ticket 123"',
        '# owner = "you@example.com"',
        "# expires = 2027-01-31",
    ]
    return "\n".join(lines) + "\n"


def _ci_file(kind: str, targets: Sequence[tuple[Provider, str, str | None]]) -> str:
    """The pipeline's file: checks every target, and keeps JUnit, SARIF and the report whatever came out."""
    checks = []
    for number, (_, name, url) in enumerate(targets, 1):
        live = " --live" if url is not None and not is_loopback(url) else ""
        checks.append(f"testcard check {name}{f'={url}' if url else ''}{live} --wait-for 60s --out testcard-runs/check-{number}")
    report = "testcard report testcard-runs/check-* --out testcard-runs/report"
    here = [url for _, _, url in targets if url is not None and is_loopback(url)]
    start = "".join(_START.format(url=url) for url in dict.fromkeys(here))
    keys = sorted({provider.profile.auth.key_env for provider, _, url in targets if url and provider.profile.auth.header is not None})
    if kind == "github":
        return _GITHUB.format(
            env="".join(f"      {key}: ${{{{ secrets.{key} }}}}\n" for key in keys),
            checks="\n".join(f"          {line}" for line in checks),
            report=report,
            start=f"      - name: start the server\n        run: |\n{textwrap.indent(start, ' ' * 10)}" if start else "",
        ).replace("    env:\n    steps", "    steps")
    started = f"    - |\n{textwrap.indent(start, ' ' * 6)}" if start else ""
    return _GITLAB.format(checks="\n".join(f"    - {line}" for line in checks), report=report, start=started)


#: A file that was made without knowing how a server starts says so in the job that it fails, not by a check that reaches nobody.
_START = """\
# Put here what starts your server at {url}, in the background, instead of the next two lines.
# For instance: docker run -d -p 8000:8000 my-server   or: python -m my_server > server.log 2>&1 &
echo "no server is started at {url} yet: put its command into this step" >&2
exit 1
"""


_GITHUB = """\
# Exit codes of a check: 0 pass, 1 a must is broken, 3 not reached or key refused, 5 inconclusive. Any but 0 fails the job.
name: testcard
on: [push, workflow_dispatch]
jobs:
  contract:
    runs-on: ubuntu-latest
    permissions:
      contents: read
      security-events: write
    env:
{env}    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install 'testcard[check,mock,report]'
{start}      - name: check
        run: |
{checks}
      - name: report
        if: always()
        run: {report}
      - if: always()
        uses: actions/upload-artifact@v4
        with:
          name: testcard
          path: testcard-runs
      - if: always()
        uses: github/codeql-action/upload-sarif@v3
        with:
          sarif_file: testcard-runs/report/results.sarif
"""

_GITLAB = """\
# Exit codes of a check: 0 pass, 1 a must is broken, 3 not reached or key refused, 5 inconclusive. Any but 0 fails the job.
# Keys are CI/CD variables of the project, masked.
testcard:
  image: python:3.12
  script:
    - pip install 'testcard[check,mock,report]'
{start}{checks}
  after_script:
    - {report}
  artifacts:
    when: always
    paths: [testcard-runs]
    reports:
      junit: testcard-runs/report/junit.xml
"""


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
