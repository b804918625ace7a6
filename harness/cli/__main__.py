"""`python -m testcard.harness.cli`: the same as the `testcard` script, for use where scripts are not on the path."""

from testcard.harness.cli import main

main()
