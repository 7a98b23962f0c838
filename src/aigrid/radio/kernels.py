# mypy: disable-error-code="no-untyped-def,untyped-decorator"
"""The receiver's inner loops, compiled once and kept on disk by numba.

Arrays are columns: real and imaginary parts stay interleaved as the antennas deliver them, results
are written into arrays of the caller, nothing is allocated. `fastmath` lets the compiler reorder
sums, which the vector units need; inputs hold no NaN.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def strip_prefixes(samples, starts, useful):
    """Copy each symbol without its prefix: [antenna, sample] to [antenna, symbol, sample]."""
    size = useful.shape[2]
    for antenna in range(useful.shape[0]):
        for symbol in range(useful.shape[1]):
            start = starts[symbol]
            for n in range(size):
                useful[antenna, symbol, n] = samples[antenna, start + n]


@njit(**_OPTIONS)
def gather(spectrum, first_bin, low, count, grid):
    """Bring scheduled sub-carriers into order: FFT bins to [antenna, symbol, sub-carrier]."""
    size = spectrum.shape[2]
    start = (first_bin + low) % size
    below = min(count, size - start)
    for antenna in range(spectrum.shape[0]):
        for symbol in range(spectrum.shape[1]):
            # Two straight runs, around the end of the spectrum, instead of a remainder per bin.
            for k in range(below):
                grid[antenna, symbol, k] = spectrum[antenna, symbol, start + k]
            for k in range(count - below):
                grid[antenna, symbol, below + k] = spectrum[antenna, symbol, k]


@njit(**_OPTIONS)
def estimate(grid, pilot_symbols, pilots, power, low, count, channel):
    """Least squares at the pilots, linear interpolation between them; returns the noise variance.

    Args:
        grid: [antenna, symbol, sub-carrier of the allocation].
        pilot_symbols: symbols that carry pilots.
        pilots: [pilot symbol, pilot of the cell] as sent.
        power: power of a pilot.
        low: first sub-carrier of the allocation, even.
        count: sub-carriers of the allocation, even.
        channel: out, [pilot symbol, antenna, sub-carrier].
    """
    noise = np.float32(0.0)
    scale = np.float32(1.0 / power)
    half = np.float32(0.5)
    for row in range(pilot_symbols.shape[0]):
        symbol = pilot_symbols[row]
        for antenna in range(grid.shape[0]):
            heard = grid[antenna, symbol]
            out = channel[row, antenna]
            for k in range(0, count, 2):
                out[k] = heard[k] * np.conj(pilots[row, (low + k) // 2]) * scale
                empty = heard[k + 1]
                noise += empty.real * empty.real + empty.imag * empty.imag
            for k in range(1, count - 1, 2):
                out[k] = (out[k - 1] + out[k + 1]) * half
            # Beyond the last pilot the line through the last two goes on.
            out[count - 1] = out[count - 2] + (out[count - 2] - out[count - 4]) * half
    return noise / np.float32(pilot_symbols.shape[0] * grid.shape[0] * (count // 2))


@njit(**_OPTIONS)
def equalise(grid, channel, data_symbols, weights, noise, count, equalised, sinr):
    """MMSE combining of all antennas for one layer, its bias removed.

    With one layer the unbiased MMSE output is h^H y / |h|^2 and its signal-to-noise ratio |h|^2 /
    noise (Kay, Estimation Theory, 1993, section 12.5, scalar case).

    Args:
        grid: [antenna, symbol, sub-carrier of the allocation].
        channel: [pilot symbol, antenna, sub-carrier].
        data_symbols: symbols that carry data.
        weights: [data symbol], 0 takes the first pilot symbol's channel, 1 the second's.
        noise: variance per resource element.
        count: sub-carriers of the allocation.
        equalised: out, [data symbol, sub-carrier].
        sinr: out, [data symbol, sub-carrier].
    """
    floor = np.float32(1e-12)
    inverse_noise = np.float32(1.0) / max(noise, floor)
    for row in range(data_symbols.shape[0]):
        symbol = data_symbols[row]
        late = weights[row]
        early = np.float32(1.0) - late
        out = equalised[row]
        gain = sinr[row]
        for k in range(count):
            out[k] = 0
            gain[k] = floor
        # Antennas outside, sub-carriers inside: the inner loop has no carried sum and vectorises.
        for antenna in range(grid.shape[0]):
            first = channel[0, antenna]
            second = channel[1, antenna]
            heard = grid[antenna, symbol]
            for k in range(count):
                h_real = early * first[k].real + late * second[k].real
                h_imag = early * first[k].imag + late * second[k].imag
                y = heard[k]
                real = h_real * y.real + h_imag * y.imag
                imag = h_real * y.imag - h_imag * y.real
                out[k] += np.complex64(complex(real, imag))
                gain[k] += h_real * h_real + h_imag * h_imag
        for k in range(count):
            scale = np.float32(1.0) / gain[k]
            out[k] = np.complex64(complex(out[k].real * scale, out[k].imag * scale))
            gain[k] *= inverse_noise


@njit(**_OPTIONS)
def demap(equalised, sinr, bits_per_symbol, inner, count, llr):
    """Exact max-log log-likelihood ratios, positive for bit 0.

    On an axis with odd integer levels the nearest level on either side of a bit's decision border
    is known without search, and folding the axis at 2**n shows the next bit's border (Gray
    labels).

    Args:
        equalised: [data symbol, sub-carrier], unit symbol power.
        sinr: [data symbol, sub-carrier].
        bits_per_symbol: 2, 4, 6 or 8.
        inner: amplitude of the innermost level.
        count: sub-carriers of the allocation.
        llr: out, flat; bits in the order they were sent.
    """
    per_axis = bits_per_symbol // 2
    one = np.float32(1.0)
    two = np.float32(2.0)
    to_levels = np.float32(1.0 / inner)
    squared = np.float32(inner * inner)
    at = 0
    for row in range(equalised.shape[0]):
        for depth in range(per_axis):
            top = np.float32((1 << (per_axis - depth)) - 1)
            for k in range(count):
                point = equalised[row, k]
                weight = sinr[row, k] * squared
                to = at + k * bits_per_symbol + 2 * depth
                for axis in range(2):
                    y = (point.real if axis == 0 else point.imag) * to_levels
                    border = np.float32(1 << per_axis)
                    for _ in range(depth):
                        border *= np.float32(0.5)
                        y = border - abs(y)
                    size = abs(y)
                    near = min(one + two * np.floor(size * np.float32(0.5)), top)
                    # (size + 1)**2 - (size - near)**2: squared distances to both sides.
                    gap = (one + near) * (two * size + one - near)
                    llr[to + axis] = weight * np.copysign(gap, y)
        at += count * bits_per_symbol
