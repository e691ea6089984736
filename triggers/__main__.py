"""``python -m triggers``: the command line."""

import sys

from triggers.cli import main

sys.exit(main())
