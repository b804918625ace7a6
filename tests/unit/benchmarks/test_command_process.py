"""Which process knows what: Locust and gevent belong to the load process."""

import subprocess
import sys

#: Everything that the command's process of a benchmark or a calibration imports.
MODULES = (
    "command", "calibration.command", "fleet.processes", "judging.recorder", "load.facts", "load.tally", "plan.targets",
    "plan.turn_order", "run.bench", "run.output", "run.session", "search.saturation", "show.table", "show.view",
)  # fmt: skip


def test_the_command_knows_nothing_of_gevent() -> None:
    """Locust patches its process: sockets, threads and signals of the command's stay the standard library's."""
    code = "import sys\n" + "".join(f"import testcard.benchmarks.{name}\n" for name in MODULES)
    code += "print(sorted({'gevent', 'locust', 'geventhttpclient'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
