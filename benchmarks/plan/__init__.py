"""What to load: workload, targets, what is asked, the order of turns, the job that describes it to other processes, cells made of it.

May import `net`, over whose connections a cell's requests are prepared.
"""
