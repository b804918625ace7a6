"""The Locust suite: workloads, arrivals, the load process, its recorder. May import `testcard.harness` and `testcard.specs`.

Two processes. The *command's* (`command`, `session`, `progress_view`, `table`) resolves what to do, shows it and seals the
run; it never imports gevent. The *load process* (`load_process` and what it imports) is monkey-patched by Locust, reads one
JSON job on stdin, appends samples to its shard and tells how it goes in JSON lines on stdout.
`workload`, `plan`, `job`, `arrivals`, `budget`, `judge` and `outcomes` are plain code without sockets, used by either.
"""
