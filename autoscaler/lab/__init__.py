"""The laboratory: what a policy would have done with a load, and how good that would have been."""
