"""Token lengths of real requests as quantiles.

Of the Azure LLM inference traces of November 2023 (19,366 conversation and 8,819 code requests;
Azure/AzurePublicDataset, CC-BY-4.0; Patel et al., "Splitwise", ISCA 2024): quantiles at steps of
1/32. The last is set so that the mean is the trace's; a straight line up to the largest request
would count a few long ones as many. So long tails are cut: at 4,901 instead of 14,050 prompt tokens
of conversations, at 394 instead of 1,899 generated ones of code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.models.service import TokenLengths

# fmt: off
CONVERSATION_PROMPT = TokenLengths((
    2, 165, 194, 206, 235, 374, 383, 391, 396, 401, 405, 412, 428, 818, 966, 1001, 1020, 1037,
    1052, 1067, 1083, 1100, 1120, 1147, 1189, 1312, 1335, 1767, 2309, 3018, 4079, 4089, 4901,
))
CONVERSATION_GENERATED = TokenLengths((
    7, 33, 45, 53, 60, 68, 75, 81, 85, 89, 92, 95, 99, 104, 110, 118, 129, 141, 157, 171, 195,
    223, 377, 389, 395, 397, 402, 411, 416, 427, 440, 502, 747,
))
CODE_PROMPT = TokenLengths((
    3, 51, 90, 137, 185, 246, 348, 462, 578, 700, 825, 915, 1016, 1093, 1196, 1342, 1469, 1605,
    1734, 1885, 2048, 2195, 2372, 2539, 2744, 2982, 3330, 3775, 4434, 5510, 6499, 7435, 7579,
))
CODE_GENERATED = TokenLengths((
    6, 6, 6, 7, 7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 12, 12, 13, 14, 15, 15, 16, 18, 19, 21, 24,
    27, 31, 37, 46, 58, 77, 126, 394,
))
# fmt: on
BY_NAME = {
    "azure-conversation-prompt": CONVERSATION_PROMPT,
    "azure-conversation-generated": CONVERSATION_GENERATED,
    "azure-code-prompt": CODE_PROMPT,
    "azure-code-generated": CODE_GENERATED,
}


def fixed(tokens: float) -> TokenLengths:
    """Every request has so many tokens."""
    return TokenLengths((tokens, tokens))


def from_counts(counts: NDArray[np.float64], steps: int = 32) -> TokenLengths:
    """Quantiles of observed token counts, the last set so that the mean is theirs.

    Args:
        counts: (requests,), one or more.
        steps: of probability.
    """
    quantiles = np.rint(np.quantile(counts, np.linspace(0.0, 1.0, steps + 1)))
    inner = float(quantiles[0] + 2.0 * quantiles[1:-1].sum())
    last = max(round(2.0 * steps * float(np.mean(counts)) - inner), quantiles[-2])
    return TokenLengths((*(float(q) for q in quantiles[:-1]), float(last)))
