"""Documents over time: what changed between two of them, and what a target sends that its document does not say.

`compare` holds two documents against each other, `touches` says which rules, mock fields and cases a change concerns, `drift` reads a
run, `patch` writes what it found into the document's own text. Imports the specs, rules, runs and the plan of a check.
"""
