"""Tools that tests of every folder share: small real pictures, tiny servers on this machine, waiting for what has to come about.

Imported as `testkit` (pytest puts `tests/` on the path). It may use nothing of Testcard's, so that a mistake there does not hide here.
"""
