"""Plugins that do what a plugin must not, as source text: tests write them to files and load them as an operator
would."""

from __future__ import annotations

HEADER = """
import os, sys, time
import autoscaler

@autoscaler.hookimpl
def propose(service, signals, now, memory):
"""
BODIES = {
    "good": "return autoscaler.Scale(3, 'three')",
    "raises": "raise ValueError('no\\nsecond line')",
    "exits": "sys.exit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "dies": "os._exit(7)",
    "killed": "os.kill(os.getpid(), 9)",
    "sleeps": "time.sleep(60)",
    "spins": "\n    while True: pass",
    "hogs": "return autoscaler.Scale(len(bytearray(4 << 30)))",
    "forks": "\n    os.fork()\n    return autoscaler.Scale(3)",
    "prints": "\n    print('x' * 100000)\n    return autoscaler.Scale(3)",
    "closes": "\n    os.closerange(3, 64)\n    return autoscaler.Scale(3)",
    "mutates": (
        "\n    signals['load']._series.latest = 99.0\n    signals._of._series.clear()\n"
        "    object.__setattr__(service, 'demand', 99)\n    return autoscaler.Scale(3)"
    ),
    "reads": "return autoscaler.Scale(int(signals['load'].latest) * service.demand)",
    "environment": "return autoscaler.Hold(' '.join(sorted(os.environ)))",
    "remembers": "\n    memory['calls'] = memory.get('calls', 0) + 1\n    return autoscaler.Scale(memory['calls'])",
    "hoards": "\n    memory['x'] = 'y' * 70000\n    return autoscaler.Scale(1)",
    "forgets_by_raising": "\n    memory['x'] = 1\n    raise ValueError('after the change')",
    "unlistable": "\n    memory['x'] = object()\n    return autoscaler.Scale(1)",
}
NONSENSE = {
    "text": ("return 'three'", "returned str"),
    "float": ("return autoscaler.Scale(2.0)", "whole number"),
    "bool": ("return autoscaler.Scale(True)", "whole number"),
    "negative": ("return autoscaler.Scale(-1)", "whole number"),
    "huge": ("return autoscaler.Scale(10**6 + 1)", "whole number"),
    "nan": ("return autoscaler.Scale(float('nan'))", "whole number"),
    "nan_wake": ("return autoscaler.Scale(1, '', float('nan'))", "wake_at"),
    "reason": ("return autoscaler.Hold(5)", "reason must be a text"),
    "veto": ("return autoscaler.Veto('no')", "returned Veto"),
    "revision": ("return autoscaler.Update('new')", "revision's number"),
}


def source(body: str) -> str:
    """The module whose policy does that."""
    return f"{HEADER}    {body}\n"
