"""Puts the load on, in a load process: turns, arrivals, the engine and its users, one request's course, stop conditions, tallies.

May import `judging`, `plan` and `net`.
"""
