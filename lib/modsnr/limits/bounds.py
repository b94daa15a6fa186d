"""How well an SNR can be estimated: the least standard deviation in dB, per SNR.

The model: a frame of n complex samples is a signal of mean power S in white circular Gaussian
noise of power N a sample; the SNR is S / N. What is known of the signal makes the bounds differ:

``data_aided``      the whole waveform but for its amplitude: nobody does better.
``non_data_aided``  pulse, timing, phase and alphabet, but not the symbols: what demodulation gives.
``spectrum_aware``  the power spectrum: Gaussian symbols on known pulses.
``band_limited``    the band, nothing else: the rest of the sampled band shows the noise.
``tilted``          the band, of noise whose log density falls by an unknown slope over |f|.

A matched filter leaves 128 symbols of a frame of 1,024 samples, and 896 dimensions of noise only: a
bound for 128 symbols does not hold for the frame, which shows the noise in all 1,024. Where noise
is not white, N is its density in the signal's band times the sampling rate. What lies behind a
receive filter cannot be known, nor matters: fewer dimensions show noise.

S is the *realised* power: the mean power of the frame's own signal, to which a labelled frame was
scaled. For random symbols it fluctuates about the parameter of their distribution. To estimate it
is to predict a random variable, for which the Cramer-Rao inequality becomes
E Var(g | x) + c' J^-1 c, with g the quantity to estimate, J the Fisher information and
c = E d E(g | x) / d theta (Yatracos, Ann. Inst. Statist. Math. 44(3), 1992).
Fluctuations are taken to first order, as everywhere where a variance is taken to decibels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, pi, sqrt

import numpy as np
from scipy import special

from modsnr import InputError

DB = 10 / log(10)  # decibels in a relative change
STEP, REACH = 0.35, 4.4  # of the lattice over noise of unit power: beyond, 4e-9 of it
RAMP_NODES = 64  # over the ramp of a raised cosine

Decibels = np.ndarray | Sequence[float]
CONTRAST = np.array([1.0, -1.0])  # of ln S / N with (ln S, ln N)


def data_aided(snr_db: Decibels, observations: int) -> np.ndarray:
    """Return the bound in dB, float64 [snr], where the waveform is known but for its amplitude.

    ``snr_db`` is that of each of the complex ``observations``: all samples of a frame, or symbols
    after the matched filter with Es/N0. The relative variances of S and N are 2 / (rho n) and
    1 / n, uncorrelated; an unknown phase costs nothing (Alagha, IEEE Commun. Lett. 5(1), 2001).
    """
    return DB * np.sqrt(2 / (_ratio(snr_db) * observations) + 1 / observations)


def band_limited(
    snr_db: Decibels, *, samples: int, occupied: float, noise_only: float | None = None
) -> np.ndarray:
    """Return the bound in dB, float64 [snr], where only the signal's band is known.

    The signal is any vector of a known subspace of d = ``occupied`` of the frame's n = ``samples``
    dimensions, a number that need not be whole; the other m = n - d hold noise only, or, where a
    receive filter has taken some away, m = ``noise_only`` of them. The waveform in the one and the
    power in the other are a complete sufficient statistic, so the power outside over m, and with it
    the power inside less its noise, are the best unbiased estimates of N and S. With rho = S / N,
    to first order,

        Var(ln S/N) = (1 + d / (n rho))^2 / m + 2 / (n rho) + d / (n rho)^2.

    With no dimension occupied this is ``data_aided``.

    Raises InputError where no dimension is left to noise alone.
    """
    noise_only = samples - occupied if noise_only is None else noise_only
    if not (0 <= occupied < samples and 0 < noise_only <= samples):
        raise InputError(
            f"{occupied} occupied dimensions of {samples} samples leave none to noise alone."
        )
    per_frame = samples * _ratio(snr_db)
    variance = (1 + occupied / per_frame) ** 2 / noise_only
    return DB * np.sqrt(variance + 2 / per_frame + occupied / per_frame**2)


def tilted(
    snr_db: Decibels,
    *,
    samples: int,
    samples_per_symbol: int,
    rolloff: float,
    passed: float = 1.0,
) -> np.ndarray:
    """Return the bound in dB, float64 [snr], where the noise's slope is unknown, as is its level.

    As ``band_limited``, with a noise density exp(a + b u) over u = 2 |f|. The bins between the band
    of width o = (1 + rolloff) / samples_per_symbol and the share ``passed`` of the sampled one,
    m = n (passed - o), are exponential with that mean: for any a and b their Fisher information is
    m [1, e; e, e^2 + v], e the middle of o..passed and v = (passed - o)^2 / 12. The SNR, whose
    ``snr_db`` is signal power over in-band density times sampling rate, depends on the density at
    the raised cosine's mean of u, c, and through the noise taken off the power at o / 2. With
    q = d / (n rho), to first order in the density's change over the band,

        Var(ln S/N) = ((1 + q)^2 + (e - c + q (e - o / 2))^2 / v) / m + 2 / (n rho) + q / (n rho).

    Raises InputError where no dimension is left to noise alone.
    """
    width = (1 + rolloff) / samples_per_symbol
    if not 0 <= width < passed <= 1:
        raise InputError(f"A signal in {width} of the sampled band leaves none to noise alone.")
    middle, spread = (width + passed) / 2, (passed - width) ** 2 / 12
    centre = (0.5 + rolloff**2 * (0.5 - 4 / pi**2)) / samples_per_symbol
    per_frame = samples * _ratio(snr_db)
    share = samples * width / per_frame
    lever = middle - centre + share * (middle - width / 2)
    variance = ((1 + share) ** 2 + lever**2 / spread) / (samples * (passed - width))
    return DB * np.sqrt(variance + (2 + share) / per_frame)


def spectrum_aware(
    snr_db: Decibels, *, rolloff: float, samples: int = 1024, samples_per_symbol: int = 8
) -> np.ndarray:
    """Return the bound in dB, float64 [snr], for Gaussian symbols on known raised-cosine spectra.

    Each bin of the frame's spectrum is circular Gaussian of power S P + N, P the raised cosine of
    mean 1 over the sampled band. With w = S P / (S P + N) the Fisher information about (ln S, ln N)
    is n times the band's mean of [w^2, w (1 - w); w (1 - w), (1 - w)^2] (Whittle 1953). The power
    has E Var = mean P^2 (1 - w^2) / n, and c = (mean P (1 - w^2), -1 - mean P w (1 - w)). With a
    roll-off of 0 the bound is ``band_limited``.

    Raises InputError for a roll-off outside 0..1 and a band wider than the sampled one.
    """
    if not 0 <= rolloff <= 1 or not samples_per_symbol >= 1 + rolloff:
        raise InputError(
            f"rolloff must lie in 0..1 and the band of 1 + rolloff symbol rates within the sampled "
            f"one; they are {rolloff} and {samples_per_symbol} samples a symbol."
        )
    place, weight = np.polynomial.legendre.leggauss(RAMP_NODES)
    ramp = np.cos(pi / 4 * (place + 1)) ** 2
    density = samples_per_symbol * np.concatenate([[1.0], ramp, [0.0]])
    share = np.concatenate([[1 - rolloff], rolloff * weight, [samples_per_symbol - 1 - rolloff]])
    share /= samples_per_symbol

    def mean(values: np.ndarray) -> np.ndarray:
        return values @ share

    signal = _ratio(snr_db)[:, None] * density
    w = signal / (signal + 1)
    cross = mean(w * (1 - w))
    information = np.array([[mean(w**2), cross], [cross, mean((1 - w) ** 2)]]) * samples
    gradient = np.stack([mean(density * (1 - w**2)), -1 - mean(density * w * (1 - w))], 1)
    hidden = mean(density**2 * (1 - w**2)) / samples
    return DB * np.sqrt(hidden + _variance(np.moveaxis(information, 2, 0), gradient))


def non_data_aided(
    snr_db: Decibels, points: np.ndarray, observations: int, *, noise_only: int = 0
) -> np.ndarray:
    """Return the bound in dB, float64 [snr], where the alphabet is known and the symbols are not.

    ``points`` is complex [point], equally likely, of unit mean power; ``snr_db`` is the Es/N0 of
    each of the ``observations``, a symbol in noise. ``noise_only`` further ones hold noise alone,
    as the rest of an oversampled frame does. Sources: Alagha 2001 for BPSK and QPSK; Gappmair, IEEE
    Trans. Commun. 56(5), 2008.

    Raises InputError for an alphabet without unit mean power.
    """
    points = np.asarray(points, np.complex128)
    power = np.square(np.abs(points)).mean()
    if abs(power - 1) > 1e-6:
        raise InputError(f"points must be of unit mean power; theirs is {power:.6g}.")
    found = []
    for ratio in _ratio(snr_db):
        information, gradient, hidden = _mixture(ratio, points)
        information = observations * information
        information[1, 1] += noise_only
        variance = _variance(information[None], gradient + CONTRAST)[0]
        found.append(hidden / observations + variance)
    return DB * np.sqrt(np.array(found))


def frame_bounds(
    snr_db: np.ndarray,
    alphabets: Mapping[str, np.ndarray],
    *,
    samples: int,
    samples_per_symbol: int,
    rolloff: tuple[float, float],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return bounds in dB [SNR] on estimates from a frame, by what is known, and by alphabet.

    ``snr_db`` is per sample, ``alphabets`` modulation -> points, complex [point], ``rolloff`` the
    least and greatest of the pulses. Known are the waveform; pulse, timing and alphabet (the root
    mean square over ``alphabets``); the power spectrum, of the middle roll-off; or the band of the
    greatest.
    """
    each = _by_alphabet(snr_db, alphabets, samples, samples_per_symbol)
    occupied = (1 + rolloff[1]) / samples_per_symbol * samples
    middle, size = sum(rolloff) / 2, {"samples": samples, "samples_per_symbol": samples_per_symbol}
    known = {
        "waveform known": data_aided(snr_db, samples),
        "alphabet known": np.sqrt(np.square(list(each.values())).mean(0)),
        "spectrum known": spectrum_aware(snr_db, rolloff=middle, **size),
        "band known": band_limited(snr_db, samples=samples, occupied=occupied),
    }
    return known, each


