"""`autoscaler demo`."""

from autoscaler.cli.demo.command import register

__all__ = ["register"]
