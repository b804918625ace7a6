"""pyproject.toml declares what the code imports, and what it reaches into beyond a package's public names is pinned exactly."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest

from testcard.harness import extras, foreign_names, kept_connections
from testkit.servers import Response, answering

ROOT = Path(__file__).parents[2]
ROOTS = ("specs", "harness", "mocks", "benchmarks", "reports")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: declared and needed without being imported by name, and why
NEEDED_ALL_THE_SAME = {
    "python-multipart": "Starlette's form parser imports it",
    "pytest-xdist": "the Makefile and CI run the tests with -n",
    "relaygpu-client": "a program of tests/peers/clients, which runs apart, imports it",
    "setuptools": "tests/packaging builds the distributions with it, in processes of its own",
}
#: programs that run in environments of other people's clients, where nothing of ours is installed
RUN_APART = ROOT / "tests" / "peers" / "clients"
#: distributions whose private names are reached into, and the one module of ours that does
REACHED_INTO = {
    "httpx": "harness/kept_connections.py",
    "httpcore": "harness/kept_connections.py",
    "schemathesis": "harness/check/generation/schemathesis_engine.py",
    "hypothesis": "harness/check/generation/schemathesis_engine.py",
    "geventhttpclient": "benchmarks/net/connections.py",
    "locust": "benchmarks/show/web_page.py",
}


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> dict[str, str]:
    """Distribution → version specifier."""
    found = (re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?\s*(.*)", line) for line in requirements)
    return {canonical(one[1]): one[2] for one in found if one is not None}


BASE = declared(PROJECT["dependencies"])
EXTRAS = {
    name: declared(PROJECT["optional-dependencies"][name]) for name in ("check", "bench", "report", "facts", "ocr", "mock", "tls", "watch")
}
OF_PYTEST = {name: wanted for name, wanted in declared(PROJECT["optional-dependencies"]["pytest"]).items() if name != "testcard"}
RUNTIME = {name: wanted for some in (BASE, *EXTRAS.values(), OF_PYTEST) for name, wanted in some.items()}
TESTS = {
    name: wanted
    for some in (RUNTIME, declared(PROJECT["optional-dependencies"]["test"]))
    for name, wanted in some.items()
    if name != "testcard"
}


def imported(folder: str) -> dict[str, set[str]]:
    """Top-level names of other packages that the folder's modules import anywhere, with the files that do."""
    ours = {
        "testcard",
        *(path.stem for path in (ROOT / "tests").rglob("*.py")),
        *(path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()),
    }
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.is_relative_to(RUN_APART):
            continue
        for name in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ours:
                found.setdefault(top, set()).add(path.relative_to(ROOT).as_posix())
    return found


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


