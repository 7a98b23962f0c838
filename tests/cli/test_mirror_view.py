"""What `aigrid rehearse --from-live` shows."""

import io

import pytest
from rich.console import Console

from aigrid.cli.mirror_view import mirror_view
from aigrid.twin.mirror.comparison import Mirror, Row


def shown(ttft_ms: float, with_weather: bool = True) -> str:
    rows = (
        Row("ttft_ms_p50", 100.0, ttft_ms),
        Row("answer_ms_p50", 900.0, 920.0),
        Row("utilisation_mean", 0.4, 0.41),
        Row("utilisation tower-1", 0.0, 0.1),
        Row("tokens_per_s", 512.0, 500.0),
    )
    mirror = Mirror(
        folder="recorded/run",
        commit="c0ffee",
        seed=0,
        sites=3,
        fitted_s=30.0,
        predicted_s=60.0,
        requests=1234,
        unfinished=0,
        rows=rows,
        rounds={},
        path_ms=1.5,
        load_average=(1.9, 2.4),
        blind=tuple(Row(row.name, row.measured, 0.6 * row.measured) for row in rows) * with_weather,
        weather_pct=3.0,
        drift_pct=1.0,
        notes=("3 sites shared 2 cores",),
        trace_sha256="ab" * 32,
    )
    out = io.StringIO()
    Console(file=out, width=80, no_color=True).print(mirror_view(mirror))
    return out.getvalue()


@pytest.mark.parametrize(
    ("ttft_ms", "words"),
    [
        (110.0, ("+10.0%", "kept  medians")),
        (130.0, ("+30.0%", "not   medians", "ttft ms p50 further off")),
    ],
)
def test_errors_and_whether_the_aim_was_met(ttft_ms: float, words: tuple[str, ...]) -> None:
    page = shown(ttft_ms)
    for word in (*words, "recorded/run", "1,234 requests", "3 sites shared 2 cores", "40.0%", "–"):
        assert word in page
    assert "given: the machine's weather" in page and "-40.0%" in page
    assert max(map(len, page.splitlines())) <= 80


def test_a_prediction_without_weather_claims_none() -> None:
    page = shown(110.0, with_weather=False)
    assert "weather" not in page and "given: each request's arrival" in page
