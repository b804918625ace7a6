"""Findings and the register of evidence: every verdict in its place, each with what was promised, what was seen and how to see it again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from testcard.harness.errors import UsageError
from testcard.harness.runs.records import SEVERITY, Body, Exchange, Verdict
from testcard.harness.text.commands import curl_block, rejudge_command, resend_command
from testcard.harness.text.words import clean, shortened, worst_word
from testcard.reports.content.evidence import Evidence, Party
from testcard.reports.content.pictures import Thumb, thumbnails

EXCERPT = 700
_QUIET = ("pass", "unsupported", "info")


@dataclass(frozen=True, slots=True)
class Witness:
    """An exchange that a verdict rests on, written out. `route`: the redirects that it stands in, each address with its status."""

    id: str
    line: str
    answer: str
    excerpt: str
    curl: str
    resend: str
    rejudge: str
    change: str = ""
    route: str = ""
    thumbs: list[Thumb] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken must or should of one target's operation."""

    anchor: str
    party: Party
    verdict: Verdict
    witnesses: list[Witness]
    further: int  # exchanges that show the same and are not written out


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """All findings of one rule."""

    rule: str
    title: str
    worst: str
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class RegisterLine:
    """One verdict in the register of evidence."""

    anchor: str
    verdict: Verdict
    seen: str
    finding: str | None


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """What one rule came to at one target."""

    word: str
    link: str
    counts: str
    operations: str


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One rule across all targets; `area` is the group of rules that it stands in."""

    rule: str
    area: str
    title: str
    level: str
    cells: list[MatrixCell | None]

    @property
    def quiet(self) -> bool:
        """Whether it was kept, or does not apply, everywhere: nothing to look at."""
        return all(cell is None or cell.word in _QUIET for cell in self.cells)


@dataclass(frozen=True, slots=True)
class FamilyCell:
    """A target's rules of one area: the worst verdict, and how many of those that were judged passed."""

    word: str
    passed: int
    total: int


@dataclass(frozen=True, slots=True)
class Family:
    """All rules of one area; its row in the matrix stands for those that are folded."""

    area: str
    rows: list[MatrixRow]
    cells: list[FamilyCell | None]

    @property
    def quiet(self) -> int:
        """How many of its rules are quiet."""
        return sum(row.quiet for row in self.rows)


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings, register and matrix, with links that agree."""

    groups: list[FindingGroup]
    register: list[tuple[Party, list[RegisterLine]]]
    matrix: list[MatrixRow]
    columns: list[Party]

    @property
    def families(self) -> list[Family]:
        """The matrix by area; within one, the rules that need a look come first."""
        areas: dict[str, list[MatrixRow]] = {}
        for row in self.matrix:
            areas.setdefault(row.area, []).append(row)
        found = []
        for area, rows in areas.items():
            rows.sort(key=lambda row: row.quiet)
            found.append(Family(area, rows, [_score([row.cells[place] for row in rows]) for place in range(len(self.columns))]))
        return found

    @property
    def each(self) -> list[Finding]:
        """All findings, worst rules first."""
        return [finding for group in self.groups for finding in group.findings]


def arranged(evidence: Evidence) -> Findings:
    """Everything that the runs' verdicts say, arranged for reading."""
    parties = [party for party in evidence.parties if party.verdicts is not None]
    findings: dict[str, list[Finding]] = {}
    register: list[tuple[Party, list[RegisterLine]]] = []
    for party in parties:
        lines = []
        for number, verdict in enumerate(party.judged(), 1):
            finding = None
            if verdict.verdict in ("fail", "deviates"):
                found = _finding(party, verdict, number)
                findings.setdefault(verdict.rule, []).append(found)
                finding = found.anchor
            lines.append(RegisterLine(f"e-{party.key}-{number}", verdict, _seen(party, verdict), finding))
        register.append((party, lines))
    groups = []
    for rule, members in findings.items():
        members.sort(key=lambda finding: (SEVERITY.index(finding.verdict.verdict), finding.party.key))
        title = next((clean(member.verdict.title) for member in members if member.verdict.title), "")
        groups.append(FindingGroup(rule, title, worst_word(member.verdict.verdict for member in members), members))
    groups.sort(key=lambda group: (SEVERITY.index(group.worst), group.rule))
    return Findings(groups, register, _matrix(register), parties)


