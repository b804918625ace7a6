"""The Locust suite: workloads, arrivals, the load process, its recorder. May import `testcard.harness` and `testcard.specs`.

Two processes. The *command's* (`command`, `running`, `opening`, `plan`, `announce`, `session`, `finishing`, `facts`, `table`)
resolves what to do, shows how it goes, seals the run and judges it; it never imports gevent. The *load process*
(`load_process`, `engine`, `turns`, `drive`, `transport`, `watch`, `judge`, `recorder`) is monkey-patched by Locust, reads one
JSON job on stdin, appends samples to its shard and tells how it goes in JSON lines on stdout. `job` is what they say to each
other; `workload`, `asks`, `arrivals`, `budget`, `unpack` and `lateness` are plain code that touches neither sockets nor clocks.
`fleet` shares a load among processes and machines, `calibration` measures what this machine can be trusted with.
"""
