"""Test vectors of the built-in policies: one JSON line each, ``[id, function, input, want]``.

`python -m tests.vectors FILE` runs any file of this form against the policies that are shipped.
"""
