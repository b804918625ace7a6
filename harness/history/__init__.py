"""What runs say about each other over time: a SQLite index of run folders, and the trends and findings read from it.

The folders are the evidence; the index only remembers where things stand in them and can be rebuilt at any time.
May import `harness.errors`, `harness.runs` and `harness.statistics`.
"""
