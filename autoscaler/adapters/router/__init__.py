"""The embedded router: a small HTTP/1.1 reverse proxy in front of routed services."""

from autoscaler.adapters.router.embedded import EmbeddedRouter

__all__ = ["EmbeddedRouter"]
