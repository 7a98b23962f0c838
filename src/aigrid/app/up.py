"""`aigrid up`: from a data directory to a grid that answers, and back down again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aigrid.app.first_model import ensure_package
from aigrid.app.grid_lock import grid_lock
from aigrid.app.origin import code_commit
from aigrid.app.serving import wait_until_served
from aigrid.app.signals import StopRequest
from aigrid.factory.progress import Progress
from aigrid.live.client import ControlClient
from aigrid.live.run_log import check_free
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class ReadyGrid:
    """What a person needs to talk to the grid.

    Attributes:
        base_url: for OpenAI clients.
        api_key: for OpenAI clients.
        console_url: a page that shows the grid; its fragment holds the operator's token.
        model: a model that answers now.
        kind: of that model.
        sites: how many run.
        seconds: from the start to the first answer that could have been given.
    """

    base_url: str
    api_key: str
    console_url: str
    model: str
    sites: int
    seconds: float
    kind: str = "chat"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_grid(
    settings: GridSettings,
    recipe: str | Path,
    progress: Progress,
    on_ready: Callable[[ReadyGrid], None],
    stop: StopRequest,
) -> None:
    """Make what is missing, start every process, serve until asked to stop.

    Call it from the main thread. Every process that it started is gone when it returns or raises.

    Args:
        settings: what to run.
        recipe: makes the first model where the store is empty.
        progress: hears the factory's stages, then `publishing`, `starting` and `loading`.
        on_ready: called once, when the first request would be answered.
        stop: asks for the end.

    Raises:
        ConflictError: another grid runs on this data directory, the port is taken, or the folder
            for the recording holds a run.
        AigridError: the settings, the recipe or the store cannot be used.
        KeyboardInterrupt: a signal broke off the preparation; nothing half-made is left.
    """
    started_s = time.monotonic()
    settings.paths.make()
    with grid_lock(settings.paths.lock):
        planned = settings.planned_sites()
        supervisor = Supervisor(settings)
        supervisor.check_port()
        if settings.record is not None:
            check_free(settings.record)
        reference = ensure_package(settings.paths, recipe, progress)
        progress.stage("starting", 1)
        supervisor.start()
        try:
            progress.advance(1)
            model = _serve(settings, supervisor, reference, progress)
            stop.keep_running()
            client = ControlClient(settings.data)
            seconds = round(time.monotonic() - started_s, 1)
            on_ready(
                ReadyGrid(
                    base_url=supervisor.base_url,
                    api_key=client.api_key,
                    console_url=client.console_url,
                    model=model,
                    sites=len(planned),
                    seconds=seconds,
                    kind=_kind_of(client, model),
                )
            )
            supervisor.run(stop.asked)
        finally:
            stop.keep_running()
            supervisor.stop()


def read_database(given: str | None) -> str | None:
    """The database's URL, checked; see `store.database_url`.

    Raises:
        ConfigurationError: it cannot be read, or names no PostgreSQL.
    """
    if not given:
        return None
    from aigrid.core.errors import ConfigurationError
    from aigrid.store.database_url import FORM, parse_url, read_url

    url = read_url(given)
    if parse_url(url).sqlite is not None:
        raise ConfigurationError("--database: SQLite needs no option", next_step=f"give {FORM}")
    return url


def settings_of(data: Path, **chosen: Any) -> GridSettings:
    """Settings from what a person chose; None means the default.

    Raises:
        ConfigurationError: a value that cannot be.
    """
    from pydantic import ValidationError

    from aigrid.core.errors import ConfigurationError

    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        return GridSettings(data=data, commit=code_commit(), **given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"--{name} is {first.get('input')!r}", next_step=str(first["msg"]).lower()
        ) from error


def _serve(
    settings: GridSettings, supervisor: Supervisor, reference: str, progress: Progress
) -> str:
    """Deploy the first package where nothing is, wait, and answer a model that is served."""
    client = ControlClient(settings.data)
    deployed = [service["name"] for service in client.status()["services"]]
    if not deployed:
        deployed = [client.deploy(reference)["name"]]
    progress.stage("loading", 1)
    served = wait_until_served(client, deployed, between=supervisor.watch)
    progress.advance(1, model=served)
    return served


def _kind_of(client: ControlClient, model: str) -> str:
    services = client.status()["services"]
    return next((str(one["kind"]) for one in services if one["name"] == model), "chat")
