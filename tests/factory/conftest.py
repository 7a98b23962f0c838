import pytest
from tests.tiny_model import make_tiny_model

from aigrid.factory.machine import wait_without_spinning
from aigrid.factory.run import MadeModel

wait_without_spinning()  # before any test of this room loads torch


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeModel:
    """One tiny model, made once for all tests of this room."""
    return make_tiny_model(tmp_path_factory.mktemp("made") / "tiny")


class Heard:
    """A progress double that remembers."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.done: dict[str, int] = {}

    def stage(self, name: str, total: int) -> None:
        self.stages.append((name, total))
        self.done[name] = 0

    def advance(self, n: int = 1, **facts: object) -> None:
        self.done[self.stages[-1][0]] += n


@pytest.fixture
def heard() -> Heard:
    return Heard()
