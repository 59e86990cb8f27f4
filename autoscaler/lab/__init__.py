"""The laboratory: what a policy would have done with a load, and how good that would have been.

    from autoscaler import lab

    drive = lab.stepper("quantile_headroom", {"lack_cost": 99}, capacity=50, startup=30, maximum=40)
    desired = drive.step(t=0.0, load=412.5, ready=9, starting=0)

Everything runs the code of production: the plugin host, the core's arbitration and guards, on virtual time.
"""

from __future__ import annotations

from autoscaler.lab.comparison import Comparison, compare
from autoscaler.lab.setting import Setting
from autoscaler.lab.simulation import Decision, Run
from autoscaler.lab.simulation import run_policy as simulate
from autoscaler.lab.stepping import Stepper, stepper
from autoscaler.lab.traces import Load, Trace, generated, load_of, read_trace
from autoscaler.lab.tuning import Tuned, tune

__all__ = [
    "Comparison",
    "Decision",
    "Load",
    "Run",
    "Setting",
    "Stepper",
    "Trace",
    "Tuned",
    "compare",
    "generated",
    "load_of",
    "read_trace",
    "simulate",
    "stepper",
    "tune",
]
