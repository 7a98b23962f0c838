from aigrid.core.site import Site
from aigrid.core.state import NO_VERSION, GridState


def test_rows_stay_where_they_are_while_the_columns_grow():
    state = GridState()
    for number in range(100):
        state.put_site(Site(f"s{number}", "hub", "r", latitude_deg=number / 10))
        state.put_service(f"m{number % 7}")
    assert state.site_count == 100
    assert state.service_count == 7
    assert [state.sites.latitude_deg[state.site_row[f"s{n}"]] for n in (0, 50, 99)] == [0, 5, 9.9]
    assert (state.replicas.serving == NO_VERSION).all()


def test_a_site_put_again_keeps_its_row():
    state = GridState()
    row = state.put_site(Site("a", "hub", "r"))
    assert state.put_site(Site("a", "hub", "r", memory_mb=7)) == row
    assert state.sites.memory_mb[row] == 7
    assert state.site_count == 1


def test_a_child_that_comes_first_is_adopted_when_its_parent_comes():
    state = GridState()
    child = state.put_site(Site("child", "tower", "r", parent="parent"))
    assert state.sites.parent[child] == -1
    parent = state.put_site(Site("parent", "hub", "r"))
    assert state.sites.parent[child] == parent
