"""Puts the load on: engine, users, arrivals, turns, stop conditions, the budget of a load process."""
