"""What a check may spend, and what it spent: reservations, limits, the worst case of a plan."""
