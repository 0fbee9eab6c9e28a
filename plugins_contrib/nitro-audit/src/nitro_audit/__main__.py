"""Makes `python -m nitro_audit` run the command line."""

import signal
import sys

from nitro_audit.cli import main

if __name__ == "__main__":
    # Ended by Ctrl-C, or by `| head` closing its end, it goes without a word, as other tools do.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
