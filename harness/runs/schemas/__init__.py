"""The published JSON Schemas (2020-12) of the files in a run folder; written by `harness.runs.validate`."""
