"""`python -m nchl` is `nchl`."""

import sys

from nchl.cli import main

if __name__ == "__main__":
    sys.exit(main())
