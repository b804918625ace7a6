"""The command's side of a run: targets opened, load process started, run folder finished."""
