"""Load from several processes on Locust's engine: a master that leads, workers that send, on one machine or many.

Locust's master and worker runners bring the connection, the heartbeat and the users; what a turn is, who may spend what, and
where samples go are messages of ours on top (`messages`, which also agree on the time). The `master` sends no load. Each `worker`
takes every N-th arrival of the one schedule, leases the budget in blocks (`leases`) and ships its samples once a second; the master
writes them to a shard for each worker. `processes`: worker processes as whoever started them sees them.
"""
