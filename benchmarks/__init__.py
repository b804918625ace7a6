"""The Locust suite: what load to apply, how it is put on, what came of it. May import `testcard.harness` and `testcard.specs`.

Two processes. The *command's* (`command`, `run` but for `run.load_process`, `search`, `show`) resolves what to do, shows how it goes,
seals the run and judges it; it never imports gevent. The *load process* (`run.load_process`, and `fleet.worker` where there are
several) is monkey-patched by Locust, reads one JSON job on stdin, appends samples to its shard and tells how it goes in JSON lines
on stdout. `plan.job` is what they say to each other.

Rooms, each of which may import those that follow it: `calibration` (what this machine can be trusted with), `run`, `fleet` (load
shared among processes and machines), `search`, `show`, `load`, `judging`, `plan`, `net`.
"""
