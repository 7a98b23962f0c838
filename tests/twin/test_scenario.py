import pytest
from tests.twin.cities import SCENARIOS, TOWERS, city

from aigrid.core.errors import ConfigurationError
from aigrid.twin.heap import EventHeap
from aigrid.twin.scenario import load_scenario

GOOD = "name: x\ntopology: sites.yaml\npackages: [{name: chat, version: '1'}]\n"
SITES = "sites:\n  - {name: f, kind: factory, region: r}\n"


def write(tmp_path, scenario, sites=SITES):
    (tmp_path / "sites.yaml").write_text(sites)
    path = tmp_path / "scenario.yaml"
    path.write_text(scenario)
    return path


def test_a_scenario_names_its_topology_relative_to_itself(tmp_path):
    scenario = load_scenario(write(tmp_path, GOOD))
    assert [planned.site.name for planned in scenario.sites] == ["f"]


def test_the_local_topology_has_a_radio_on_every_tower():
    scenario = city(sites=TOWERS)
    local = load_scenario_with_local()
    assert [p.site.kind for p in local.sites] == ["factory", "hub", "tower", "tower"]
    assert [p.profile is not None for p in local.sites] == [False, False, True, True]
    assert scenario.sites[1].profile.load == 0.0


def load_scenario_with_local():
    from aigrid.twin.scenario import scenario_from_dict

    return scenario_from_dict({"name": "x", "topology": "local.yaml"}, "test", SCENARIOS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + "weather: rain\n", "weather"),
        (GOOD + "deployments: [{deploy: 'chat:2'}]\n", "chat:2"),
        (GOOD + "faults: [{kind: crash, site: mars, at_s: 1}]\n", "mars"),
        (GOOD + "faults: [{kind: flood, site: f, at_s: 1}]\n", "flood"),
        (GOOD + "demand: [{service: chat, requests_per_s: 0}]\n", "requests_per_s"),
        (GOOD + "physics: {places: 0}\n", "places"),
        (GOOD.replace("sites.yaml", "elsewhere.yaml"), "elsewhere.yaml"),
        ("name: x\n", "topology"),
        ("- a list\n", "object"),
        ("{", "scenario.yaml"),
        ("\x00", "scenario.yaml"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, text, named):
    with pytest.raises(ConfigurationError, match=named) as caught:
        load_scenario(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sites",
    [
        "sites: []\n",
        "sites:\n  - {name: f, kind: factory, region: r, profile: {kind: constant}}\n",
        "sites:\n  - {name: t, kind: tower, region: r, cells: [{name: c}], profile: {kind: x}}\n",
        "sites:\n  - f\n",
        "places: []\n",
    ],
)
def test_a_topology_that_cannot_be_is_refused(tmp_path, sites):
    with pytest.raises(ConfigurationError, match=r"sites\.yaml"):
        load_scenario(write(tmp_path, GOOD, sites))


def test_a_heap_goes_by_time_then_by_order_of_arrival():
    heap = EventHeap()
    for at_s, item in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        heap.push(at_s, item)
    assert [heap.pop()[1] for _ in range(4)] == ["a", "b", "c", "d"]
    assert heap.next_s() == float("inf")
