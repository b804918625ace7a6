"""Carries a plan out against a target: transport, recording, target health, what an answer leads to."""
