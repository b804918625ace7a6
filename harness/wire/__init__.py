"""The wire, sans-IO: a task request becomes an HTTP request, an HTTP response becomes an answer. Pure functions only.

Nothing here touches sockets, clocks, random sources or files. May import `testcard.specs`, `harness.intake` (the one place where
bytes of strangers are opened) and `harness.errors`.
"""
