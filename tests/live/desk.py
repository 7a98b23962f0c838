"""The control plane's accounts behind its own HTTP, without a grid."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from aigrid.core.errors import AigridError
from aigrid.core.package import Price, ServiceSpec
from aigrid.core.tenancy import Usage
from aigrid.live import billing_api, server, tenancy_api
from aigrid.live.billing_desk import BillingDesk
from aigrid.live.paths import GridPaths
from aigrid.live.records import open_records
from aigrid.live.tenancy import Tenancy
from aigrid.live.usage_log import event_of
from aigrid.store.catalogue import PackageRecord

OPERATOR, GRID = "op-test", "grid-test"
NOW_S = 1_795_000_000.0  # 2026-11-18
PRICED = ServiceSpec("m", "1.0.0", price=Price("USD", 0.15, 0.6))
PACKAGES = {"sha256:0": PackageRecord("m", "1.0.0", "sha256:0", "chat", 1, PRICED, "me", 1.0, {})}


def tenancy_of(
    paths: GridPaths, clock_s: Callable[[], float] = lambda: NOW_S, url: str = ""
) -> Tenancy:
    """A control plane's accounts, opened anew."""
    return Tenancy(paths, OPERATOR, open_records(paths, url).accounts, clock_s=clock_s)


class Api:
    def __init__(self, data: Path, url: str = "") -> None:
        self.url = url
        paths = GridPaths(data)
        paths.make()
        self.now_s = NOW_S
        self.tenancy = tenancy_of(paths, lambda: self.now_s, url)
        self.desk = BillingDesk(self.tenancy, PACKAGES.get)
        app = FastAPI()
        app.add_exception_handler(AigridError, server.refuse)
        tenancy_api.include(app, self.desk)
        billing_api.include_grid(app, self.desk, GRID)
        self.client = TestClient(app)
        self.opened = [self.tenancy]

    def reopen(self) -> Tenancy:
        """The accounts as the control plane's next start finds them."""
        self.opened.append(tenancy_of(self.tenancy.paths, lambda: self.now_s, self.url))
        return self.opened[-1]

    def call(self, method: str, path: str, body: Any = None, key: str = OPERATOR) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        answer = self.client.request(method, f"/control/v1{path}", json=body, headers=headers)
        return answer.status_code, answer.json()

    def report(self, *records: Usage, gateway: str = "gw") -> dict[str, Any]:
        """What a gateway ships."""
        body = {"gateway": gateway, "events": [event_of(record, gateway) for record in records]}
        headers = {"authorization": f"Bearer {GRID}"}
        answer = self.client.post("/grid/v1/usage", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def key_of(self, tenant: str, role: str = "consumer") -> dict[str, Any]:
        status, key = self.call("POST", "/keys", {"tenant": tenant, "role": role})
        assert status == 200, key
        return dict(key)


@pytest.fixture
def api(tmp_path: Path, database_url: str) -> Iterator[Api]:
    made = Api(tmp_path, "" if database_url.startswith("sqlite") else database_url)
    with made.client:
        made.call("POST", "/tenants", {"name": "acme"})
        made.call("POST", "/tenants", {"name": "other"})
        yield made
    for tenancy in made.opened:
        tenancy.accounts.close()
