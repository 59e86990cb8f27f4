"""The laboratory: what a policy would have done with a load, and how good that would have been.

    from autoscaler import lab

    drive = lab.stepper("quantile_headroom", {"lack_cost": 99}, capacity=50, startup=30, maximum=40)
    desired = drive.step(t=0.0, load=412.5, ready=9, starting=0)

Everything runs the code of production: the plugin host, the core's arbitration and guards, on virtual time.
"""

from __future__ import annotations

from autoscaler.lab.setting import Setting
from autoscaler.lab.stepping import Stepper, stepper

__all__ = ["Setting", "Stepper", "stepper"]
