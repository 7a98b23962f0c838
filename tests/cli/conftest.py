import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aigrid.cli.main import main
from tests.tiny_model import make_tiny_model


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def aigrid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command line in this process, on a data directory of its own."""
    monkeypatch.setenv("AIGRID_DATA", str(tmp_path / "grid"))

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


def spawn(*arguments: object, data: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command line in a process of its own."""
    command = [sys.executable, "-m", "aigrid.cli.main", *map(str, arguments)]
    environment = os.environ | {"AIGRID_DATA": str(data), "COLUMNS": "160"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=150, **options
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that the factory made: tiny:0.0.1."""
    pytest.importorskip("torch")
    return make_tiny_model(tmp_path_factory.mktemp("made") / "tiny").path


@pytest.fixture(scope="package")
def grid(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a running grid that serves tiny:0.0.1."""
    data = tmp_path_factory.mktemp("grid")
    assert spawn("store", "publish", model, data=data).returncode == 0
    started = spawn("up", "--detach", "--port", 0, "--sites", "1,0,1", data=data)
    assert started.returncode == 0, started.stderr
    yield data
    spawn("down", data=data)
