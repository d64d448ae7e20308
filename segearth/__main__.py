"""`python -m segearth` is `segearth`."""

import sys

from segearth.cli import main

if __name__ == "__main__":
    sys.exit(main())
