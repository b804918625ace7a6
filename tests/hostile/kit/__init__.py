"""Attacks on whoever reads an answer: a server of them (`server`), the attacks by subject, what all are made of (`talk`), and a table of what each command makes of each (`table`)."""
