"""`python -m tests.vectors FILE`: name each vector that fails, then say how many passed; the exit code is 1 on any."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.vectors.runner import BUILT_IN, load, problem_of


def main(arguments: list[str]) -> int:
    """Run the file that is named, else the one that lies here."""
    if len(arguments) > 1:
        print("usage: python -m tests.vectors [FILE]", file=sys.stderr)
        return 2
    vectors = load(Path(arguments[0]) if arguments else BUILT_IN)
    failed = 0
    for vector in vectors:
        problem = problem_of(vector)
        if problem:
            failed += 1
            print(f"{vector.id}: {problem}")
    print(f"{len(vectors) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
