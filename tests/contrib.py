"""Check each distribution below plugins_contrib/ by itself; tox runs this, and pytest does not.

    python tests/contrib.py test     run its tests where only its wheel and the core's are
    python tests/contrib.py types    check its types

`test` takes the core's wheel from the variable TOX_PACKAGE, which tox sets.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Final, Union

ROOT: Final = Path(__file__).resolve().parent.parent


def run(*command: Union[str, Path], folder: Path = ROOT) -> None:
    """Run a command in a folder; raises `CalledProcessError` if it fails."""
    subprocess.run(command, cwd=folder, check=True)


def test(project: Path) -> None:
    """Run the tests of one plugin in an environment that has nothing but the two wheels."""
    with tempfile.TemporaryDirectory() as folder:
        environment, wheels = Path(folder, "environment"), Path(folder, "wheels")
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, project)
        run(sys.executable, "-m", "venv", environment)
        python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
        # The extra `tests` of either brings what its tests need.
        wanted = [f"{wheel}[tests]" for wheel in (os.environ["TOX_PACKAGE"], *wheels.iterdir())]
        run(python, "-m", "pip", "install", "-q", *wanted)
        # Isolated, so that no folder of sources hides a wheel.
        options = ("-c", ROOT / "pyproject.toml", "--rootdir", project)
        run(python, "-I", "-m", "pytest", *options, project / "tests", folder=project)


def types(project: Path) -> None:
    """Check the types of one plugin and its tests."""
    # Installing it brings what it depends on, which has types of its own.
    run(sys.executable, "-m", "pip", "install", "-q", project)
    options = ("--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache")
    run(sys.executable, "-m", "mypy", *options, "src", "tests", folder=project)


CHECKS: Final[dict[str, Callable[[Path], None]]] = {"test": test, "types": types}


def main() -> None:
    """Check every contributed plugin, and fail if one of them does."""
    check = CHECKS[sys.argv[1]]
    projects = sorted(file.parent for file in ROOT.glob("plugins_contrib/*/pyproject.toml"))
    failed = []
    for project in projects:
        print(f"contrib: {project.name}", flush=True)
        try:
            check(project)
        except subprocess.CalledProcessError:
            failed.append(project.name)
    print(f"contrib: {len(projects) - len(failed)} of {len(projects)} plugins are good", flush=True)
    if failed:
        sys.exit(f"contrib: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