def bin_accuracy(sigma_db: Decibels, snr_db: Decibels, grid_db: Decibels) -> np.ndarray:
    """Return the probability, float64 [..., snr], that an estimate is nearest to its grid point.

    The estimate is Gaussian about ``snr_db`` [snr], a point of the ascending ``grid_db``, with
    standard deviation ``sigma_db`` [..., snr]. The outermost bins are open to one side. Where a
    bound is as wide as steps of the grid, it does not bound decisions: an estimator that knows the
    grid may do better there, above all at its ends.
    """
    grid, snr = np.asarray(grid_db, np.float64), np.asarray(snr_db, np.float64)
    middles = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    place = np.searchsorted(grid, snr)
    sigma = np.asarray(sigma_db, np.float64)
    low, high = (middles[place] - snr) / sigma, (middles[place + 1] - snr) / sigma
    return special.ndtr(high) - special.ndtr(low)


def possible_accuracy(
    grid_db: Decibels,
    alphabets: Mapping[str, np.ndarray],
    *,
    samples: int,
    samples_per_symbol: int,
) -> np.ndarray:
    """Return how often an estimate as good as the bound finds a frame's SNR: float64 [snr].

    It is the mean over ``alphabets`` of ``bin_accuracy`` of the bound for a known alphabet.
    """
    sigma_db = _by_alphabet(np.asarray(grid_db), alphabets, samples, samples_per_symbol)
    return bin_accuracy(np.array([*sigma_db.values()]), grid_db, grid_db).mean(0)


