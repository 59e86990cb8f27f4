"""The arithmetic of the built-in policies: pure functions, each of which the vectors test directly."""
