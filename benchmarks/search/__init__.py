"""The search for the highest rate that keeps the objectives."""
