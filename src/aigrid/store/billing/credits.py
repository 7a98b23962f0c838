"""Free credits against what was used: what ends first is used first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aigrid.core.tenancy import MICRO, Grant


@dataclass(frozen=True, slots=True)
class CreditUse:
    """What a grant gave.

    Attributes:
        grant: it.
        used_pico: of the asked time, see `store.billing.money`.
        left_pico: at its end; 0 once the grant has ended.
    """

    grant: Grant
    used_pico: int
    left_pico: int


def apply(
    grants: Sequence[Grant],
    begin_ms: int,
    end_ms: int,
    charged: Callable[[int, int], int],
) -> list[CreditUse]:
    """What each grant gives from `begin_ms` until before `end_ms`, after what it gave before.

    A grant covers what is used from its start until before its end. Time is cut wherever a grant
    starts or ends; within each piece the grant that ends first is used first.

    Args:
        grants: of one tenant and currency.
        begin_ms: of the month.
        end_ms: of the month, or now.
        charged: what was used between two moments (Unix milliseconds), in pico.
    """
    ordered = sorted(grants, key=lambda grant: (grant.ends_at_s, grant.id))
    left = {grant.id: grant.amount_micro * MICRO for grant in ordered}
    used = dict.fromkeys(left, 0)
    edges = {begin_ms, end_ms}
    for grant in ordered:
        edges |= {_ms(grant.starts_at_s), _ms(grant.ends_at_s)}
    cuts = sorted(edge for edge in edges if edge <= end_ms)
    for start, stop in pairwise(cuts):
        valid = [g for g in ordered if _ms(g.starts_at_s) <= start and stop <= _ms(g.ends_at_s)]
        open_pico = charged(start, stop) if valid else 0
        for grant in valid:
            given = min(left[grant.id], open_pico)
            left[grant.id] -= given
            open_pico -= given
            if start >= begin_ms:
                used[grant.id] += given
    return [
        CreditUse(grant, used[grant.id], left[grant.id] if end_ms < _ms(grant.ends_at_s) else 0)
        for grant in ordered
    ]


def _ms(at_s: float) -> int:
    return int(at_s * 1000)
