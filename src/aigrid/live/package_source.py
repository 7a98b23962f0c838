"""Where a site gets its packages: the control plane's registry, by digest, verified on the way."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aigrid.core.package import ServiceSpec
from aigrid.store.install import install
from aigrid.store.layout import Layout
from aigrid.store.references import RegistryReference
from aigrid.store.transport import Credentials

SERVICE_FILE = "service.json"
REPOSITORY = "packages"  # the control plane finds blobs and manifests by digest under any name


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """Implements `live.replicas.PackageSource`.

    Attributes:
        registry_url: of the control plane.
        token: the grid's token.
        folder: the site's own folder.
        trusted_keys: public key files whose signatures count.
        tls: this process's certificate, for a registry behind TLS.
    """

    registry_url: str
    token: str
    folder: Path
    trusted_keys: tuple[Path, ...]
    tls: ssl.SSLContext | None = None

    def fetch(self, digest: str) -> tuple[ServiceSpec, Path]:
        """See `live.replicas.PackageSource.fetch`."""
        reference = RegistryReference(urlsplit(self.registry_url).netloc, REPOSITORY, digest=digest)
        files = self.folder / "packages" / digest.partition(":")[2]
        layout = Layout(self.folder / "oci")
        install(
            reference, layout, files, self.trusted_keys, Credentials(token=self.token, tls=self.tls)
        )
        return read_service(files, digest), files


def read_service(files: Path, digest: str) -> ServiceSpec:
    """What an installed package says of its service.

    Raises:
        ConfigurationError: its service file is not one.
    """
    raw = json.loads((files / SERVICE_FILE).read_text())
    return ServiceSpec.from_dict(raw, f"package {digest}: {SERVICE_FILE}")
