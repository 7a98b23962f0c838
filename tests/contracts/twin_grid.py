"""The contract's grid, simulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.contracts.harness import DAMAGED, SERVICE, TOPOLOGY, Answer, SiteView, Status

from aigrid.core.state import STATUS_NAMES
from aigrid.twin.gateway import OPEN, Request
from aigrid.twin.grid import TwinGrid
from aigrid.twin.scenario import Crash, Demand, Surge, scenario_from_dict

RESTART_S = 2.0
ANSWER_LIMIT_S = 120.0
SCENARIO = {
    "name": "contract",
    **TOPOLOGY,
    "packages": [
        {"name": SERVICE, "version": version, "corrupt": f"{SERVICE}:{version}" == DAMAGED}
        for version in ("1", "2", "3")
    ],
}


class TwinHarness:
    """See `tests.contracts.harness.Harness`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl"
        self._file = self._path.open("w")
        scenario = scenario_from_dict(SCENARIO, "contract", folder)
        self._grid = TwinGrid(scenario, seed=11, write=self._file.write)
        self._grid.advance(1.0)

    def deploy(self, reference: str) -> None:
        self._grid.world.deploy(reference)
        self._grid.advance(0.1)

    def undeploy(self, service: str) -> None:
        self._grid.world.undeploy(service)
        self._grid.advance(0.1)

    def begin(self, count: int) -> list[Request]:
        demand = Demand(service=SERVICE, requests_per_s=1.0, prompt_tokens=16, tokens=16)
        requests = [self._grid.world.request(demand) for _ in range(count)]
        self._grid.advance(0.02)
        return requests

    def finish(self, begun: list[Request]) -> list[Answer]:
        self.wait_until(lambda: all(r.status != OPEN for r in begun), ANSWER_LIMIT_S)
        return [Answer(r.status == "answered", r.site, r.status) for r in begun]

    def kill(self, site: str) -> None:
        self._grid.world.inject(Crash(kind="crash", site=site, at_s=0.0, back_after_s=RESTART_S))

    def set_radio_load(self, site: str, load: float, for_s: float) -> None:
        surge = Surge(kind="surge", site=site, at_s=0.0, load=load, for_s=for_s)
        self._grid.world.inject(surge)

    def wait_until(self, reached: Callable[[], bool], limit_s: float) -> bool:
        return self._grid.advance_until(reached, limit_s)

    def status(self) -> Status:
        return {name: self._view(name) for name in self._grid.orchestrator.state.site_names}

    def _view(self, name: str) -> SiteView:
        state = self._grid.orchestrator.state
        row = state.site_row[name]
        return SiteView(
            status=STATUS_NAMES[state.sites.status[row]],
            share=float(state.sites.share[row]),
            # What the site really serves, not what the orchestrator believes.
            serving={
                service: self._version(held.digest)
                for service, held in self._grid.world.sites[name].held.items()
                if held.digest
            },
            radio_load=float(state.sites.radio_load[row]),
            slots_missed=int(state.sites.slots_missed[row]),
        )

    def _version(self, digest: str) -> str:
        packages = self._grid.world.packages.values()
        return next(package.version for package in packages if package.digest == digest)

    def routes(self) -> dict[str, float]:
        return dict(self._grid.orchestrator.routes.candidates("*", SERVICE))

    def recording(self) -> Path:
        self._file.flush()
        return self._path

    def close(self) -> None:
        self._file.close()