def _matrix(register: list[tuple[Party, list[RegisterLine]]]) -> list[MatrixRow]:
    rules: dict[str, list[Verdict]] = {}
    for _, lines in register:
        for line in lines:
            rules.setdefault(line.verdict.rule, []).append(line.verdict)
    rows = []
    for rule in sorted(rules):
        cells: list[MatrixCell | None] = []
        for _, lines in register:
            mine = [line for line in lines if line.verdict.rule == rule]
            cells.append(_cell(mine) if mine else None)
        levels = {verdict.level for verdict in rules[rule]}
        level = next(iter(levels)) if len(levels) == 1 else "varies"
        title = next((clean(verdict.title) for verdict in rules[rule] if verdict.title), "")
        rows.append(MatrixRow(rule, rules[rule][0].area, title, level, cells))
    return rows


def _score(cells: list[MatrixCell | None]) -> FamilyCell | None:
    words = [cell.word for cell in cells if cell is not None]
    judged = [word for word in words if word not in ("unsupported", "info")]
    if not judged:
        return None
    return FamilyCell(worst_word(judged), judged.count("pass"), len(judged))


def _cell(lines: list[RegisterLine]) -> MatrixCell:
    words = [line.verdict.verdict for line in lines]
    word = worst_word(words)
    first = next(line for line in lines if line.verdict.verdict == word)
    alike = sum(other == word for other in words)
    counts = f"{alike}/{len(words)}" if alike != len(words) else ""
    operations = ", ".join(dict.fromkeys(clean(line.verdict.operation) for line in lines if line.verdict.verdict == word))
    return MatrixCell(word, f"#{first.finding or first.anchor}", counts, operations)


def _finding(party: Party, verdict: Verdict, number: int) -> Finding:
    known = [party.exchanges[name] for name in verdict.exchanges if name in party.exchanges]
    # A pair is the evidence where two answers are compared; otherwise the first exchange is the smallest example.
    limit = 1 if verdict.evidence == "exchange" else 2
    witnesses = [_witness(party, exchange, verdict) for exchange in known[:limit]]
    return Finding(f"f-{party.key}-{number}", party, verdict, witnesses, max(len(known) - limit, 0))


def _witness(party: Party, exchange: Exchange, verdict: Verdict) -> Witness:
    folder = party.check.folder if party.check else Path()
    pictures = thumbnails(party, exchange, 2) if verdict.evidence == "pictures" else []
    response = exchange.response
    if response is None:
        answer, excerpt = (
            f"no answer: {exchange.failure or 'unknown'}" + (f" ({clean(exchange.failure_detail)})" if exchange.failure_detail else ""),
            "",
        )
    else:
        answer = f"{response.status}, {response.body.size:,} bytes" + ("" if response.complete else ", cut off")
        excerpt = "" if pictures else _excerpt(party, response.body)
    return Witness(
        id=exchange.id,
        line=f"{exchange.request.method} {shortened(clean(exchange.request.url), 160)}",
        answer=answer,
        excerpt=excerpt,
        curl=curl_block(exchange, folder),
        resend=resend_command(folder, exchange.id),
        rejudge=rejudge_command(folder, party.target.provider, party.openapi or ""),
        change=clean(exchange.case.change) if exchange.case else "",
        route=" → ".join(_hop(one) for one in party.redirects(exchange)),
        thumbs=pictures,
    )


def _hop(exchange: Exchange) -> str:
    status = exchange.response.status if exchange.response is not None else exchange.failure or "no answer"
    return f"{shortened(clean(exchange.request.url), 160)} ({status})"


def _excerpt(party: Party, body: Body) -> str:
    if party.check is None:
        return ""
    try:
        content = party.check.bytes_of(body)[: EXCERPT * 8]
    except (OSError, UsageError):
        return ""
    text = clean(content.decode("utf-8", errors="replace"))
    if text.count("\ufffd") > len(text) // 10:
        return "(not text)"
    # A base64 picture would be all that is seen: say how long it is, and show what is around it.
    text = re.sub(r"[A-Za-z0-9+/=]{160,}", lambda match: f"{match[0][:24]}… ", text)
    return shortened(text, EXCERPT)


def _seen(party: Party, verdict: Verdict) -> str:
    names = [name for name in verdict.exchanges if name in party.exchanges]
    shown = []
    for name in names[:3]:
        exchange = party.exchanges[name]
        shown.append(f"{name} ({exchange.response.status if exchange.response else exchange.failure or 'no answer'})")
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
