"""Words and numbers that a person reads, the same on a terminal, in a report and in a CI job's files.

How numbers, amounts, sizes and lists are written (`words`), how verdicts look (`verdicts`), what a price is in a line (`prices`),
where a promise can be read (`sources`), and commands that can be typed (`commands`). Pure but for `commands.typed_path`, which asks for the working directory.
May import `testcard.specs` and the records of `harness.runs`.
"""
