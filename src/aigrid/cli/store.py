"""`aigrid store`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import console, show
from aigrid.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from aigrid.store.shown import Listing, Shown
    from aigrid.store.store import Store

OCI = "oci://"


@click.group()
def store() -> None:
    """Publish, list, verify and pull packages, here or in any OCI registry.

    A package is NAME, NAME:VERSION, NAME@sha256:... or oci://host:port/name:tag.
    """


def _open(setup: Setup) -> Store:
    from aigrid.live.paths import GridPaths
    from aigrid.store.store import Store

    return Store(GridPaths(setup.data).store)


@store.command()
@click.argument("source")
@click.argument("registry", required=False)
@grid_options
def publish(setup: Setup, source: str, registry: str | None) -> None:
    """Publish a model folder, signed; with REGISTRY (oci://...) push it there as well.

    SOURCE is a model folder, or a package of the store to push.
    """
    from aigrid.app.make import PUBLISHER

    shop, target = _open(setup), _registry_target(registry)
    if Path(source).is_dir():
        record = shop.publish(Path(source), PUBLISHER, time.time(), target)
        told = {"ref": record.ref, "digest": record.digest, "pushed_to": target}
    elif target:
        pushed = shop.push(source, target)
        told = {"ref": source, "digest": pushed.digest, "pushed_to": str(pushed)}
    else:
        raise InvalidRequestError(
            f"{source!r} is no model folder",
            next_step="give the folder that `aigrid factory run` made, or add oci://host:port/name:tag",
        )
    pushed_line = f"\npushed to {told['pushed_to']}" if target else ""
    show(setup, told, f"published {told['ref']} {told['digest']}{pushed_line}")


def _registry_target(registry: str | None) -> str:
    if registry and not registry.startswith(OCI):
        raise InvalidRequestError(
            f"{registry!r} is not a registry reference", next_step="write oci://host:port/name:tag"
        )
    return registry or ""


@store.command("list")
@click.argument("where", default="")
@grid_options
def list_(setup: Setup, where: str) -> None:
    """List packages: all, those of a NAME, or the tags of oci://host:port/name."""
    rows = _open(setup).list(where)
    if setup.as_json:
        show(setup, [asdict(row) for row in rows], "")
    elif rows:
        _print_listing(rows)
    else:
        show(setup, [], "the store is empty; `aigrid factory run RECIPE --publish` fills it")


def _print_listing(rows: list[Listing]) -> None:
    from aigrid.cli.status_view import plain_table

    table = plain_table("package", "kind", "size", "published", "digest", right=("size",))
    for row in rows:
        at_s = row.published_at_s
        published = time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s)) if at_s else ""
        table.add_row(row.ref, row.kind, size(row.size_bytes), published, row.digest[:19])
    console().print(table)


def size(size_bytes: int) -> str:
    """Bytes as people read them, in powers of ten."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


@store.command("show")
@click.argument("package")
@grid_options
def show_(setup: Setup, package: str) -> None:
    """Show all that is known of a package: terms, evaluation, origin, signature."""
    known = _open(setup).show(package)
    show(setup, asdict(known), _described(known))


def _described(known: Shown) -> str:
    spec = known.spec
    made = spec.provenance
    size_bytes = sum(layer["size"] for layer in known.manifest["layers"])
    rows = {
        "package": known.ref,
        "digest": known.digest,
        "signature": known.signature,
        "service": f"{spec.kind}, {spec.engine} engine, {spec.context_tokens} tokens of context",
        "needs": f"{spec.footprint.memory_mb} MB, {spec.footprint.compute_cores:g} cores",
        "objectives": f"first token {spec.slo.ttft_ms:g} ms, each next {spec.slo.tpot_ms:g} ms",
        "price": f"{spec.price.input_per_mtok:g} in, {spec.price.output_per_mtok:g} out,"
        f" {spec.price.currency} per million tokens",
        "licence": spec.licence or "none stated",
        "residency": ", ".join(spec.residency.regions) or "everywhere",
        "made of": f"recipe {made.recipe_digest[:19]}, data {made.data_digest[:19]},"
        f" seed {made.seed}, commit {made.commit[:12]}",
        "size": f"{size(size_bytes)} in {len(known.manifest['layers'])} layers",
        "evaluation": _evaluation_line(known.evaluation),
    }
    return "\n".join(f"{name:<11}{value}" for name, value in rows.items() if value)


def _evaluation_line(card: dict[str, Any]) -> str:
    """The card's headline figure, whatever else stands in it."""
    cosine = card.get("cosine")
    if isinstance(cosine, dict):
        agrees = f"cosine {cosine['mean']:.4f} to the checkpoint, {cosine['least']:.4f} at least"
        return f"{agrees}, over {card.get('texts')} texts"
    held = card.get("held_out", {})
    figure, interval = held.get("bits_per_byte"), held.get("interval_95")
    if not isinstance(figure, float) or not isinstance(interval, list):
        return ""
    low, high = interval
    return f"{figure:.3f} bits per byte ({low:.3f} to {high:.3f}) on held-out text"


@store.command()
@click.argument("package")
@click.option(
    "--key", "keys", multiple=True, type=Path, help="A public key to believe (default: trusted)."
)
@grid_options
def verify(setup: Setup, package: str, keys: tuple[Path, ...]) -> None:
    """Check every byte and the signature of a package."""
    proof = _open(setup).verify(package, keys)
    show(setup, asdict(proof), f"{package} is intact and signed: {proof.digest}")


@store.command()
@click.argument("package")
@click.option("--out", metavar="DIR", type=Path, help="Also write its files into a new folder.")
@grid_options
def pull(setup: Setup, package: str, out: Path | None) -> None:
    """Fetch a package from a registry into the store, verified; --out unpacks it."""
    shop = _open(setup)
    if not package.startswith(OCI) and out is None:
        raise InvalidRequestError(
            f"{package!r} is in this store already",
            next_step="name oci://host:port/name:tag, or add --out DIR to unpack it",
        )
    ref = shop.pull(package, time.time()).ref if package.startswith(OCI) else package
    told = {"ref": ref, "digest": shop.resolve(ref), "out": str(out) if out else ""}
    if out is not None:
        shop.unpack(ref, out)
    unpacked = f"\nunpacked into {out}" if out else ""
    show(setup, told, f"{ref} {told['digest']}{unpacked}")


@store.command()
@click.argument("public_key", type=Path)
@grid_options
def trust(setup: Setup, public_key: Path) -> None:
    """Believe packages signed by this public key (PEM) from now on."""
    identity = _open(setup).trust(public_key)
    show(setup, {"key_id": identity}, f"trusted: key {identity}")