def distributions_of(names: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Canonical distribution names → the imports that are theirs."""
    found: dict[str, set[str]] = {}
    for name in names:
        for distribution in _installed().get(name, [name]):
            found.setdefault(canonical(distribution), set()).add(name)
    return found


@functools.cache
def _installed() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _constant(module: str, name: str) -> str:
    """A string that a module defines, read without importing it: some patch the standard library."""
    for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{module} defines no {name}")


#: What a script for a night needs, installs for itself and says where it is missing.
BY_HAND = {("atheris", "tests/crash/fuzz_with_atheris.py")}


@pytest.mark.parametrize("folder", [*ROOTS, "tests"])
def test_what_is_imported_is_declared(folder: str) -> None:
    """Nothing works only because another package happens to bring it along."""
    allowed = TESTS if folder == "tests" else RUNTIME
    missing = {
        name: sorted(files)
        for name, files in imported(folder).items()
        if not distributions_of({name: files}).keys() & allowed.keys() and (name, *sorted(files)) not in BY_HAND
    }
    assert missing == {}


def test_what_is_declared_is_imported() -> None:
    """Nobody installs what nothing uses: run-time dependencies serve the five folders, those for tests the tests."""
    used = set().union(*(distributions_of(imported(folder)) for folder in ROOTS))
    assert set(RUNTIME) - used - set(NEEDED_ALL_THE_SAME) == set()
    assert set(TESTS) - set(RUNTIME) - set(distributions_of(imported("tests"))) - set(NEEDED_ALL_THE_SAME) == set()


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_is_looked_for_by_what_it_brings(extra: str) -> None:
    """`harness.extras` asks for a module of every distribution that the extra adds, and for nothing that a bare install has."""
    asked = set(distributions_of({module: set() for module in extras.EXTRAS[extra]}))
    assert asked == set(EXTRAS[extra]) - set(BASE)


def test_a_pytest_plugin_of_others_comes_with_the_extra_that_needs_it() -> None:
    """A user's own pytest run loads no foreign plugin because of a bare Testcard, its mocks or its reports."""
    plugins = {canonical(point.dist.name) for point in metadata.entry_points(group="pytest11") if point.dist is not None}
    brought = {name: sorted(plugins & set(wanted)) for name, wanted in {"base": BASE, **EXTRAS}.items()}
    # anyio comes with httpx anyway, and its plugin does nothing where no test asks for it
    assert brought == {
        "base": ["anyio"],
        "check": ["hypothesis", "schemathesis"],
        "bench": ["locust"],
        "report": [],
        "facts": [],
        "ocr": [],
        "mock": [],
        "tls": [],
        "watch": [],
    }


def test_what_is_declared_has_a_version_that_is_tested_with() -> None:
    """constraints.txt pins every dependency, inside what pyproject.toml allows."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = declared([line for line in lines if "==" in line])
    assert set(TESTS) - set(pinned) == set()
    assert {name: pinned[name] for name, wanted in TESTS.items() if wanted.startswith("==")} == {
        name: wanted for name, wanted in TESTS.items() if wanted.startswith("==")
    }


def test_what_is_reached_into_is_pinned_exactly() -> None:
    """Private names change without notice: whoever is reached into has one version, and one module that reaches."""
    assert {name: RUNTIME[name] for name in REACHED_INTO if not RUNTIME[name].startswith("==")} == {}
    made_for = {"httpx": kept_connections.MADE_FOR, "geventhttpclient": GEVENTHTTPCLIENT, "locust": LOCUST}
    assert {name: f"=={version}" for name, version in made_for.items()} == {name: RUNTIME[name] for name in made_for}
    for name, module in REACHED_INTO.items():
        assert any(name in found.partition(".")[0] for found in _imports(ast.parse((ROOT / module).read_text(encoding="utf-8"))))


def test_private_names_are_reached_into_nowhere_else() -> None:
    """`other._name` and `getattr(other, "_name")`, where the name is nobody's of ours, stand in the modules named here."""
    foreign: dict[str, set[str]] = {}
    for path in (path for folder in ROOTS for path in sorted((ROOT / folder).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        names = {name for name in _private(tree) if name not in _own(tree) | PUBLIC_ALL_THE_SAME}
        if names:
            foreign[path.relative_to(ROOT).as_posix()] = names
    strangers = {path: names for path, names in foreign.items() if path not in {*REACHED_INTO.values(), *KNOWN}}
    assert strangers == {}


#: modules that other rules cover: geventhttpclient's and Locust's own points of extension
KNOWN = {
    "benchmarks/net/receive.py",
    "benchmarks/run/load_process.py",
    "benchmarks/fleet/worker.py",
    "harness/selftest/kill_matrix.py",
}
#: a name of the operating system's that begins so and is nobody's private one
PUBLIC_ALL_THE_SAME = {"_exit"}


def _private(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            name = node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1:
            name = getattr(node.args[1], "value", "")
        else:
            continue
        if isinstance(name, str) and name.startswith("_") and not name.startswith("__"):
            yield name


def _own(tree: ast.AST) -> set[str]:
    """Names that the module itself defines: functions, classes, variables and attributes of its objects."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            found.add(node.attr)
    return found


GEVENTHTTPCLIENT = _constant("benchmarks/net/connections.py", "MADE_FOR")
LOCUST = _constant("benchmarks/show/web_page.py", "MADE_FOR")


def _lost(script: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, because gevent patches the one that it is imported into."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_without_geventhttpclient_s_sockets_the_load_goes_on() -> None:
    """One note says what is lost; requests over plain connections are sent all the same, a tunnel is refused with the reason."""
    with answering(lambda request: Response({"ok": request.number})) as server:
        done = _lost(f"""
import locust
from geventhttpclient.connectionpool import ConnectionPool
del ConnectionPool._create_socket
from testcard.benchmarks.net.connections import Pool, Proxy
for _ in range(2):
    connection = Pool("http", "127.0.0.1", {server.url.rpartition(":")[2]}, connect_s=5.0).take()
    connection.send(b"GET /x HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n")
    into = bytearray(999)
    print(bytes(into[: connection.receive(into)]).split()[1].decode())
del __import__("geventhttpclient").connectionpool.SSLConnectionPool._connect_socket
try:
    Pool("https", "a.example", 443, connect_s=5.0, proxy=Proxy("127.0.0.1", 9)).take()
except ConnectionError as error:
    print(error)
""")
    assert done.stdout.split("\n")[:2] == ["200", "200"], done.stderr
    assert "the proxy cannot be used" in done.stdout
    assert done.stderr.count("note: geventhttpclient") == 1
    assert "https target behind a proxy" in done.stderr


def test_without_locust_s_page_a_run_says_what_is_lost() -> None:
    """Another version's page is no traceback: a note says what is lost, and the error what to do."""
    done = _lost("""
import locust
from types import SimpleNamespace
from locust.env import Environment
Environment.create_web_ui = lambda *_, **__: SimpleNamespace(app=None)
from testcard.benchmarks.show.web_page import LoadPage
from testcard.harness.errors import UsageError
try:
    LoadPage(SimpleNamespace(web="127.0.0.1:0", targets=[]), lambda: 0)
except UsageError as error:
    print(error.message, error.hint)
""")
    assert "the web page cannot be shown" in done.stdout, done.stderr
    assert f"install locust=={LOCUST}" in done.stdout
    assert done.stderr.count("note: locust") == 1


def test_a_loss_is_said_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An httpx without the pool that is reached into: the client still works, and one note says what is lost."""
    import httpx

    monkeypatch.setattr(foreign_names, "_said", {})
    kept_connections.KeptConnections(httpx.AsyncClient())
    assert capsys.readouterr().err == ""
    for _ in range(2):
        client = httpx.AsyncClient()
        vars(client._transport).pop("_pool")
        kept_connections.KeptConnections(client)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("note: httpx ")
    assert kept_connections.LOST in said
