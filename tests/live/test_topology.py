"""Sites from counts and from files, and what a person is told when they are wrong."""

from pathlib import Path

import pytest

from aigrid.core.errors import ConfigurationError
from aigrid.live.topology import from_counts, from_file


def test_default_is_one_factory_one_hub_two_towers_each_under_the_next() -> None:
    planned = from_counts("1,1,2")
    parents = {p.site.name: p.site.parent for p in planned}
    assert parents == {
        "factory-1": "",
        "hub-1": "factory-1",
        "tower-1": "hub-1",
        "tower-2": "hub-1",
    }
    assert [bool(p.site.cells) for p in planned] == [False, False, True, True]


def test_towers_without_hub_hang_under_the_factory() -> None:
    assert [p.site.parent for p in from_counts("1,0,2")] == ["", "factory-1", "factory-1"]


@pytest.mark.parametrize("text", ["", "1,1", "1,1,x", "0,0,0", "1,1,63", "-1,1,1"])
def test_counts_that_cannot_be_are_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--sites '{text}'"):
        from_counts(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sites: [", "cannot be read"),
        ("places: []", "expected `sites:`"),
        ("sites: []", "list of one or more"),
        ("sites: [{name: a}]", r"sites\[0\]"),
        ("sites: [{name: a, kind: moon, region: r}]", "kind 'moon'"),
        ("sites: [{name: a, kind: hub, region: r, colour: red}]", "unknown key 'colour'"),
        ("sites: [{name: a/b, kind: hub, region: r}]", "site name 'a/b'"),
        ("sites: [{name: a, kind: hub, region: r, parent: z}]", "parent 'z'"),
        (
            "sites: [{name: a, kind: hub, region: r}, {name: a, kind: hub, region: r}]",
            "stands there twice",
        ),
        (
            "sites: [{name: a, kind: tower, region: r, cells: [{name: c}],"
            " profile: {kind: constant, load: 2}}]",
            "profile constant.load",
        ),
    ],
)
def test_file_that_cannot_be_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "sites.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        from_file(path)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml cannot be read"):
        from_file(tmp_path / "nowhere.yaml")
