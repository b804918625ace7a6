"""Rules: one promise each, as data and a pure function over recorded exchanges; and the requests that show whether it is kept.

`promises/` holds what is promised, a module for each subject, and has all rules by id (`RULES`); beside it stands the machinery: what
a rule is (`rule`), what it is judged in (`scope`) and by (`evidence`, `schema_judge`), the requests that
it asks for (`probes`) and the pictures that those carry (`sent_pictures`).

A rule looks only at records, so a run can be judged again later. May import `testcard.specs`, `harness.wire`, `harness.intake`, the
records of `harness.runs`, `harness.text.words` and `harness.errors`; no sockets, clock, random sources or files. Promises import
the machinery and not each other, and never the other way round.
"""
