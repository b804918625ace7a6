"""What there is: `testcard providers`, what is known about each, and `testcard rules`."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from testcard.harness.cli import say
from testcard.harness.cli.options import PROVIDER, RULE, config_option, json_option
from testcard.harness.config import Config, load_config
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.rule import AREAS, Rule
from testcard.harness.runs.records import ClauseRef
from testcard.harness.text.sources import reference, title_of
from testcard.harness.text.words import in_words, listing
from testcard.specs.loader import Provider, bundled_ids, known_ids, load_provider
from testcard.specs.profile import Auth

_WIDTH_OFF_TERMINAL = 240


@click.command()
@click.argument("provider", type=PROVIDER, required=False)
@config_option
@json_option("everything")
def providers(provider: str | None, as_json: bool, config_file: Path | None) -> None:
    """List the providers, or show one: its operations, fields, models and prices.

    PROVIDER is an id of this list, or a folder that holds openapi.yaml and profile.yaml.

    Example: testcard providers nebul
    """
    config = load_config(config_file)
    names = [provider] if provider is not None else list(known_ids(config.providers.path))
    described = [_described(load_provider(name, config.providers.path), config) for name in names]
    if as_json:
        click.echo(json.dumps(described[0] if provider is not None else described, indent=2, ensure_ascii=False))
    elif provider is not None:
        _show_one(described[0])
    else:
        _show_all(described)


def _described(provider: Provider, config: Config) -> dict[str, Any]:
    """A provider as plain data: what `--json` prints and the tables show."""
    profile = provider.profile
    stated = profile.documents.get(profile.document)
    section = config.prices.get(provider.id)
    pricing = Pricing(provider, False, section) if section is not None else Pricing(provider, False)
    return {
        "id": provider.id,
        "name": profile.name,
        "folder": str(provider.folder),
        "document": profile.document,
        "document_title": stated.title if stated is not None else None,
        "document_address": stated.address if stated is not None else None,
        "base_urls": list(profile.base_urls),
        "auth": _auth(profile.auth),
        "tasks": {task: {"operation": default.operation, "model": default.model} for task, default in profile.tasks.items()},
        "operations": [_operation(provider, operation_id) for operation_id in profile.operations],
        "models": [
            {
                "id": model.id,
                "operations": list(model.operations),
                "prices": _prices(provider, pricing, model.id, model.operations),
            }
            for model in profile.models
        ],
        **({} if profile.models else {"unnamed": _unnamed(provider, pricing)}),
        "promises": _promises(provider),
        "notes": list(profile.notes),
    }


def _promises(provider: Provider) -> dict[str, int]:
    """How many rules hold for the provider by level, each at the strictest that it has for one of the operations."""
    from testcard.harness.check.judging.levels import level_of, softness
    from testcard.harness.rules.scope import Scope

    scopes = [Scope(provider, operation) for operation in provider.profile.operations]
    held = [[level_of(scope, rule) for scope in scopes if rule.applies(scope)] for rule in RULES.values()]
    strictest = [min(levels, key=softness) for levels in held if levels]
    return {level: number for level, number in Counter(strictest).items() if level != "none"}


def _unnamed(provider: Provider, pricing: Pricing) -> dict[str, Any]:
    """What stands in the place of a model where a provider names none: its operations that do something, and what they cost."""
    working = tuple(name for name, entry in provider.profile.operations.items() if entry.tasks)
    return {"id": "names none", "operations": list(working), "prices": _prices(provider, pricing, "*", working)}


def _operation(provider: Provider, operation_id: str) -> dict[str, Any]:
    operation, entry = provider.operation(operation_id), provider.operation_profile(operation_id)
    fields = []
    for name, schema in {**operation.path_parameters, **operation.properties}.items():
        field = entry.fields.get(name) or entry.path.get(name)
        fields.append(
            {
                "name": name,
                "type": schema.get("type"),
                "required": name in operation.required or name in operation.path_parameters,
                "default": schema.get("default"),
                "means": field.means if field else None,
                "must_accept": list(field.must_accept) if field else [],
                "may_refuse": list(field.may_refuse) if field else [],
            }
        )
    return {
        "id": operation_id,
        "method": operation.method,
        "path": operation.path,
        "media_type": operation.request_media_type,
        "tasks": list(entry.tasks),
        "statuses": list(operation.responses),
        "fields": fields,
    }


def _prices(provider: Provider, pricing: Pricing, model: str, operations: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every price known for a model: the user's own, the list price, the illustrative one; each with its origin."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for operation in operations:
        price, origin = pricing.look_up(model, operation)
        if price is not None and origin == "config":
            found.setdefault((origin, in_words(price)), {"origin": origin, "price": in_words(price), "counts": True})
        for status in ("list", "illustrative"):
            entry = provider.price_entry(model, operation, status)
            if entry is not None:
                row = {"origin": status, "price": in_words(entry.price), "counts": status == origin}
                row |= {"source": entry.source, "date": entry.date.isoformat()}
                found.setdefault((status, in_words(entry.price)), row)
    return list(found.values())


def _print(*parts: Any) -> None:
    """Prints to stdout: as wide as the terminal, or without folding names and without trailing blanks where there is none."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(*parts, sep="\n")
        return
    wide = Console(highlight=False, width=_WIDTH_OFF_TERMINAL)
    with wide.capture() as capture:
        wide.print(*parts, sep="\n", soft_wrap=False)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _show_all(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    table = _table("id", "model", "operations", "price", "key variable", "base URL")
    for row in rows:
        for index, model in enumerate(row["models"] or [row["unnamed"]]):
            first = index == 0
            shown = next(iter(sorted(model["prices"], key=lambda price: not price["counts"])), None)
            table.add_row(
                f"[bold]{row['id']}[/bold]\n{escape(row['name'])}" if first else "",
                escape(model["id"]),
                ", ".join(model["operations"]),
                f"{shown['price']} ({shown['origin']})" if shown else "no price",
                row["auth"]["key_env"] if first else "",
                "\n".join(row["base_urls"]) if first else "",
            )
        priced = row["models"] or [row["unnamed"]]
        rest = [one["id"] for one in row["operations"] if not any(one["id"] in model["operations"] for model in priced)]
        if rest:
            table.add_row("", "", ", ".join(rest), "not billed", "", "")
        table.add_section()
    _print(table)
    say(
        'fields and all prices of one: testcard providers ID. A list price counts only where testcard.toml adopts it ([prices.ID] adopt = "list").'
    )


def _auth(auth: Auth) -> dict[str, str]:
    if auth.header is None:
        return {"header": "", "prefix": "", "key_env": ""}
    return {"header": auth.header.name, "prefix": auth.header.prefix, "key_env": auth.key_env}


def _show_one(row: dict[str, Any]) -> None:
    from rich.markup import escape

    key = "none is needed"
    if row["auth"]["header"]:
        key = f"{row['auth']['header']}: {row['auth']['prefix']}$TESTCARD_API_KEY (or ${row['auth']['key_env']})"
    lines = [
        f"[bold]{escape(row['name'])}[/bold] ({row['id']})",
        f"base URL    {', '.join(row['base_urls']) or 'none is documented: name yours'}",
        f"key         {escape(key)}",
        f"document    {escape(', '.join(filter(None, (row['document_title'], row['document_address']))) or row['document'])}",
        *(f"{task:<11} {default['operation']}, {escape(default['model'] or 'no model')}" for task, default in row["tasks"].items()),
    ]
    operations = _table("operation", "field (* required)", "type", "default", "must be accepted", "may be refused")
    for operation in row["operations"]:
        request = f"{operation['method']} {operation['path']}\n{operation['media_type'] or 'no body'} → {', '.join(operation['statuses'])}"
        operations.add_row(f"[bold]{operation['id']}[/bold]", "", "", "", "", "")
        fields = operation["fields"]
        columns = [
            [field["name"] + ("*" if field["required"] else "") for field in fields],
            [_words(field["type"] if isinstance(field["type"], list) else [field["type"]]) for field in fields],
            ["" if field["default"] is None else _word(field["default"]) for field in fields],
            [_words(field["must_accept"]) for field in fields],
            [_words(field["may_refuse"]) for field in fields],
        ]
        for index, cells in enumerate(zip(*columns, strict=True)):
            operations.add_row(escape(request) if index == 0 else "", *map(escape, cells))
        operations.add_section()
    models = _table("model", "operations", "price", "origin", "source")
    for model in row["models"]:
        for index, price in enumerate(model["prices"] or [{"price": "no price", "origin": "none", "counts": False}]):
            models.add_row(
                escape(model["id"]) if index == 0 else "",
                ", ".join(model["operations"]) if index == 0 else "",
                price["price"],
                price["origin"] + (" (counts)" if price["counts"] else ""),
                escape(f"{price['source']}, {price['date']}" if "source" in price else ""),
            )
    _print("\n".join(lines), operations, models, "\n".join(f"· {escape(note)}" for note in row["notes"]))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _words(values: list[Any]) -> str:
    return ", ".join(_word(value) for value in values if value is not None)


@click.command()
@click.argument("rule_id", type=RULE, metavar="[ID]", required=False)
@click.option(
    "--markdown", is_flag=True, help="Print all rules as a page: what each promises, at which level for whom, and where that is written."
)
@json_option("the rules")
def rules(rule_id: str | None, markdown: bool, as_json: bool) -> int:
    """List the rules, or explain one: what it promises, at which level for which provider, and where that is written.

    Example: testcard rules image.size
    """
    if markdown:
        click.echo(_page([(rule, _where(rule)) for rule in RULES.values()]), nl=False)
        return 0
    if rule_id is None:
        if as_json:
            click.echo(json.dumps([_record(rule) for rule in RULES.values()], indent=2, ensure_ascii=False))
            return 0
        width = max(map(len, RULES))
        for rule in RULES.values():
            click.echo(f"{rule.id:<{width}}  {rule.level:<6}  {rule.sentence}")
        click.echo("")
        click.echo("A provider's profile may set another level. More on one: testcard rules ID")
        return 0
    if rule_id not in RULES:
        raise UsageError(f"there is no rule {rule_id}", hint=_instead(rule_id))
    rule = RULES[rule_id]
    if as_json:
        click.echo(json.dumps(_record(rule), indent=2, ensure_ascii=False))
        return 0
    click.echo(f"{rule.id}: {rule.sentence}")
    if rule.explanation:
        click.echo(rule.explanation)
    click.echo("")
    documents: dict[str, str | None] = {}
    for entry in _where(rule):
        documents.setdefault(entry["title"], (entry["address"] or "").partition("#")[0] or None)
        click.echo(f"  {entry['provider']:<18} {entry['operation']:<27} {entry['level']:<6}  {entry['title']}, “{entry['heading']}”")
        if entry["note"]:
            click.echo(f"  {'':<18} {'':<27} {'':<6}  {entry['note']}")
    if any(documents.values()):
        click.echo("")
        for title, address in documents.items():
            if address is not None and address != title:
                click.echo(f"  {title}: {address}")
    return 0


def _instead(word: str) -> str:
    """What may have been meant: the nearest rule, or the rules of the area that the word names; else where they are listed."""
    near = difflib.get_close_matches(word, RULES, n=3)
    area = [name for name in RULES if name.split(".")[0] == word.split(".")[0]]
    if near or area:
        return f"did you mean {listing(near or area, limit=len(RULES))}?".replace(" and ", " or ")
    return "testcard rules lists them"


def _record(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "level": rule.level,
        "sentence": rule.sentence,
        "explanation": rule.explanation,
        "clause": _source(reference(rule.clause, {})),
        "providers": _where(rule),
    }


def _source(clause: ClauseRef) -> dict[str, Any]:
    return {"document": clause.document, "title": title_of(clause), "heading": clause.heading, "address": clause.address}


def _where(rule: Rule) -> list[dict[str, Any]]:
    return [
        entry
        for provider in map(load_provider, bundled_ids())
        for operation in provider.profile.operations
        if (entry := _entry(rule, provider, operation)) is not None
    ]


def _entry(rule: Rule, provider: Provider, operation: str) -> dict[str, Any] | None:
    from testcard.harness.check.judging.levels import reference_of
    from testcard.harness.rules.scope import Scope

    found = provider.rule_entry(rule.id, operation)
    level = found.level if found is not None and found.level is not None else rule.level
    if level == "none" or not rule.applies(Scope(provider, operation)):
        return None
    return {
        "provider": provider.id,
        "operation": operation,
        "level": level,
        **_source(reference_of(Scope(provider, operation), rule)),
        "note": found.note if found is not None else None,
    }


# ── the page of rules: made of the rules and the bundled profiles alone, so that it cannot say anything else ──────────────────

_PAGE_HEAD = """\
# Rules

Every promise that a check judges, made of the rules themselves by `testcard rules --markdown`; a test holds this page to them. `testcard rules ID` prints one.

The level says what a broken promise does. **must**: the check fails, exit code 1. **should**: it deviates, and fails with `--strict`. **info**: it is noted.
A provider's profile may set another level for its operations, or switch a rule off; what is listed below each rule is what holds for the bundled
providers, with the place where their documents say so.
"""


def _page(rules: Sequence[tuple[Rule, Sequence[Mapping[str, Any]]]]) -> str:
    """The page: an index by area, then each rule with where it holds."""
    parts = [_PAGE_HEAD]
    for area in AREAS.values():
        mine = [rule for rule, _ in rules if rule.area is area]
        if mine:
            parts.append(f"**{area.title}**: " + ", ".join(f"[{rule.id}](#{_anchor(rule.id)})" for rule in mine) + "\n")
    for area in AREAS.values():
        ours = [(rule, where) for rule, where in rules if rule.area is area]
        if ours:
            parts.append(f"## {area.title}\n")
            parts += [_rule_part(rule, where) for rule, where in ours]
    return "\n".join(parts)


def _anchor(rule_id: str) -> str:
    """The anchor that Markdown renderers give the heading."""
    return rule_id.replace(".", "")


def _rule_part(rule: Rule, where: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"### {rule.id}", "", rule.sentence, ""]
    if rule.explanation:
        lines += [rule.explanation, ""]
    lines.append(f"Level: {rule.level}, unless a profile says otherwise.")
    lines.append("")
    merged: dict[tuple[str, str, str, str], list[str]] = {}
    for entry in where:
        source = f"{entry['title']}, “{entry['heading']}”"
        if entry["address"]:
            source = f"[{source}]({entry['address']})"
        merged.setdefault((entry["provider"], entry["level"], source, entry["note"] or ""), []).append(entry["operation"])
    for (provider, level, source, note), operations in merged.items():
        lines.append(f"- {provider} ({', '.join(operations)}): {level}; {source}{f'. {note}' if note else ''}")
    if not merged:
        lines.append("- No bundled provider makes this promise; a profile of your own may.")
    return "\n".join([*lines, ""])
