"""The check: what to send (plan, generated cases), what it may cost (budget), sending it (runner), and what it says (verdicts).

May import everything of the harness but its command line; never mocks, benchmarks or reports (the kill matrix gets the mocks
by name, through `harness.extras`). Whatever is recorded can be judged again from the run folder alone (`rejudge`).
"""
