"""The check: plan, budget, schema cases, runner, verdicts."""
