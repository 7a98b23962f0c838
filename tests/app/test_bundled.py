from pathlib import Path

import pytest

from aigrid.app import bundled, origin
from aigrid.core.errors import NotFoundError


@pytest.mark.parametrize("given", ["recipes/first-light.yaml", "first-light.yaml", "first-light"])
def test_a_bundled_recipe_has_three_spellings(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundled.find_bundled("recipes", given).read_text().count("name: first-light") == 1


def test_a_file_on_disk_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "first-light.yaml").write_text("mine")
    found = bundled.find_bundled("recipes", "recipes/first-light.yaml")
    assert found.read_text() == "mine"


@pytest.mark.parametrize("given", ["no-such", "../recipes/first-light.yaml", "/etc/first-light"])
def test_what_is_not_there_is_named_with_what_is(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=r"recipes/first-light\.yaml") as raised:
        bundled.find_bundled("recipes", given)
    assert given in raised.value.message


def test_outside_a_checkout_the_files_are_inside_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bundled, "checkout_root", lambda: None)
    assert bundled.bundled_folder("recipes").parts[-4:] == ("aigrid", "app", "bundled", "recipes")


def test_the_commit_is_a_commit() -> None:
    if origin.checkout_root() is None:
        pytest.skip("not a checkout")
    assert len(origin.code_commit()) == 40
