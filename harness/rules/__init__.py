"""Rules: one promise each, a pure function over exchanges."""
