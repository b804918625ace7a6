"""Locust's own web page over a run of ours: live figures to look at, nothing to start, stop or spend with.

The page stands on an environment of its own, which has no users and whose runner sends nothing. It is told every request that
is recorded. Whatever it is asked beyond looking is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gevent
from flask import Response, jsonify, request
from gevent import pywsgi
from locust.env import Environment
from locust.event import Events
from locust.runners import STATE_RUNNING, MasterRunner, Runner
from locust.stats import stats_history

from testcard.harness.errors import UsageError
from testcard.harness.foreign_names import note_lost

if TYPE_CHECKING:
    from testcard.benchmarks.judging.recorder import RequestEnd
    from testcard.benchmarks.plan.job import Job

#: The version whose page is known, pinned in pyproject.toml.
MADE_FOR = "2.47.0"
LOST = "a run cannot be watched on its web page; everything else goes on without it"
#: Outcomes that Locust's page does not count as failures.
_FINE = ("ok", "slow")
REFUSAL = "this page only shows the run; testcard bench leads it: stop it there with Ctrl-C"
_BANNER = f'<style>header .MuiButton-contained{{display:none}}</style><p style="margin:0;padding:.4em 1em;background:#fff3cd;color:#664d03;font:14px sans-serif">testcard bench: {REFUSAL}. The page ends with the run.</p>'


class _Shown(Runner):
    """A runner to show: it starts and stops nothing, and what the page calls users are the requests in flight."""

    in_flight: Callable[[], int]

    @property
    def user_count(self) -> int:
        return self.in_flight()

    def start(self, *_: Any, **__: Any) -> None:
        raise PermissionError(REFUSAL)

    def stop(self, *_: Any, **__: Any) -> None:
        raise PermissionError(REFUSAL)

    def send_message(self, *_: Any, **__: Any) -> None:
        raise PermissionError(REFUSAL)


class _ShownFleet(_Shown, MasterRunner):
    """A master to show, with the workers of the real one; it does not listen."""

    def __init__(self, environment: Environment, workers: Any) -> None:
        Runner.__init__(self, environment)
        self.clients = workers


class LoadPage:
    """The page of a run at HOST:PORT (port 0: a free one). `workers`: Locust's record of them, where the load comes from several.

    Raises `UsageError` when nothing can be served there.
    """

    def __init__(self, job: Job, in_flight: Callable[[], int], workers: Mapping[str, Any] | None = None) -> None:
        assert job.web is not None
        host, _, port = job.web.rpartition(":")
        self.environment = Environment(user_classes=[], events=Events(), host=", ".join(target.base_url for target in job.targets))  # type: ignore[no-untyped-call]
        runner: Any = _Shown(self.environment) if workers is None else _ShownFleet(self.environment, workers)
        runner.in_flight = in_flight
        runner.update_state(STATE_RUNNING)
        self.environment.runner = runner
        self._stats = self.environment.stats
        try:
            page = self.environment.create_web_ui(host, int(port), delayed_start=True)
            app: Any = page.app
            app.debug = False
            app.before_request(_refuse_all_but_looking)
        except (AttributeError, TypeError) as error:
            note_lost("locust", MADE_FOR, LOST)
            raise UsageError(f"the web page cannot be shown: {error}", hint=f"leave --web out, or install locust=={MADE_FOR}") from None
        app.after_request(_say_what_it_is)
        page.server = self._server = pywsgi.WSGIServer((host, int(port)), app, log=None, error_log=None)
        try:
            self._server.start()
        except OSError as error:
            raise UsageError(
                f"the web page cannot be served at {job.web}: {error.strerror or error}", hint="name another port with --web-port, or 0"
            ) from None
        self._history = gevent.spawn(stats_history, runner)
        self.address = f"http://{host}:{self._server.server_port}"

    def heard(self, end: RequestEnd) -> None:
        """Shows a request that was recorded, here or by a worker."""
        name = " ".join(part for part in (end.provider, end.model, end.stage) if part)
        self._stats.log_request(end.operation, name, round(1000 * end.latency_s), end.bytes)
        if end.outcome not in _FINE:
            self._stats.log_error(end.operation, name, end.outcome)

    def close(self) -> None:
        """Ends the page."""
        self._history.kill()
        self._server.stop(timeout=1)
        self.environment.runner.greenlet.kill(block=False)  # type: ignore[union-attr]


def _refuse_all_but_looking() -> Response | None:
    if request.method in ("GET", "HEAD"):
        return None
    answer: Response = jsonify({"success": False, "message": REFUSAL})
    answer.status_code = 403
    return answer


def _say_what_it_is(response: Response) -> Response:
    if request.path == "/" and response.mimetype == "text/html":
        response.set_data(response.get_data(as_text=True).replace("<body>", f"<body>{_BANNER}", 1))
    return response
