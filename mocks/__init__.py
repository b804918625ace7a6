"""Servers that keep the contract, or break it in one named way. May import `testcard.specs`, never the harness."""
