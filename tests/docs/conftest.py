import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.tiny_encoder import make_tiny_encoder

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FIRST = {
    "source": {"kind": "python-docs", "max_mb": 1, "validation_fraction": 0.02},
    "tokenizer": {"vocab_size": 512},
    "model": {"layers": 2, "width": 64, "heads": 2, "kv_heads": 1, "context": 256},
    "training": {"steps": 12, "batch": 4, "warmup_steps": 2, "threads": 2},
}

# A stranger's home, but compiled kernels may be shared: compiling them is not what is tested.
COMPILED = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))


@dataclass(frozen=True)
class Newcomer:
    """Somebody in a fresh clone, with a home of their own and one shell.

    What blocks export is kept from one block to the next, as in that shell.
    """

    clone: Path
    home: Path

    def run(self, script: str, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
        state = self.home / "exported"
        wrapped = f"set -euo pipefail\n[ ! -f {state} ] || source {state}\n{script}\n"
        wrapped += f"export -p | grep -E 'OPENAI_|VIRTUAL|PATH=' > {state} || true\n"
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("AIGRID", "XDG", "OPENAI"))
        }
        return subprocess.run(
            ["bash", "-c", wrapped],
            cwd=self.clone,
            env=kept | {"HOME": str(self.home), "XDG_CACHE_HOME": COMPILED},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )


@pytest.fixture(scope="package")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A clone after `make up`, with a small model under the first model's name.

    Only the models are smaller than what `make up` makes and the README fetches, and the port is
    any free one.
    """
    pytest.importorskip("torch")
    home = tmp_path_factory.mktemp("home")
    clone = home / "aigrid"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "activate").write_text(f'export PATH="{BIN}:$PATH"\n')
    shutil.copytree(ROOT / "docs", clone / "docs")
    shutil.copytree(ROOT / "scenarios", clone / "scenarios")
    recipe = yaml.safe_load((ROOT / "recipes" / "first-light.yaml").read_text()) | FIRST
    (clone / "recipes").mkdir()
    lines = yaml.safe_dump(recipe, sort_keys=False)
    (clone / "recipes" / "first-light.yaml").write_text(lines)
    make_tiny_encoder(clone / "all-MiniLM-L6-v2")
    somebody = Newcomer(clone, home)
    start = f'PATH="{BIN}:$PATH" aigrid up --detach --port 0 --sites 1,0,1'
    started = somebody.run(start)
    assert started.returncode == 0, started.stderr
    yield somebody
    somebody.run(f'PATH="{BIN}:$PATH" aigrid down')
