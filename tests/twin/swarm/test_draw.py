"""Trials: the same seed, the same trial; and what is drawn covers what the swarm promises."""

from aigrid.twin.swarm.draw import MOST_SITES, draw
from aigrid.twin.swarm.faults import KINDS, MOST_FAULTS
from aigrid.twin.swarm.trial import fault_end_s


def test_a_seed_names_a_trial() -> None:
    assert draw(7) == draw(7)
    assert draw(7).scenario != draw(8).scenario


def test_trials_differ_in_everything_that_may_differ() -> None:
    trials = [draw(seed) for seed in range(60)]
    kinds = {fault.kind for trial in trials for fault in trial.scenario.faults}
    assert kinds == set(KINDS)
    sizes = [len(trial.scenario.sites) for trial in trials]
    assert min(sizes) == 1
    assert MOST_SITES / 2 < max(sizes) <= MOST_SITES
    assert {site.site.kind for trial in trials for site in trial.scenario.sites} == {
        "factory",
        "hub",
        "tower",
    }
    assert any(package.regions for trial in trials for package in trial.scenario.packages)
    assert any(len(trial.scenario.faults) > 1 for trial in trials)


def test_faults_are_over_before_the_grid_must_have_recovered() -> None:
    for seed in range(60):
        trial = draw(seed)
        faults = trial.scenario.faults
        assert len(faults) <= MOST_FAULTS
        assert all(fault_end_s(fault) <= trial.healed_s for fault in faults)
        assert trial.healed_s < trial.settled_by_s < trial.scenario.duration_s < 400.0


def test_faults_that_overlap_occur() -> None:
    def overlap(seed: int) -> bool:
        spans = [(fault.at_s, fault_end_s(fault)) for fault in draw(seed).scenario.faults]
        return any(a[0] < b[0] < a[1] for a in spans for b in spans)

    assert sum(overlap(seed) for seed in range(30)) > 10
