"""Rollouts over the control plane's HTTP."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from aigrid.core.codec import from_plain
from aigrid.core.errors import ConfigurationError, InvalidRequestError
from aigrid.core.rollout import RolloutPlan
from aigrid.live import tenancy_api
from aigrid.live.control_plane import ControlPlane
from aigrid.live.tenancy import Caller

VERDICTS = {"promote": "promote", "abort": "roll_back"}
DIALS = ", ".join(f.name for f in fields(RolloutPlan))


class RolloutRequest(BaseModel):
    """A version to try: `NAME:VERSION`, and dials of `core.rollout.RolloutPlan`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: Annotated[str, Field(min_length=1, max_length=512)]
    plan: Annotated[dict[str, float], Field(max_length=32, description=f"Any of: {DIALS}")] = {}


def include(app: FastAPI, plane: ControlPlane) -> None:
    """Add the routes."""
    tenancy, desk = plane.tenancy, plane.rollouts
    read = [Depends(tenancy_api.allowed(tenancy, "status"))]
    services = Depends(tenancy_api.allowed(tenancy, "services"))

    @app.post("/control/v1/rollouts")
    async def start(request: RolloutRequest, caller: Caller = services) -> dict[str, Any]:
        """Try a new version of a deployed service on a part of its requests."""
        tenancy.authorise_package(caller, request.reference)
        return await desk.start(request.reference, _plan(request.plan))

    @app.get("/control/v1/rollouts", dependencies=read)
    def rollouts() -> list[dict[str, Any]]:
        """The last rollout of each service."""
        return desk.rows()

    @app.get("/control/v1/rollouts/{name}", dependencies=read)
    def one(name: str) -> dict[str, Any]:
        """The last rollout of a service."""
        return desk.row(name)

    @app.post("/control/v1/rollouts/{name}/{verdict}")
    async def steer(
        name: str, verdict: Literal["promote", "abort"], caller: Caller = services
    ) -> dict[str, Any]:
        """End a rollout by hand."""
        tenancy.authorise_package(caller, name)
        return await desk.steer(name, VERDICTS[verdict])


def _plan(raw: dict[str, float]) -> RolloutPlan:
    """Dials as JSON gives them: a whole number may come with a point."""
    whole = {f.name for f in fields(RolloutPlan) if f.type == "int"}
    values = {k: int(v) if k in whole and float(v).is_integer() else v for k, v in raw.items()}
    try:
        plan: RolloutPlan = from_plain(RolloutPlan, values, "plan")
    except ConfigurationError as error:
        raise InvalidRequestError(error.message, next_step=error.next_step) from error
    return plan
