import pytest

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import Site
from aigrid.core.topology import check_sites, site_from_dict

TOWER = {"name": "t-1", "kind": "tower", "region": "JP-13", "cells": [{"name": "c"}]}


def test_a_site_is_read_with_its_cells():
    site = site_from_dict(TOWER | {"latitude_deg": 35, "compute_cores": 2}, "file")
    assert site.latitude_deg == 35.0
    assert site.cells[0].resource_blocks == 52


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": "shed"},
        {"name": "white space"},
        {"name": ""},
        {"compute_cores": 0.0},
        {"latitude_deg": 91.0},
        {"colour": "red"},
        {"cells": [{"name": "c", "prbs": 1}]},
    ],
)
def test_an_impossible_site_is_refused(odd):
    with pytest.raises(ConfigurationError, match="file"):
        site_from_dict(TOWER | odd, "file")


@pytest.mark.parametrize(
    "parents",
    [{"a": "", "b": "z"}, {"a": "b", "b": "a"}, {"a": "a"}],
)
def test_parents_must_be_there_and_lead_to_a_root(parents):
    sites = [Site(name, "hub", "r", parent=parent) for name, parent in parents.items()]
    with pytest.raises(ConfigurationError, match="parent"):
        check_sites(sites, "file")


def test_a_name_stands_for_one_site():
    with pytest.raises(ConfigurationError, match="twice"):
        check_sites([Site("a", "hub", "r"), Site("a", "hub", "r")], "file")
