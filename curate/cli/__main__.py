"""`python -m curate.cli`, where the command `curate` is not on the path."""

import sys

from curate.cli import main

sys.exit(main())
