"""The figures of the program, each beside a control measured in the same run: `python -m bench`, or `make bench`.

A real broker and a real engine, as the tests start them (`tests.parts`). Ours and the control take turns, five times
unless it is said otherwise, and medians count, since machines are noisy.
"""
