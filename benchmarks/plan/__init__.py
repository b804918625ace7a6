"""What to load: workload, what is asked, cells, the order of turns, and the job that describes it to other processes."""
