"""HAProxy as the router, spoken to through its runtime API."""

from autoscaler.adapters.haproxy.router import HaproxyRouter

__all__ = ["HaproxyRouter"]
