"""Run the command line as `python -m birdembed`."""

import sys

from birdembed.cli import main

sys.exit(main())
