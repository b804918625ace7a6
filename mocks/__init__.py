"""Servers that keep the contract, or break it in one named way. May import `testcard.specs`, never the harness.

From the top: `command` runs `testcard mock`, `running` serves one from a thread for somebody's own tests, `processes` from several processes;
`app` puts providers together, has the addresses under /_testcard and puts `conditions` in force in all of them; `replay` answers as a
recorded run did, `serving` gives them a socket; `endpoint` serves one operation; `variants` keep the contract in other ways, `faults` break
it in one; `providers` read and write as each document says; `pictures` draws; `request_body`, `field_meaning`, `filling` and `store` (pictures,
tasks, the newest requests) are what serving needs; `exchange` holds the values that pass
through, and `stages` says where on the way something else can be done. Imports lead downwards only.
"""
