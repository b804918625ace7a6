"""The Locust suite: workloads, arrivals, users, recorder. May import `testcard.harness` and `testcard.specs`."""
