"""Run the command line as `python -m birdembed`."""

import sys

from birdembed.cli import main

if __name__ == "__main__":
    sys.exit(main())
