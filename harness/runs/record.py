"""What every record of a run folder is."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, omit_defaults=False, kw_only=True):
    """A frozen record that writes every field, so that a reader never has to guess a default."""
