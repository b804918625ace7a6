"""Test-card pictures: real, decodable, of exactly the size asked for, and the same again for the same seed and parameters."""
