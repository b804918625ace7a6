"""What Testcard is made of: `supply.py audit` and `supply.py sbom PYTHON OUT`, called by `make audit` and `make sbom`.

`audit` asks PyPI's advisories about every pinned version, by name. It exits 0 where nothing is known, 1 where something is, and 2 where
versions could not be asked about: an audit that saw nothing has found nothing out.
`sbom` writes a CycloneDX 1.6 bill of materials, in JSON, of what `pip install 'testcard[all]'` brings: the same bytes for the same versions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


def audit() -> int:
    """What is known against the pinned versions."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--requirement", str(CONSTRAINTS), "--timeout", "15"]
    done = subprocess.run([*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"not audited: the service of advisories cannot be reached ({(done.stderr.strip().splitlines() or ['no answer'])[-1][:300]})")
        return 2
    known = [(one["name"], one["version"], flaw) for one in found for flaw in one.get("vulns", [])]
    unasked = [one["name"] for one in found if "skip_reason" in one]
    for name, version, flaw in known:
        print(f"{name} {version}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}")
    print(f"{len(found) - len(unasked)} of {len(found)} pinned versions audited, {len(known)} known vulnerabilities")
    if unasked:
        few = ", ".join(unasked[:3])
        print(
            f"not audited: {len(unasked)} ({few}{', …' if len(unasked) > 3 else ''}): the index has no advisories, as a mirror, or does not answer"
        )
    return 1 if known else 2 if unasked else 0


def sbom(python: str, out: Path) -> int:
    """The bill of materials of the environment of that interpreter, without what is there for tests and development only."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    date = {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "1767225600")}
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    done = subprocess.run([*command, "--of", "JSON", "-o", "-", python], capture_output=True, text=True, env={**os.environ, **date})
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return 2
    bill = json.loads(done.stdout)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted, extras = list(project["dependencies"]), ["all"]
    for extra in extras:  # grows: an extra names others
        for line in project["optional-dependencies"][extra]:
            one = Requirement(line)
            if one.name == project["name"]:
                extras += [further for further in sorted(one.extras) if further not in extras]
            else:
                wanted.append(line)
    direct = {canonicalize_name(Requirement(line).name) for line in wanted}
    root = bill["metadata"]["component"]
    root["purl"] = f"pkg:pypi/{project['name']}@{project['version']}"
    names = {one["bom-ref"]: canonicalize_name(one["name"]) for one in bill["components"]}
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    needs[root["bom-ref"]] = [ref for ref in needs[root["bom-ref"]] if names[ref] in direct]
    missing = direct - {names[ref] for ref in needs[root["bom-ref"]]}
    if missing:
        print(f"not installed: {', '.join(sorted(missing))}; make setup installs them", file=sys.stderr)
        return 2
    kept = [root["bom-ref"]]
    for ref in kept:  # grows too
        kept += [further for further in needs.get(ref, []) if further not in kept]
    bill["components"] = [one for one in bill["components"] if one["bom-ref"] in kept]
    bill["dependencies"] = [
        {"ref": one["ref"], **({"dependsOn": needs[one["ref"]]} if needs[one["ref"]] else {})}
        for one in bill["dependencies"]
        if one["ref"] in kept
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{out}: {len(bill['components'])} components, {len(direct)} of them named by Testcard itself")
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["audit"]:
            sys.exit(audit())
        case ["sbom", interpreter, file]:
            sys.exit(sbom(interpreter, Path(file)))
        case _:
            sys.exit(__doc__)
