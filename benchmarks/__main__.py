"""``python -m benchmarks NAME``, from the project's folder."""

import sys

from benchmarks import main
from tui.cli import exit_code

sys.exit(exit_code(lambda: main(sys.argv[1:])))
