"""Targets looked at again and again: a cheap check and a probe on an interval, within a daily budget that survives restarts.

`ledger` keeps what was spent, `looking` does one look, `watching` decides when, `metrics` and `webhook` tell others. Imports the check.
"""
