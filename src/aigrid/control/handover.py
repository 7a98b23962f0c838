"""When a site hands its answers over, with the tokens they have, for others to go on with.

Live and simulated sites decide it here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# A share that comes back sooner costs less than going on elsewhere.
PAUSED_PATIENCE_S = 0.5
# Times that one answer is continued elsewhere.
RESUMES = 16


@dataclass(slots=True)
class Handover:
    """What a site knows of the compute that it will have.

    Attributes:
        next_share: what its share is forecast to fall to soon; 1 for no notice.
        paused_since_s: when its share was last taken, on the site's clock.
        drained_by_s: by when answers are to be elsewhere; infinity without notice.
    """

    next_share: float = 1.0
    paused_since_s: float = 0.0
    drained_by_s: float = math.inf

    def heed_notice(self, next_share: float, notice_s: float, now_s: float) -> None:
        """A share that is to be lost: no new answers, and half the time for those that run."""
        if next_share > 0.0:
            self.drained_by_s = math.inf
        elif self.next_share > 0.0:
            self.drained_by_s = now_s + notice_s / 2
        self.next_share = next_share

    def why(self, share: float, now_s: float, held_s: float = 0.0) -> str:
        """Why answers shall go on elsewhere; empty while they may stay.

        Args:
            share: that the site has.
            now_s: on its clock.
            held_s: how long the radio has kept AI from its next step, whatever the share.
        """
        paused_s = now_s - self.paused_since_s if share <= 0.0 else 0.0
        if max(held_s, paused_s) >= PAUSED_PATIENCE_S:
            return "the radio took this site's compute back"
        if now_s >= self.drained_by_s:
            return "the radio will need this site's compute"
        return ""
