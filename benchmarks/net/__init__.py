"""The load path's bytes: connections, sending and its deadlines, receiving. Knows nothing of workloads; imports no other room."""
