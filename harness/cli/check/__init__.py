"""`testcard check`: the command, what is printed and written of a run, and its sentences. It may import what the other commands may."""
