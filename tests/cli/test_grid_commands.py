"""Commands against one running grid."""

import http.client
import json
import subprocess
import urllib.request
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from aigrid.cli.chat import printable
from tests.cli.conftest import spawn

pytestmark = pytest.mark.grid


def as_json(*arguments: object, data: Path) -> object:
    ran = spawn(*arguments, "--json", data=data)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_status_shows_sites_radio_and_the_first_model(grid: Path) -> None:
    status = as_json("status", data=grid)
    assert [site["kind"] for site in status["sites"]] == ["factory", "tower"]
    assert [(s["name"], s["ready_sites"] > 0) for s in status["services"]] == [("tiny", True)]
    shown = spawn("status", data=grid).stdout
    for words in (status["endpoint"], "factory-1", "tower-1", "tiny:0.0.1 ready", "slots"):
        assert words in shown
    assert "\x1b" not in shown, "no colours where no terminal is"


def test_sites_and_routes(grid: Path) -> None:
    told = as_json("sites", data=grid)
    assert {site["name"] for site in told} == {"factory-1", "tower-1"}
    assert {site["aigrid_version"] for site in told} == {version("aigrid")}
    assert any(row["service"] == "tiny" for row in as_json("routes", data=grid)["routes"])
    spawn("cordon", "tower-1", data=grid)
    rows = [row.split() for row in spawn("sites", data=grid).stdout.splitlines()]
    spawn("uncordon", "tower-1", data=grid)
    shown = {row[0]: row for row in rows if row}
    assert "cordoned" in shown["tower-1"] and "up" in shown["factory-1"]
    assert version("aigrid") in shown["tower-1"]
    assert "tiny" in spawn("routes", data=grid).stdout


def test_env_is_what_a_shell_evaluates(grid: Path) -> None:
    lines = spawn("env", data=grid).stdout
    script = lines + 'printf "%s %s" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'
    url, key = subprocess.check_output(["bash", "-c", script], text=True).split()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
    assert json.loads(connection.getresponse().read())["data"][0]["id"] == "tiny"
    connection.close()


def test_chat_answers_and_names_the_site(grid: Path) -> None:
    ran = spawn("chat", "--max-tokens", 5, "--seed", 1, "hello there", data=grid)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip() in ("(factory-1)", "(tower-1)")
    told = as_json("chat", "--max-tokens", 5, "--seed", 1, "hello there", data=grid)
    assert printable(told["text"]) == ran.stdout.removesuffix("\n")
    piped = spawn("chat", "--max-tokens", 5, "--seed", 1, data=grid, input="hello there\n")
    assert piped.stdout == ran.stdout


def test_chat_with_an_unknown_model(grid: Path) -> None:
    ran = spawn("chat", "--model", "nobody", "hi", data=grid)
    assert ran.returncode == 4
    assert "nobody" in ran.stderr


def test_deploy_of_an_unknown_model(grid: Path) -> None:
    ran = spawn("deploy", "nobody:9", data=grid)
    assert ran.returncode == 4
    assert ran.stderr.startswith("error: ")
    assert "nobody:9" in ran.stderr


def test_undeploy_and_deploy_again(grid: Path) -> None:
    assert spawn("undeploy", "tiny", data=grid).returncode == 0
    assert "nothing is deployed" in spawn("status", data=grid).stdout
    assert spawn("undeploy", "tiny", data=grid).returncode == 4
    ran = spawn("deploy", "tiny:0.0.1", data=grid)
    assert "tiny:0.0.1 is served" in ran.stdout
    assert spawn("chat", "--max-tokens", 2, "hi", data=grid).returncode == 0


def test_the_grid_itself_as_an_upstream_server(grid: Path) -> None:
    told = as_json("env", data=grid)
    words = ("deploy", "mirror", "--upstream", told["OPENAI_BASE_URL"], "--model", "tiny")
    words = (*words, "--key-file", grid / "secrets" / "api_key")
    refused = spawn(*words, data=grid)
    assert (refused.returncode, "--allow-private" in refused.stderr) == (9, True)
    ran = spawn(*words, "--allow-private", data=grid)
    assert ran.returncode == 0, ran.stderr
    answered = spawn("chat", "--model", "mirror", "--max-tokens", 3, "hi", data=grid)
    assert answered.returncode == 0, answered.stderr
    assert spawn("undeploy", "mirror", data=grid).returncode == 0


def test_radio_load_is_set_and_refused(grid: Path) -> None:
    assert spawn("radio", "load", "tower-1", "0.9", "--for", "1", data=grid).returncode == 0
    assert spawn("radio", "load", "tower-9", "0.9", data=grid).returncode == 4
    assert spawn("radio", "load", "tower-1", "9", data=grid).returncode == 2


def test_targets_are_where_prometheus_finds_metrics(grid: Path) -> None:
    found = as_json("targets", data=grid)
    written = grid / "targets.json"
    assert spawn("targets", "--out", written, data=grid).returncode == 0
    assert json.loads(written.read_text()) == found
    assert {t["labels"]["job"] for t in found} == {
        "aigrid-gateway",
        "aigrid-control",
        "aigrid-site",
    }
    for target in found:
        url = f"{target['labels']['__scheme__']}://{target['targets'][0]}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert b"aigrid_build_info" in answer.read()


def test_replay_of_the_running_grid(grid: Path) -> None:
    result = as_json("replay", data=grid)
    assert result["identical"]
    assert result["events"] > 0


def test_second_up_names_the_process_that_runs(grid: Path) -> None:
    ran = spawn("up", "--port", 0, data=grid)
    assert ran.returncode == 5
    assert (grid / "lock").read_text().strip() in ran.stderr
