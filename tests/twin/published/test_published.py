"""Published results beside ours: the files are read strictly, and our side is the models' own."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aigrid.core.errors import ConfigurationError, NotFoundError
from aigrid.twin.published import results
from aigrid.twin.report.setting import Published

FOLDER = Path(__file__).parents[3] / "scenarios" / "published"


@pytest.fixture(scope="module")
def rows() -> dict[str, Published]:
    return {row.name: row for row in results(FOLDER)}


def row_with(rows: dict[str, Published], start: str) -> Published:
    return next(row for name, row in rows.items() if name.startswith(start))


def test_every_result_has_ours_a_unit_and_a_reason(rows: dict[str, Published]) -> None:
    assert len(rows) >= 25
    for row in rows.values():
        assert math.isfinite(row.ours), row.name
        assert row.unit and len(row.why) > 10, row.name
        assert math.isnan(row.difference) == (math.isnan(row.published) or row.published == 0)


def test_a_difference_is_that_of_ours_from_the_published(rows: dict[str, Published]) -> None:
    row = row_with(rows, "Use of a radio site's computer, mean")
    assert row.difference == pytest.approx((row.ours - row.published) / row.published)
    assert 25 < row.ours < 45


def test_four_sites_gain_nothing_by_place_alone_but_by_what_is_in_the_cache(
    rows: dict[str, Published],
) -> None:
    assert abs(row_with(rows, "Tokens/s in time at burst").ours) < 5
    assert row_with(rows, "The same, where the cluster spreads sessions").ours > 20
    assert row_with(rows, "Time to first token at burst").ours < 500


def test_selling_slot_by_slot_is_worth_more_than_by_the_minute(rows: dict[str, Published]) -> None:
    by_slot = row_with(rows, "Idle compute sold, slot by slot").ours
    by_minute = row_with(rows, "Idle compute sold, by the minute").ours
    assert by_slot > 70 > by_minute
    for name in ("slot by slot", "by the minute"):
        assert row_with(rows, f"Slots too late, {name}").ours <= 10


def test_the_marginal_reading_returns_more_than_the_whole_site(rows: dict[str, Published]) -> None:
    for weight in ("AI-heavy", "radio-heavy"):
        whole = row_with(rows, f"Return, {weight}, whole site").ours
        assert row_with(rows, f"Return, {weight}, marginal").ours > whole
    assert row_with(rows, "Revenue of a server and hour").ours == pytest.approx(22.5)


def test_the_edge_wins_with_small_models_and_short_prompts(rows: dict[str, Published]) -> None:
    saved = [
        row_with(rows, f"Saved part of the time to first token, {model}").ours
        for model in ("1 B, chat", "8 B, chat", "70 B, chat", "70 B, 8,192")
    ]
    assert saved == sorted(saved, reverse=True)
    assert saved[0] > 50 > 5 > saved[-1]
    assert row_with(rows, "Longest prompt").ours > row_with(rows, "The same, 1 B").ours > 100
    assert row_with(rows, "The same, 70 B").ours == 0


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    raw = yaml.safe_load((FOLDER / "4-radio-only.yaml").read_text())
    change(raw)
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw.update(kind="magic"), "'magic'"),
        (lambda raw: raw.pop("source"), "expected inputs, kind"),
        (lambda raw: raw.update(results=[]), "results must be a list"),
        (lambda raw: raw["results"][0].update(key="half_%"), "'half_%'"),
        (lambda raw: raw["results"][0].update(published="a third"), "'a third'"),
        (lambda raw: raw["results"][0].pop("why"), r"results\[0\]"),
        (lambda raw: raw["inputs"].pop("shapes"), "inputs.shapes is missing"),
        (
            lambda raw: raw["inputs"].update(colour={"value": 1, "origin": "assumed"}),
            "inputs.colour is not known",
        ),
        (lambda raw: raw["inputs"]["headroom"].update(origin="hearsay"), "'hearsay'"),
        (lambda raw: raw["inputs"]["headroom"].update(value="much"), "'much', not a number"),
        (lambda raw: raw["inputs"]["shapes"].update(value="home"), "'home', not names"),
        (lambda raw: raw["inputs"].update(headroom=0.1), "give it value, origin"),
        (lambda raw: raw.update(inputs=[1]), "inputs must be an object"),
    ],
)
def test_a_file_with_something_unknown_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        results(changed(tmp_path, change))


def test_a_text_that_is_none_is_refused(tmp_path: Path) -> None:
    raw = yaml.safe_load((FOLDER / "3-reclaim.yaml").read_text())
    raw["inputs"]["shape"]["value"] = 3
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigurationError, match="is 3, not a text"):
        results(tmp_path)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no published results"):
        results(tmp_path)