def _by_alphabet(
    snr_db: np.ndarray, alphabets: Mapping[str, np.ndarray], samples: int, samples_per_symbol: int
) -> dict[str, np.ndarray]:
    """Return ``non_data_aided`` of a whole frame, dB [SNR], for each alphabet."""
    symbols = samples // samples_per_symbol
    es_n0_db = np.asarray(snr_db) + 10 * np.log10(samples_per_symbol)
    return {
        name: non_data_aided(es_n0_db, points, symbols, noise_only=samples - symbols)
        for name, points in alphabets.items()
    }


def _mixture(rho: float, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the information of one symbol s in noise, y = sqrt(rho) s + w, N = 1, on (ln S, ln N).

    First comes the Fisher information, float64 [2, 2]; then the expected derivative of
    E(|s|^2 | y), float64 [2]; then the expected variance of |s|^2 given y. The score is the mean,
    over the posterior of s, of that for a known symbol; the derivative of a posterior mean is the
    posterior covariance with it. Integrals over the noise about each point are sums over an even
    lattice: for Gaussian weights these converge as fast as Gauss-Hermite does.
    """
    place = STEP * np.arange(-int(REACH / STEP), int(REACH / STEP) + 1)
    noise = (place[:, None] + 1j * place).ravel()
    noise = noise[np.abs(noise) <= REACH]
    noise_density = STEP**2 / pi * np.exp(-(np.abs(noise) ** 2))
    sent, sent_share = _representatives(points)
    amplitude, energy = sqrt(rho), np.abs(points) ** 2
    # Posterior means of these are all that the scores need: s, |s|^2, s |s|^2, |s|^4.
    moments = np.stack([points, energy, points * energy, energy**2], 1)
    moments = np.concatenate([np.real(moments), np.imag(moments)], 1)
    information, gradient, hidden = np.zeros((2, 2)), np.zeros(2), 0.0
    for symbol, share in zip(sent, sent_share, strict=True):
        y, away = amplitude * symbol + noise, amplitude * (symbol - points)
        # The log of each point's likelihood over that of the one sent, never above |noise|^2.
        pairs = -2 * np.stack([noise.real, noise.imag], 1) @ np.stack([away.real, away.imag])
        posterior = np.exp(pairs - np.square(np.abs(away)))
        means = posterior @ moments / posterior.sum(1, keepdims=True)
        s1, s2, s3, s4 = (means[:, :4] + 1j * means[:, 4:]).T
        along, along3 = (amplitude * (y * s.conj()).real for s in (s1, s3))
        s2, s4, power = s2.real, s4.real, np.abs(y) ** 2
        mean = np.stack([along - rho * s2, power - 2 * along + rho * s2 - 1])
        with_energy = [along3 - rho * s4, (power - 1) * s2 - 2 * along3 + rho * s4]
        weights = share * noise_density
        information += (mean * weights) @ mean.T
        gradient += (np.stack(with_energy) - mean * s2) @ weights
        hidden += float((s4 - s2**2) @ weights)
    return information, gradient, hidden


def _representatives(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points of one quadrant and their shares if the others mirror it, else all points:
    noise is as likely as its mirror image, so mirrored points contribute the same."""

    def closed(images: np.ndarray) -> bool:
        return bool((np.abs(images[:, None] - points).min(1) < 1e-9).all())

    if not (closed(points.conj()) and closed(-points.conj())):
        return points, np.full(len(points), 1 / len(points))
    kept = points[(np.real(points) > -1e-9) & (np.imag(points) > -1e-9)]
    orbit = (1 + (np.real(kept) > 1e-9)) * (1 + (np.imag(kept) > 1e-9))
    return kept, orbit / len(points)


def _variance(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return c' J^-1 c, float64 [snr], of J [snr, 2, 2] and c [snr, 2] or [2]."""
    gradient = np.broadcast_to(gradient, information.shape[:-1])
    return (gradient * np.linalg.solve(information, gradient[..., None])[..., 0]).sum(-1)


def _ratio(snr_db: Decibels) -> np.ndarray:
    return 10 ** (np.asarray(snr_db, np.float64) / 10)
