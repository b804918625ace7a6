"""Why nothing more was sent: one word for programs, with the numbers it needs, and one sentence for people.

A check, a benchmark and a search for saturation stop for the reasons of `StopReason`, and for no other. Control flow asks for
`stop.reason`; a person reads `sentence(stop)` and `next_step(stop)`, which are made here only. run.json keeps both. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a run, an operation or a search sends nothing more. The words stand in run folders and never change."""

    # A limit that the user set.
    REQUESTS_SPENT = "requests-spent"  # limit: requests
    IMAGES_SPENT = "images-spent"  # limit: pictures
    DOWNLOADS_SPENT = "downloads-spent"  # limit: addresses of pictures that may be fetched
    COST_SPENT = "cost-spent"  # limit, spent: USD spent or reserved; following: what the next request can cost
    TIME_SPENT = "time-limit"  # limit: seconds
    INTERRUPTED = "interrupted"  # Ctrl-C or SIGTERM
    # What the target answered.
    KEY_REFUSED = "key-refused"  # target, status; count 0: on the first keyed request, else after so many that it took
    ACCOUNT_REFUSED = "account-refused"  # target, status; detail: its words
    ALL_REFUSED = "all-refused"  # target, status, count: so many refusals alike in a row
    TARGET_UNREACHABLE = "target-unreachable"  # target, count: so many requests in a row that found nobody
    OPERATION_SILENT = "operation-silent"  # target: the operation whose base request got no answer in time
    OPERATION_REFUSED = "operation-refused"  # target: the operation whose base request was refused; status; detail: the server's words
    OPERATION_BILLED = "operation-billed"  # limit: pictures that an operation may be billed for
    # The machinery that puts load on.
    GENERATOR_SATURATED = "generator-saturated"  # target: the stage; detail: how
    WORKER_LOST = "worker-lost"  # target: the worker; detail: how
    WORKER_FAILED = "worker-failed"  # target: the worker; detail: its error
    MASTER_LOST = "master-lost"
    STAGE_CUT = "stage-cut"  # target: the stage
    NOTHING_SENT = "nothing-sent"  # target: the stage
    HIGHEST_RATE = "highest-rate"  # limit: requests a second that a workload may state
    STAGES_SPENT = "stages-spent"  # limit: stages that a search may take
    INTERNAL_ERROR = "internal-error"  # detail: the error
    # The end.
    PLAN_FINISHED = "plan-finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A reason with its numbers; which of them a reason has stands beside it in `StopReason`.

    `detail` holds words of a server or of an error. Whoever makes a stop has taken secrets out of them.
    """

    reason: StopReason
    target: str | None = None
    status: int | None = None
    count: int = 0
    limit: float | None = None
    spent: float | None = None
    following: float | None = None
    detail: str = ""


#: Limits that more may be allowed of.
BUDGET = frozenset(
    {StopReason.REQUESTS_SPENT, StopReason.IMAGES_SPENT, StopReason.DOWNLOADS_SPENT, StopReason.COST_SPENT, StopReason.TIME_SPENT}
)
#: Refusals that no further request can mend.
REFUSED = frozenset({StopReason.KEY_REFUSED, StopReason.ACCOUNT_REFUSED, StopReason.ALL_REFUSED})
#: Ends that leave a run whole.
WHOLE = frozenset({StopReason.PLAN_FINISHED})


def sentence(stop: Stop) -> str:
    """Why nothing more was sent, in one plain sentence without a full stop."""
    match stop.reason:
        case StopReason.REQUESTS_SPENT:
            return f"the budget of {_count(stop.limit, 'request')} is spent"
        case StopReason.IMAGES_SPENT:
            return f"the budget of {_count(stop.limit, 'image')} is spent"
        case StopReason.DOWNLOADS_SPENT:
            return f"the budget of {_count(stop.limit, 'download')} is spent"
        case StopReason.COST_SPENT:
            return _cost(stop)
        case StopReason.TIME_SPENT:
            return f"the time limit of {stop.limit or 0:g} s is over"
        case StopReason.INTERRUPTED:
            return "interrupted"
        case StopReason.KEY_REFUSED if stop.count:
            return f"{_answered(stop)}: it accepted the key before and refuses it now"
        case StopReason.KEY_REFUSED:
            return f"{_answered(stop)}: the key was refused"
        case StopReason.ACCOUNT_REFUSED:
            what = "the account has no credit left" if stop.status == 402 else "the account may not go on"
            return _with_detail(f"{_answered(stop)}: {what}", stop.detail)
        case StopReason.ALL_REFUSED:
            times = f" to {_count(stop.count, 'request')} in a row" if stop.count else " to every request"
            return _with_detail(f"{_answered(stop)}{times}", stop.detail)
        case StopReason.TARGET_UNREACHABLE:
            return _with_detail(f"{stop.target or 'the target'} stopped answering", stop.detail)
        case StopReason.OPERATION_SILENT:
            return f"the base request of {stop.target or 'the operation'} got no answer"
        case StopReason.OPERATION_REFUSED:
            refused = "refused" if stop.status is None else f"answered with {stop.status}{' and an error' if stop.status < 300 else ''}"
            return _with_detail(f"the base request of {stop.target or 'the operation'} was {refused}", stop.detail)
        case StopReason.OPERATION_BILLED:
            return "the operation was billed for as many pictures as a check asks for"
        case StopReason.GENERATOR_SATURATED:
            return f"at {stop.target} {stop.detail}" if stop.target else stop.detail or "the load generator was the bottleneck"
        case StopReason.WORKER_LOST:
            lost = "what it had not sent on is lost, what it held of the budget counts as spent"
            return f"{stop.target or 'a worker'} {stop.detail or 'is gone'}: {lost}"
        case StopReason.WORKER_FAILED:
            return _with_detail(f"{stop.target or 'a worker'} cannot work", stop.detail)
        case StopReason.MASTER_LOST:
            return "the master is gone"
        case StopReason.STAGE_CUT:
            return f"the run was stopped, or a worker lost, in the middle of {_stage(stop)}"
        case StopReason.NOTHING_SENT:
            return f"no request of {_stage(stop)} was sent"
        case StopReason.HIGHEST_RATE:
            return f"{stop.limit or 0:,.0f}/s is the highest rate that can be asked for"
        case StopReason.STAGES_SPENT:
            return f"the search ended after {_count(stop.limit, 'stage')}"
        case StopReason.INTERNAL_ERROR:
            return _with_detail("an internal error", stop.detail)
        case StopReason.PLAN_FINISHED:
            return "everything planned was sent"


def sentences(stops: Iterable[Stop]) -> str | None:
    """All of them in a line; None for none."""
    return "; ".join(sentence(stop) for stop in stops) or None


def next_step(stop: Stop) -> str | None:
    """What a person can do about it, as an instruction; None where there is nothing to say."""
    match stop.reason:
        case StopReason.REQUESTS_SPENT:
            return "allow more with --max-requests, or plan less"
        case StopReason.IMAGES_SPENT:
            return "allow more with --max-images, or plan less"
        case StopReason.DOWNLOADS_SPENT:
            return "allow more with --max-downloads, or plan less"
        case StopReason.COST_SPENT:
            return "allow more with --max-cost, or plan less"
        case StopReason.TIME_SPENT:
            return "allow more with --max-time, or plan less"
        case StopReason.KEY_REFUSED:
            return "check the key and that it may use this model"
        case StopReason.ACCOUNT_REFUSED:
            return "look at the account with the provider"
        case StopReason.ALL_REFUSED if stop.status in (None, 401, 402, 403):
            return "look at the account with the provider"
        case StopReason.OPERATION_REFUSED | StopReason.ALL_REFUSED:
            return "name a model that the target serves with --model, or look at what it says"
        case StopReason.TARGET_UNREACHABLE | StopReason.OPERATION_SILENT:
            return "check the address and that the server still runs"
        case StopReason.WORKER_LOST | StopReason.WORKER_FAILED | StopReason.MASTER_LOST:
            return "run it again; what was sent on is in this run"
        case StopReason.GENERATOR_SATURATED:
            return "a lower --rate (or fewer --users), more --processes, or a machine with nothing else to do"
        case StopReason.STAGE_CUT | StopReason.NOTHING_SENT:
            return "run it again"
        case StopReason.STAGES_SPENT:
            return "a longer --duration, or more --max-stages"
        case StopReason.INTERNAL_ERROR:
            return "run it again with TESTCARD_TRACEBACK=1 and report what it prints"
        case _:
            return None


def _answered(stop: Stop) -> str:
    """The target with the status that it answered, where one is known."""
    return f"{stop.target or 'the target'} answered {stop.status if stop.status is not None else 'with a refusal'}"


def _cost(stop: Stop) -> str:
    limit = f"${stop.limit or 0:g}"
    if stop.spent is None:
        return f"the budget of {limit} is spent"
    spent = f"${stop.spent:.4f} of {limit} is spent or reserved"
    return spent if stop.following is None else f"{spent}, and the next request can cost ${stop.following:.4f}"


def _count(number: float | None, noun: str) -> str:
    return f"{number or 0:,.0f} {noun}{'' if number == 1 else 's'}"


def _stage(stop: Stop) -> str:
    return f"the stage {stop.target}" if stop.target else "a stage"


def _with_detail(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text
