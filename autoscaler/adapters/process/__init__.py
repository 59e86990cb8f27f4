"""Local processes as replicas: a target for one machine without containers."""

from autoscaler.adapters.process.target import ProcessTarget

__all__ = ["ProcessTarget"]
