"""The target `docker`: a pool of Docker engines."""

from autoscaler.adapters.docker.target import DockerTarget

__all__ = ["DockerTarget"]
