"""Prometheus as a source of metrics."""

from autoscaler.adapters.prometheus.source import PrometheusSource

__all__ = ["PrometheusSource"]
