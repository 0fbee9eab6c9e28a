"""Runs the command line: `python -m nitro_dispatch`."""

from __future__ import annotations

import sys

from nitro_dispatch.cli import main

sys.exit(main())
