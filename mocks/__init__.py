"""Servers that keep the contract, or break it in one named way. May import `testcard.specs`, never the harness.

From the top: `command` runs `testcard mock`; `app` puts providers together and `serving` gives them a socket; `endpoint` serves one
operation; `variants` keep the contract in other ways, `faults` break it in one; `providers` read and write as each document says;
`pictures` draws; `request_body`, `field_meaning`, `store` and `pace` are what serving needs; `exchange` holds the values that pass
through, and `stages` says where on the way something else can be done. Imports lead downwards only.
"""
