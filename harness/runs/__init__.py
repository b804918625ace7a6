"""Run folders: the records they hold, how they are written (append-only) and read, and their published JSON Schemas.

May import `testcard.specs` and `harness.errors`.
"""
