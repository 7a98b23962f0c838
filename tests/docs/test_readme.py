"""The commands of the pages, run in order and as written, in a clone with a grid (see conftest).

A comment above a block may say that it is replaced, or what it needs:
`<!-- docs-test: replaced, WHY -->` and `<!-- docs-test: needs PROGRAM -->`.
"""

import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from aigrid.twin.report.words import MEANINGS
from tests.docs.conftest import Newcomer

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:<!-- docs-test: (.*?) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
FULL_RUN_ONLY = {"make up", "make test", "make bench"}


@dataclass(frozen=True)
class Block:
    remark: str
    language: str
    text: str

    def __str__(self) -> str:
        return self.text.splitlines()[0][:50]


README, TWIN = ROOT / "README.md", ROOT / "docs" / "HOW-THE-TWIN-WORKS.md"


def blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text())]


BLOCKS, TWIN_BLOCKS = blocks_of(README), blocks_of(TWIN)


def test_only_the_long_commands_are_replaced() -> None:
    replaced = [b.text for b in BLOCKS if b.remark.startswith("replaced")]
    assert {line for text in replaced for line in text.splitlines()} == FULL_RUN_ONLY
    assert {block.language for block in BLOCKS} == {"sh", "python"}
    assert len(BLOCKS) >= 8


def test_every_target_of_make_that_the_readme_names_exists() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {command.removeprefix("make ") for command in FULL_RUN_ONLY} <= set(targets)


@pytest.mark.parametrize("page", [README, TWIN], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.grid
@pytest.mark.parametrize("block", [b for b in BLOCKS if "replaced" not in b.remark], ids=str)
def test_block_runs_as_written(newcomer: Newcomer, block: Block) -> None:
    _skip_without(block.remark)
    script = block.text
    if block.language == "python":
        (newcomer.clone / "block.py").write_text(block.text)
        script = "python block.py"
    ran = newcomer.run(script)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert "Traceback" not in ran.stderr


@pytest.mark.grid
@pytest.mark.parametrize("block", TWIN_BLOCKS, ids=str)
def test_block_of_the_twins_page_runs_as_written(newcomer: Newcomer, block: Block) -> None:
    newcomer.run("source .venv/bin/activate")  # as the README has it by then
    test_block_runs_as_written(newcomer, block)


def test_the_twins_page_names_every_figure_and_only_files_that_exist() -> None:
    text = TWIN.read_text()
    for name, meaning in MEANINGS.items():
        assert f"| `{name}` | {meaning} |" in text
    for name in re.findall(r"`((?:twin|models|control)/[\w./]+)`", text):
        path = ROOT / "src" / "aigrid" / name.replace("models/", "twin/models/", 1)
        assert path.exists(), name


def _skip_without(remark: str) -> None:
    if not remark.startswith("needs "):
        return
    program = remark.removeprefix("needs ")
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt-get install {program})")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 5000)) == 0:
            pytest.skip("port 5000, which the README names, is taken on this machine")
