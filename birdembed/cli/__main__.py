"""Run the command line as `python -m birdembed.cli`."""

import sys

from birdembed.cli import main

sys.exit(main())
