"""`python -m tunesmith`, the same as `tunesmith`."""

import sys

from tunesmith.cli import main

if __name__ == "__main__":
    sys.exit(main())
