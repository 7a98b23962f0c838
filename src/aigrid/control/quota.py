"""Token buckets: how much of something a tenant may take a minute. Time is an argument.

A bucket holds a minute's worth: after a quiet minute twice of it can go within one. What is taken
is an estimate where the truth comes later; `correct` puts that right, and may leave a debt.
"""

from __future__ import annotations

from dataclasses import dataclass

PERIOD_S = 60.0


@dataclass(slots=True)
class Bucket:
    """What may be taken now.

    Attributes:
        level: below 0 is a debt.
        at_s: when it was reckoned.
    """

    level: float
    at_s: float


def full(per_min: float, now_s: float) -> Bucket:
    """A bucket that nobody took from."""
    return Bucket(per_min, now_s)


def take(bucket: Bucket, per_min: float, amount: float, now_s: float) -> float:
    """Take `amount` out, or nothing.

    More than the bucket can ever hold is let through when it is full, and leaves a debt: otherwise
    it would be refused for ever.

    Args:
        bucket: changed in place.
        per_min: what flows in; also what it holds.
        amount: 0 or more.
        now_s: any clock that goes forward; where it goes back, nothing flows in.

    Returns:
        0, or seconds after which one may ask again; infinity where nothing flows in.
    """
    refill(bucket, per_min, now_s)
    wanted = min(amount, per_min)
    if bucket.level >= wanted and per_min > 0.0:
        bucket.level -= amount
        return 0.0
    if per_min <= 0.0:
        return float("inf")
    return (wanted - bucket.level) * PERIOD_S / per_min


def refill(bucket: Bucket, per_min: float, now_s: float) -> None:
    """Let in what has come since."""
    grown = max(0.0, now_s - bucket.at_s) * per_min / PERIOD_S
    bucket.level = min(per_min, bucket.level + grown)
    bucket.at_s = max(bucket.at_s, now_s)


def correct(bucket: Bucket, per_min: float, taken: float, used: float) -> None:
    """The truth about an earlier `take`."""
    bucket.level = min(per_min, bucket.level + taken - used)
