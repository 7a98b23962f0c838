"""The wheel, installed alone into an empty environment, does what the checkout does."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.tiny_model import TINY, write_tiny_recipe, write_tiny_text

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, whose dependencies are those of the test environment."""

    bin: Path
    cwd: Path
    data: Path

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIGRID", "PYTHON"))}
        return subprocess.run(
            [self.bin / "aigrid", *map(str, arguments)],
            cwd=self.cwd,
            env=kept | {"AIGRID_DATA": str(self.data)},
            capture_output=True,
            text=True,
            timeout=150,
        )


def call(*command: object) -> None:
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    wheel = next(folder.glob("*.whl"))
    python = folder / "venv" / "bin" / "python"
    call(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", "--no-compile", wheel),
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "venv" / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "empty").mkdir()
    return Installed(folder / "venv" / "bin", folder / "empty", folder / "data")


def test_runs_from_the_wheel_and_not_from_the_checkout(installed: Installed) -> None:
    code = "import aigrid; print(aigrid.__file__)"
    where = subprocess.check_output([installed.bin / "python", "-c", code], cwd=installed.cwd)
    assert str(installed.bin.parent) in where.decode()
    assert installed.run("--help").returncode == 0
    assert json.loads(installed.run("version", "--json").stdout)["commit"] == "v0.1.0"


def test_recipes_and_scenarios_travel_in_it(installed: Installed) -> None:
    ran = installed.run("factory", "run", "recipes/first-light.yaml", "--data", "nothing-here")
    assert ran.returncode == 4
    assert "nothing-here" in ran.stderr, "the recipe was found, the text was not"
    unknown = installed.run("up", "--topology", "no-such")
    for scenario in (ROOT / "scenarios").glob("*.yaml"):
        assert f"scenarios/{scenario.name}" in unknown.stderr


def test_the_factory_works(installed: Installed, tmp_path: Path) -> None:
    recipe, text = write_tiny_recipe(tmp_path), write_tiny_text(tmp_path / "text")
    made = installed.run("factory", "run", recipe, "--data", text, "--publish", "--json")
    assert made.returncode == 0, made.stderr
    assert installed.run("store", "verify", "tiny").returncode == 0


@pytest.mark.grid
def test_a_grid_works(installed: Installed, tmp_path: Path) -> None:
    docs = TINY["source"] | {"kind": "python-docs", "max_mb": 1, "validation_fraction": 0.02}
    recipe = write_tiny_recipe(tmp_path, source=docs)
    arguments = ("--port", 0, "--sites", "1,0,1", "--recipe", recipe)
    started = installed.run("up", "--detach", *arguments)
    assert started.returncode == 0, started.stderr
    try:
        answered = installed.run("chat", "--max-tokens", 4, "hello")
        assert answered.returncode == 0, answered.stderr
        assert json.loads(installed.run("replay", "--json").stdout)["identical"]
    finally:
        assert installed.run("down").returncode == 0
