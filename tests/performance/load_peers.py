"""One load generator on one address for some seconds: `python tests/performance/load_peers.py NAME URL SECONDS`.

Prints JSON: how many requests it made and how many seconds of CPU they took, its start left out. See load_cpu.py.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONNECTIONS = 16
AIPERF = "0.13.0"
#: Where peers from PyPI are kept, each in an environment of its own.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "testcard-peers"
_WORDS = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "red": 2, "boat": 3}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[UNK]", pad_token="[UNK]").save_pretrained(sys.argv[1])
"""


def used(who: int) -> float:
    """CPU seconds so far."""
    found = resource.getrusage(who)
    return found.ru_utime + found.ru_stime


def ours(url: str, seconds: float, *, judged: bool) -> tuple[int, float]:
    """Our engine with its samples recorded; with every answer judged (JSON, base64, hash, header, structure) or none."""
    import locust  # noqa: F401  (first: it patches what the imports below use)

    from testcard.benchmarks.calibration.command import MODEL, OPERATION, PROVIDER
    from testcard.benchmarks.judging.judge import Judgement
    from testcard.benchmarks.load.process import prepare_process, settle_down
    from testcard.benchmarks.load.turns import Conductor
    from testcard.benchmarks.plan.job import BlockJob, CellJob, Job, TargetJob
    from testcard.benchmarks.plan.workload import Workload
    from testcard.benchmarks.run.load_process import Solo

    prepare_process()
    workload = Workload.model_validate({"stage": [{"users": CONNECTIONS, "duration_s": seconds}], "decode": 0.0})
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            folder=folder,
            started_s=time.monotonic(),
            seed=1,
            workload=workload.model_dump(mode="json"),
            targets=[TargetJob(provider=str(PROVIDER), base_url=url, api_key="k", illustrative_prices=True, may_leave_machine=False)],
            cells=[CellJob(target=0, provider="calibration", operation=OPERATION, task="generate", model=MODEL)],
            blocks=[BlockJob(cell=0, round=1, stage="s", rate_rps=None, users=CONNECTIONS, warmup_s=0, duration_s=seconds)],
        )
        lead = Solo(job, workload)
        work = lead.engine
        if not judged:
            work.judging.judge_now = lambda attempt: Judgement("ok")  # type: ignore[method-assign]
        settle_down()
        before = used(resource.RUSAGE_SELF)
        Conductor(job, lead.take, lead.stopped, lambda record: None).run()
        cpu = used(resource.RUSAGE_SELF) - before
        work.close()
        return work.budget.requests, cpu


def locust_user(url: str, seconds: float, kind: str) -> tuple[int, float]:
    """Locust's own FastHttpUser or HttpUser with a body like ours."""
    import gevent
    import locust
    from locust.env import Environment

    body = json.dumps({"model": "calibration", "prompt": "a red rowing boat on a calm lake at sunrise", "seed": 1987654321})

    class Asker(getattr(locust, kind)):  # type: ignore[misc]
        host = url

        @locust.task
        def ask(self) -> None:
            self.client.post("/v1/images/generations", data=body, headers={"content-type": "application/json"})

    environment = Environment(user_classes=[Asker])
    runner = environment.create_local_runner()
    before = used(resource.RUSAGE_SELF)
    runner.spawn_users({"Asker": CONNECTIONS})
    gevent.sleep(seconds)
    cpu = used(resource.RUSAGE_SELF) - before
    count = environment.stats.total.num_requests
    runner.quit()
    return count, cpu


def wrk(url: str, seconds: float) -> tuple[int, float]:
    """wrk with one thread."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url + "/v1/images/generations"]
    talk = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+) requests in", talk)
    assert found is not None
    return int(found[1]), used(resource.RUSAGE_CHILDREN)


def aiperf(url: str, seconds: float) -> tuple[int, float]:
    """AIPerf's image_generation endpoint: the difference of a long and a short run, because its start takes seconds of CPU."""
    few, many = 40, 440 + round(200 * seconds)
    cost = {}
    for count in (few, many):
        before = used(resource.RUSAGE_CHILDREN)
        _aiperf_run(url, count)
        cost[count] = used(resource.RUSAGE_CHILDREN) - before
    return many - few, cost[many] - cost[few]


def _aiperf_run(url: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        prompts.write_text('{"text": "a red rowing boat on a calm lake at sunrise"}\n')
        command = [
            str(CACHE / "aiperf" / "bin" / "aiperf"), "profile", "--model", "calibration", "--url", url, "--endpoint-type", "image_generation",
            "--concurrency", str(CONNECTIONS), "--request-count", str(count), "--input-file", str(prompts),
            "--custom-dataset-type", "single_turn", "--tokenizer", "local/words", "--artifact-dir", f"{folder}/out", "--ui", "none",
            "--no-server-metrics", "--no-gpu-telemetry",
        ]  # fmt: skip
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(CACHE / "huggingface")}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        if done.returncode != 0:
            raise SystemExit(f"aiperf ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}")


def missing_aiperf() -> str | None:
    """Installs AIPerf into the cache where it is not there yet; why that cannot be done, or None."""
    environment = CACHE / "aiperf"
    try:
        if not (environment / "bin" / "aiperf").exists():
            print(f"installing aiperf {AIPERF} into {environment} (once) …", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True, text=True)
            pip = [str(environment / "bin" / "pip"), "install", "--quiet", f"aiperf=={AIPERF}"]
            subprocess.run(pip, check=True, capture_output=True, text=True)
        # It wants a tokenizer that it would fetch; a picture's prompt needs none, so it gets one of four words, where it looks first.
        model = CACHE / "huggingface" / "hub" / "models--local--words"
        if not (model / "refs" / "main").exists():
            (model / "refs").mkdir(parents=True, exist_ok=True)
            python = str(environment / "bin" / "python")
            subprocess.run([python, "-c", _WORDS, str(model / "snapshots" / "1")], check=True, capture_output=True, text=True)
            (model / "refs" / "main").write_text("1")
    except subprocess.CalledProcessError as error:
        return (error.stderr or str(error)).strip().splitlines()[-1]
    except OSError as error:
        return str(error)
    return None


GENERATORS: dict[str, Any] = {
    "wrk": wrk,
    "FastHttpUser": lambda url, seconds: locust_user(url, seconds, "FastHttpUser"),
    "HttpUser": lambda url, seconds: locust_user(url, seconds, "HttpUser"),
    "aiperf": aiperf,
    "ours, recorded": lambda url, seconds: ours(url, seconds, judged=False),
    "ours, judged": lambda url, seconds: ours(url, seconds, judged=True),
}


def why_not(name: str) -> str | None:
    """Why a generator cannot run here, or None."""
    if name == "wrk" and shutil.which("wrk") is None:
        return "it is not installed (apt-get install wrk)"
    return missing_aiperf() if name == "aiperf" else None


if __name__ == "__main__":
    print(json.dumps(GENERATORS[sys.argv[1]](sys.argv[2], float(sys.argv[3]))))
