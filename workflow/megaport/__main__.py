"""`python -m megaport` is the command `megaport`."""

import sys

from megaport.cli import main

if __name__ == "__main__":
    sys.exit(main())
