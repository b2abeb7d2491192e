"""The program `kokeshi`, as a command of the Python package."""

import signal
import sys

from kokeshi import _kokeshi


def main() -> None:
    # The program has its own answer to Ctrl-C, or ends by it; Python's would only set a flag.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = ["kokeshi", *sys.argv[1:]]
    sys.exit(_kokeshi.main(arguments, [sys.executable, "-m", "kokeshi"]))


if __name__ == "__main__":
    main()
