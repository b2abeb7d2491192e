"""What the tests share."""

import subprocess
import sys
from pathlib import Path

import pytest

import kokeshi

TINY = Path(__file__).parents[3] / "fixtures/v3-tiny/original"


@pytest.fixture(scope="session")
def model():
    """The bundled model, in the precision that does not depend on the processor."""
    return kokeshi.Model("starter", precision="f32")


@pytest.fixture(scope="session")
def tiny():
    """A model with five tasks and random weights."""
    return kokeshi.Model(str(TINY), precision="f32")


def program(*arguments, **options):
    """Runs the program of the package."""
    command = [sys.executable, "-m", "kokeshi", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
