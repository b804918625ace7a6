"""Servers that keep the contract, or break it in one named way. May import `testcard.specs`, never the harness.

From the top: `command` runs `testcard mock`, `running` serves one from a thread for somebody's own tests, `processes` from several processes;
`app` puts providers together, `replay` answers as a recorded run did, `serving` gives them a socket; `own_addresses` are those under /_testcard,
`control` puts `conditions` in force in all providers; `endpoint` serves one operation; `variants` keep the contract in other ways, `faults` break it in one; `providers` read and write as each document says;
`pictures` draws; `request_body`, `field_meaning`, `store`, `pace` and `request_log` are what serving needs; `exchange` holds the values that pass
through, and `stages` says where on the way something else can be done. Imports lead downwards only.
"""
