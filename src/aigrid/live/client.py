"""A client of the control plane for commands: fast to import, no dependencies."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aigrid.core import errors
from aigrid.live.paths import GridPaths, read_secret

TIMEOUT_S = 60.0
KEY_VARIABLE = "AIGRID_KEY"  # calls as whoever holds this key, not as the operator
_BY_CODE: dict[str, type[errors.AigridError]] = {
    kind.code: kind for kind in errors.AigridError.__subclasses__()
}


class ControlClient:
    """Talks to the grid that runs on a data directory.

    Args:
        data: the data directory.
    """

    def __init__(self, data: Path) -> None:
        self.paths = GridPaths(data)

    def grid(self) -> dict[str, Any]:
        """Who runs the grid and where it answers (`pid`, `base_url`, `control_url`).

        Raises:
            UnavailableError: no grid runs there.
        """
        try:
            grid: dict[str, Any] = json.loads(self.paths.grid_json.read_text())
        except (OSError, ValueError) as error:
            raise self._no_grid() from error
        return grid

    def _no_grid(self) -> errors.UnavailableError:
        return errors.UnavailableError(
            f"no grid runs on data directory {self.paths.data}",
            next_step="start one with `aigrid up`, or name its directory with --data DIR",
        )

    @property
    def base_url(self) -> str:
        """Where OpenAI clients point."""
        return str(self.grid()["base_url"])

    @property
    def api_key(self) -> str:
        """The default customer's key."""
        return read_secret(self.paths.api_key)

    @property
    def console_url(self) -> str:
        """A page that shows the grid; the operator's token in its fragment is sent to nobody."""
        return f"{self.grid()['control_url']}/console#{read_secret(self.paths.operator_token)}"

    def status(self) -> dict[str, Any]:
        """Sites, services, radio and rates."""
        status: dict[str, Any] = self.call("GET", "/control/v1/status")
        return {"endpoint": self.base_url} | status

    def sites(self) -> list[dict[str, Any]]:
        """The sites alone."""
        sites: list[dict[str, Any]] = self.call("GET", "/control/v1/sites")
        return sites

    def routes(self) -> dict[str, Any]:
        """The routing table in force: `version` and `routes`."""
        routes: dict[str, Any] = self.call("GET", "/control/v1/routes")
        return routes

    def deploy(self, reference: str) -> dict[str, Any]:
        """Deploy a package of the store."""
        body = {"reference": reference}
        deployed: dict[str, Any] = self.call("POST", "/control/v1/services", body)
        return deployed

    def start_rollout(self, reference: str, plan: dict[str, float]) -> dict[str, Any]:
        """Try a new version of a deployed service on a part of its requests."""
        body = {"reference": reference, "plan": plan}
        rollout: dict[str, Any] = self.call("POST", "/control/v1/rollouts", body)
        return rollout

    def rollouts(self) -> list[dict[str, Any]]:
        """The last rollout of each service."""
        rollouts: list[dict[str, Any]] = self.call("GET", "/control/v1/rollouts")
        return rollouts

    def rollout(self, name: str) -> dict[str, Any]:
        """The last rollout of a service."""
        path = f"/control/v1/rollouts/{quote(name, safe='')}"
        rollout: dict[str, Any] = self.call("GET", path)
        return rollout

    def steer_rollout(self, name: str, verdict: str) -> dict[str, Any]:
        """End a rollout by hand: `promote` or `abort`."""
        path = f"/control/v1/rollouts/{quote(name, safe='')}/{verdict}"
        rollout: dict[str, Any] = self.call("POST", path)
        return rollout

    def undeploy(self, name: str) -> dict[str, Any]:
        """Stop serving a service."""
        path = f"/control/v1/services/{quote(name, safe='')}"
        undeployed: dict[str, Any] = self.call("DELETE", path)
        return undeployed

    def hold(self, site: str, hold: str, *, force: bool = False) -> dict[str, Any]:
        """Cordon (`cordoned`) or drain (`draining`) a site, or let it go (`free`)."""
        path = f"/control/v1/sites/{quote(site, safe='')}/hold"
        held: dict[str, Any] = self.call("POST", path, {"hold": hold, "force": force})
        return held

    def invite(self, site: str, for_s: float) -> dict[str, Any]:
        """A token by which a site of another machine joins once."""
        path = f"/control/v1/sites/{quote(site, safe='')}/invite"
        invited: dict[str, Any] = self.call("POST", path, {"for_s": for_s})
        return invited

    def dismiss(self, site: str) -> dict[str, Any]:
        """Let a site of another machine count no longer."""
        path = f"/control/v1/sites/{quote(site, safe='')}"
        dismissed: dict[str, Any] = self.call("DELETE", path)
        return dismissed

    def set_radio_load(self, site: str, load: float, for_s: float) -> dict[str, Any]:
        """Override the radio load of a tower for a while."""
        path = f"/control/v1/sites/{quote(site, safe='')}/radio-load"
        answer: dict[str, Any] = self.call("POST", path, {"load": load, "for_s": for_s})
        return answer

    def answers(self, url: str) -> bool:
        """Whether a health URL answers 200 within a second."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=1.0)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the control plane's API.

        Raises:
            UnavailableError: it does not answer.
            AigridError: the class that the answer's error code names.
        """
        self.grid()
        token = os.environ.get(KEY_VARIABLE) or read_secret(self.paths.operator_token)
        connection = http.client.HTTPConnection(
            urlsplit(self.grid()["control_url"]).netloc, timeout=TIMEOUT_S
        )
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._no_grid() from error
        finally:
            connection.close()
        return _read(response.status, raw)


def _read(status: int, raw: bytes) -> Any:
    try:
        answer = json.loads(raw)
    except ValueError as error:
        raise errors.UnavailableError(f"control plane answered {status}: {raw[:80]!r}") from error
    if status < 400:
        return answer
    told = answer.get("error", {}) if isinstance(answer, dict) else {}
    kind = _BY_CODE.get(str(told.get("code")), errors.AigridError)
    raise kind(str(told.get("message", answer)))
