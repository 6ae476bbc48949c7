"""The catalogue on the command line.

python -m research.features                     every feature, one line each
python -m research.features --family trend      one family
python -m research.features --describe rsi      one feature in full
python -m research.features --page              the reference page, Markdown
"""

from __future__ import annotations

import argparse
import sys

from research.errors import InvalidInput
from research.features.describe import describe, listing, page


def main(arguments: list[str] | None = None) -> int:
    """Print what is asked for; 2 if there is no such thing."""
    parser = argparse.ArgumentParser(prog="python -m research.features", description="The catalogue of features.")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--describe", metavar="NAME", help="one feature in full")
    asked.add_argument("--family", metavar="FAMILY", help="the features of one family")
    asked.add_argument("--page", action="store_true", help="the reference page, Markdown")
    given = parser.parse_args(arguments)
    try:
        if given.describe is not None:
            text = describe(given.describe)
        else:
            text = page().rstrip("\n") if given.page else listing(given.family)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        print(text)
    except BrokenPipeError:  # piped into head
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
