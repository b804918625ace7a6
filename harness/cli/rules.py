"""`testcard rules`: what is checked, at which level, and where it is promised."""

from __future__ import annotations

import difflib
import json
from typing import Any

import click

from testcard.harness.cli.options import json_option
from testcard.harness.errors import UsageError
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.rule import Rule
from testcard.harness.text.words import listing
from testcard.specs.loader import Provider, bundled_ids, load_provider


@click.command()
@click.argument("rule_id", metavar="[ID]", required=False)
@json_option("the rules")
def rules(rule_id: str | None, as_json: bool) -> int:
    """List the rules, or explain one: what it promises, at which level for which provider, and where that is written.

    Example: testcard rules image.size
    """
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
    for entry in _where(rule):
        click.echo(f"  {entry['provider']:<18} {entry['operation']:<27} {entry['level']:<6}  {entry['document']} · {entry['heading']}")
        if entry["note"]:
            click.echo(f"  {'':<18} {'':<27} {'':<6}  {entry['note']}")
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
        "clause": {"document": rule.clause.document, "heading": rule.clause.heading},
        "providers": _where(rule),
    }


def _where(rule: Rule) -> list[dict[str, Any]]:
    return [
        entry
        for provider in map(load_provider, bundled_ids())
        for operation in provider.profile.operations
        if (entry := _entry(rule, provider, operation)) is not None
    ]


def _entry(rule: Rule, provider: Provider, operation: str) -> dict[str, Any] | None:
    from testcard.harness.check.judging.levels import clause_of
    from testcard.harness.rules.scope import Scope

    found = provider.rule_entry(rule.id, operation)
    level = found.level if found is not None and found.level is not None else rule.level
    if level == "none" or not rule.applies(Scope(provider, operation)):
        return None
    clause = clause_of(Scope(provider, operation), rule)
    return {
        "provider": provider.id,
        "operation": operation,
        "level": level,
        "document": clause.document,
        "heading": clause.heading,
        "note": found.note if found is not None else None,
    }
