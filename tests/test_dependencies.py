"""What gets installed is pinned: every distribution that ours needs, and all that those need."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = {"main": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    found = {}
    for line in lines:
        name, _, exact = line.partition("==")
        assert exact, f"constraints.txt: {line} names no exact version"
        assert canonicalize_name(name) not in found, f"constraints.txt: {name} stands twice"
        found[canonicalize_name(name)] = exact
    return found


def needed(requirements: list[str]) -> dict[str, str]:
    """All distributions that requirements pull in, as installed here, and who asks for each."""
    found: dict[str, str] = {}
    todo = [(Requirement(text), "pyproject.toml") for text in requirements]
    while todo:
        wanted, by = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in found and not wanted.extras:
            continue
        found[name] = by
        try:
            further = distribution(name).requires or []
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed here")
        for text in further:
            inner = Requirement(text)
            extras = wanted.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in extras):
                todo.append((inner, name))
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_every_distribution_that_is_pulled_in_is_pinned_and_installed_so(group: str) -> None:
    pinned = pins()
    for name, by in needed(GROUPS[group]).items():
        assert name in pinned, f"{by} pulls in {name}, which constraints.txt does not pin"
        installed = version(name).partition("+")[0]
        assert pinned[name].partition("+")[0] == installed, f"{name} is installed as {installed}"


@pytest.mark.parametrize("group", GROUPS)
def test_what_we_ask_for_is_exact_and_agrees_with_the_constraints(group: str) -> None:
    pinned = pins()
    for text in GROUPS[group]:
        wanted = Requirement(text)
        (exact,) = [str(one) for one in wanted.specifier]
        assert exact == f"=={pinned[canonicalize_name(wanted.name)]}", text


def test_nothing_is_pinned_that_nobody_needs() -> None:
    asked = [text for group in GROUPS.values() for text in group]
    asked += tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert not set(pins()) - set(needed(asked))
