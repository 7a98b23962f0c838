"""The page that a person opens: whole, offline, safe, readable without scripts."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from tests.twin.report import made_up

from aigrid.twin.report.page import page
from aigrid.twin.report.setting import Published, Setting, setting_of
from aigrid.twin.report.words import WORDS

VOID = {"meta", "link", "br", "hr", "img", "input"}
SIZE_LIMIT = 5_000_000


class Outline(HTMLParser):
    """Checks that elements close, and keeps ids, text and what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.text: list[str] = []
        self.unnamed_drawings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.ids += [known["id"]] if "id" in known else []
        self.fetched += [known[a] for a in ("src", "href") if a in known]
        if tag == "svg" and not ({"aria-label", "aria-hidden"} & set(known)):
            self.unnamed_drawings += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def setting() -> Setting:
    published = (Published("four small sites", 81.0, 64.0, "%", -0.21, "their prompts are longer"),)
    return setting_of(
        made_up.country(), commit="c0ffee", command="aigrid rehearse x", published=published
    )


def test_the_page_opens_offline_and_is_whole(setting: Setting) -> None:
    text = page(made_up.rehearsal(), setting)
    found = outline(text)
    assert found.fetched == ["data:,"]
    assert "@import" not in text
    assert "url(" not in text
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert len(set(found.ids)) == len(found.ids)
    assert found.unnamed_drawings == 0
    assert len(text) < SIZE_LIMIT


def test_everything_can_be_read_without_scripts(setting: Setting) -> None:
    told = " ".join(" ".join(outline(page(made_up.rehearsal(), setting)).text).split())
    for words in (
        *("aigrid", "nearest", "95.0%", "2.0×10⁻⁶", "Tokyo", "Nobody ran this."),
        *(
            "more than every baseline",
            "four small sites",
            "+81%",
            "-17 points",
            "their prompts are longer",
        ),
        *("c0ffee", "aigrid rehearse x", "ab" * 32, "Whole site", "Marginal", "SLO 500 ms"),
        *("a source <with> marks", "fibre_us_per_km", "70 B"),
    ):
        assert words in told, words


def test_names_from_files_cannot_write_markup(setting: Setting) -> None:
    evil = "<script>alert(1)</script>"
    outcome = replace(made_up.outcome(evil, 0), notes=(evil,))
    found = replace(made_up.rehearsal(outcome), scenario=evil, region_names=(evil,) * 5)
    text = page(found, setting)
    assert evil not in text
    assert text.count("<script") == 3 + 0
    outline(text)


def test_the_same_rehearsal_gives_the_same_page(setting: Setting) -> None:
    assert page(made_up.rehearsal(), setting) == page(made_up.rehearsal(), setting)


def test_a_rehearsal_without_charts_still_has_figures_and_verdict() -> None:
    bare = replace(
        made_up.outcome("aigrid", 0), series={}, regions={}, histograms={}, money={}, notes=()
    )
    empty = np.zeros(0)
    found = replace(
        made_up.rehearsal(bare),
        region_names=(),
        region_latitude_deg=empty,
        region_longitude_deg=empty,
    )
    text = page(found, Setting(commit="c", command="x"))
    ids = outline(text).ids
    assert {"h-verdict", "h-compare", "h-repeat"} <= set(ids)
    assert not {"h-map", "h-day", "h-money"} & set(ids)


def test_values_that_are_not_there_are_a_dash(setting: Setting) -> None:
    nothing = replace(
        made_up.outcome("radio-only", 1),
        ttft_ms_p50=float("nan"),
        cost_per_mtok=float("inf"),
        histograms={"ttft_ms:chat": np.stack([made_up.EDGES_MS, np.zeros(60)])},
    )
    text = page(made_up.rehearsal(made_up.outcome("aigrid", 0), nothing), setting)
    assert "nan" not in text.replace("Finance", "").lower().split()
    assert "–</td>" in text


def test_every_language_has_every_word() -> None:
    assert {frozenset(words) for words in WORDS.values()} == {frozenset(WORDS["en"])}


def test_a_map_shows_regions_with_customers_only(setting: Setting) -> None:
    one = made_up.outcome("aigrid", 0)
    alone = one.regions | {"customers": np.array([0.0, 1e6, 2e6, 0.0, 0.0])}
    text = page(made_up.rehearsal(replace(one, regions=alone)), setting)
    assert text.count('class="region"') == 2
    alone["customers"][1] = 0.0
    assert "h-map" not in outline(page(made_up.rehearsal(replace(one, regions=alone)), setting)).ids
