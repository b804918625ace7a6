"""Load from several processes on Locust's engine: a master that leads, workers that send, on one machine or many.

Locust's master and worker runners bring the connection, the heartbeat and the users; what a turn is, who may spend what, and
where samples go are messages of ours on top (`messages`). The master sends no load. Workers take every N-th arrival of the one
schedule, lease the budget in blocks (`leases`), agree on the time (`clocks`) and ship their samples once a second
(`shipping`); the master writes them to a shard for each worker.
"""
