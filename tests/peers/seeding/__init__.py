"""Defects put into a server, one at a time: what public deployments get wrong, and what anybody might.

Chosen from how real services fail, not from our list of rules. Each is a function around the server's own answer.
"""

from __future__ import annotations

from . import answers, chat, delivery, pictures, protocol, requests, tasks
from .defect import DEFECTS, Ask, Defect, seeded
from .tally import Judge, Verdict, lines, tally

__all__ = [
    "DEFECTS", "Ask", "Defect", "Judge", "Verdict", "answers", "chat", "delivery", "lines", "pictures", "protocol", "requests", "seeded",
    "tally", "tasks",
]  # fmt: skip
