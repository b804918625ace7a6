"""The tool: wire, client, rules, check, statistics and gates, run folders, command line.

May import `testcard.specs`; reaches mocks, benchmarks and reports only through the names in `harness.lazy`.
"""
