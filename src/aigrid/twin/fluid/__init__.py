"""A country's day as flows a minute: radio, guard, placement, routing, queues, money."""

from aigrid.twin.fluid.rehearsal import rehearse

__all__ = ["rehearse"]
