"""Loading plugins, asking them, and keeping what they do wrong away from everything else."""

from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.plugin_host.host import Plugin, PluginHost
from autoscaler.plugin_host.scoring import ScoreRequest
from autoscaler.plugin_host.standing import Standing

__all__ = ["EvaluationRequest", "Plugin", "PluginHost", "ScoreRequest", "Standing"]
