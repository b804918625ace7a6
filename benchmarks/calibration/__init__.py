"""`testcard calibrate`: what this machine can be trusted with as a load generator. May import `testcard.benchmarks` and the harness.

`servers` (a process of its own: fixed, drawn and frozen delays, small and large answers), `command` (what they must look like; loads
them through bench's own load process, ever faster, and judges each level as bench judges a row), `record` (the figures as JSON, and as
a person reads them).

Figures, for each kind of answer (1.5 KB and 1.4 MB with the picture's structure checked; 1.4 MB with every pixel decoded):
`peak_rps` of a closed loop of 16; `peak_cpu_s_per_request` there; levels of an open loop with Poisson arrivals, each with
offered and achieved rate, p99 of the send lag, CPU; and `trusted_rps`, the highest rate below the first level that fails
bench's own criterion: send lag p99 at most 10 ms (or 1 % of p50), nothing left unsent, at least 99 % of the offered rate
achieved. For each server of known timing: p50, p90, p95 and p99 measured and true.

To size a fleet: as many processes (each with a core of its own) as the wanted rate is over `trusted_rps`, and one more.
"""
