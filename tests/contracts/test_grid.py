"""What a grid promises, whether it is simulated or real."""

from tests.contracts.harness import (
    DAMAGED,
    FIRST,
    HUB,
    SECOND,
    SERVICE,
    TOWERS,
    Answer,
    everyone_serves,
    serves,
)

from aigrid.twin.replay import replay

LIMIT_S = 30.0
# Until shares have risen after a start: neighbours on the same cores make the radio miss slots.
CALM_S = 90.0
TOWER = TOWERS[0]


def unanswered(answers: list[Answer]) -> list[str]:
    """Why requests got no answer."""
    return [answer.why for answer in answers if not answer.ok]


def all_serve(grid, sites: set[str]) -> bool:
    """Whether each site answers one of many requests in the end; none goes without an answer."""
    seen: set[str] = set()

    def have_served() -> bool:
        answers = grid.finish(grid.begin(60))
        assert unanswered(answers) == []
        seen.update(answer.site for answer in answers)
        return sites <= seen

    return grid.wait_until(have_served, CALM_S)


def test_a_deployed_service_is_served_by_every_site(grid):
    assert sum(grid.routes().values()) > 0.99
    assert all_serve(grid, {HUB, *TOWERS})


def test_a_killed_site_costs_no_answer_and_serves_again_when_it_is_back(grid):
    begun = grid.begin(200)
    grid.kill(TOWER)
    assert unanswered(grid.finish(begun)) == []
    assert grid.wait_until(lambda: serves(grid, TOWER), CALM_S)
    assert all_serve(grid, {TOWER})


def test_a_site_that_is_gone_gets_no_request(grid):
    grid.kill(TOWER)
    grid.finish(grid.begin(30))
    # Whoever asked it first noticed. Until it is back, it stands in no route.
    while not serves(grid, TOWER):
        if grid.status()[TOWER].status != "up":
            assert TOWER not in grid.routes()
        grid.wait_until(lambda: False, 0.2)


def test_radio_load_takes_share_and_routes_away_and_gives_them_back(grid):
    grid.wait_until(lambda: False, 6.0)  # the share rises slowly after a start
    assert grid.wait_until(lambda: grid.status()[TOWER].share > 0.4, CALM_S)
    calm = grid.status()[TOWER].share
    weight = grid.routes()[TOWER]
    grid.set_radio_load(TOWER, 0.95, 6.0)
    assert grid.wait_until(lambda: grid.status()[TOWER].share < calm - 0.08, LIMIT_S)
    assert grid.wait_until(lambda: grid.routes().get(TOWER, 0.0) < weight, LIMIT_S)
    assert unanswered(grid.finish(grid.begin(20))) == []
    low = grid.status()[TOWER].share
    # Need is measured, so that a share is never quite what it was: most of what was lost is enough.
    assert grid.wait_until(lambda: grid.status()[TOWER].share > (calm + low) / 2, LIMIT_S)
    assert grid.wait_until(lambda: TOWER in grid.routes(), LIMIT_S)


def test_a_new_version_takes_over_without_a_lost_answer(grid):
    begun = grid.begin(50)
    grid.deploy(SECOND)
    assert grid.wait_until(lambda: everyone_serves(grid, "2"), LIMIT_S)
    assert unanswered(grid.finish(begun) + grid.finish(grid.begin(50))) == []
    grid.deploy(FIRST)
    assert grid.wait_until(lambda: everyone_serves(grid, "1"), LIMIT_S)


def test_a_damaged_version_leaves_the_old_one_serving(grid):
    grid.deploy(DAMAGED)

    def still_first() -> bool:
        return all(site.serving.get(SERVICE) == "1" for site in grid.status().values())

    assert not grid.wait_until(lambda: not still_first(), 3.0)
    assert unanswered(grid.finish(grid.begin(30))) == []


def test_an_undeployed_service_has_no_routes_and_can_come_back(grid):
    grid.undeploy(SERVICE)
    assert grid.wait_until(lambda: not grid.routes(), LIMIT_S)
    assert grid.wait_until(
        lambda: not any(site.serving for site in grid.status().values()), LIMIT_S
    )
    grid.deploy(FIRST)
    assert grid.wait_until(lambda: everyone_serves(grid), LIMIT_S)


def test_routes_never_name_a_site_that_is_not_ready(grid):
    grid.undeploy(SERVICE)
    grid.deploy(FIRST)
    grid.kill(HUB)

    def all_ready() -> bool:
        # Routes are read first: whoever stands there was ready before the status is read, unless
        # it fell out since, and then it stands in the next table no more.
        routed, status = grid.routes(), grid.status()
        early = {site for site in routed if SERVICE not in status[site].serving}
        assert not early & set(grid.routes())
        return everyone_serves(grid)

    assert grid.wait_until(all_ready, LIMIT_S)


def test_the_recording_replays_to_the_same_decisions(grid):
    replayed = replay(grid.recording())
    assert replayed.events > 100
    assert replayed.identical, replayed.first_difference
