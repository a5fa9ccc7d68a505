"""Fixtures for everyone: small networks in float64, the command line as a subprocess."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# On a loaded machine time says nothing; in CI the examples are the same in every run.
settings.register_profile("bpfree", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("bpfree")

# A shell's background jobs ignore Ctrl-C, and so would every process that a test starts there to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def bpfree() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own, away from any data and from the user's cache."""

    def run(*arguments: object, cwd: Path = ROOT, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bpfree", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "PYTHONPATH": str(ROOT), **env}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, env=environment)

    return run


def data_folder() -> Path | None:
    """Where MNIST and Fashion-MNIST lie, if they do: $BPFREE_TEST_DATA or a shared folder beside the repository."""
    for place in (os.environ.get("BPFREE_TEST_DATA"), ROOT.parent / "shared" / "data"):
        if place and (Path(place) / "FashionMNIST" / "raw").is_dir():
            return Path(place)
    return None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data sets; skips where there is none."""
    folder = data_folder()
    if folder is None:
        pytest.skip("no MNIST and Fashion-MNIST here: name their folder in BPFREE_TEST_DATA")
    return folder
