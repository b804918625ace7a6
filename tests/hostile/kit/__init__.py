"""Attacks on whoever reads an answer: a server of them (`server`), and a table of what each command makes of each (`table`)."""
