"""The load path's bytes: connections, deadlines, sending and receiving. Knows nothing of workloads."""
