"""`python -m birdembed.cli`, where the script `birdembed` is not on the path."""

import sys

from birdembed.cli import main

sys.exit(main())
