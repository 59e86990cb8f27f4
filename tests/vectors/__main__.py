"""`python -m tests.vectors [FILE]`: name each vector that fails, then say how many passed.

The exit code is 1 where any failed, a line that is no vector included, and 2 where the file cannot be read.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.vectors.runner import BUILT_IN, lines_of, problem_of, vector_of

USAGE = "usage: python -m tests.vectors [FILE]    (lines of [id, function, input, want]; without FILE the shipped ones)"


def main(arguments: list[str]) -> int:
    """Run the file that is named, else the one that lies here."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        asked = arguments in (["-h"], ["--help"])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    path = Path(arguments[0]) if arguments else BUILT_IN
    try:
        lines = lines_of(path)
    except (OSError, ValueError) as error:
        print(f"{path}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    failed = 0
    for number, line in lines:
        name = f"line {number}"
        try:
            vector = vector_of(line)
            name, problem = vector.id, problem_of(vector)
        except ValueError as error:
            problem = str(error)
        if problem:
            failed += 1
            print(f"{name}: {problem}")
    print(f"{len(lines) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
