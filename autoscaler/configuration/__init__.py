"""The operator's YAML file, strict, to the frozen settings that the program runs on."""

from autoscaler.configuration.loading import Loaded, load, with_options

__all__ = ["Loaded", "load", "with_options"]
