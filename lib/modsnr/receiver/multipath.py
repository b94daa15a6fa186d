"""A frame's multipath from its spectrum alone, whatever the alphabet.

A pulse of roll-off above 0 occupies more than one symbol rate, so every frequency of the symbols'
own spectrum, periodic in the symbol rate, is received twice or once: at f and at f +- 1. The pair
of looks is a vector x = h S + noise with one random S, and h_c = H(f_c) G(f_c) holds channel and
pulse. For Gaussian symbols of unit energy the frame's log-likelihood is the sum over f of
|h^H x|^2 / (n (n + |h|^2)) - log(1 + |h|^2 / n). The magnitude of the spectrum shows |H|, and the
ratio of the two looks, the same whatever S is, shows the phase of H: second-order statistics are
enough for a channel sampled above the symbol rate (Tong, Xu and Kailath, IEEE Trans. Inf. Theory
40(2), 1994). Paths lie a sample apart; their principal components under exponential profiles have
independent weights of unit variance (Karhunen-Loeve). Weights, delay and roll-off are found by
Fisher scoring with a damping of each frame's own (Levenberg and Marquardt).
"""

from __future__ import annotations

from functools import lru_cache
from math import pi
from typing import NamedTuple

import torch
from scipy.signal import windows
from torch import Tensor

from modsnr.receiver.timing import SAMPLES_PER_SYMBOL
from modsnr.signals import root_raised_cosine

PATHS = 12  # a sample apart
SPREADS = (0.01, 0.5, 1.0, 1.5, 2.0)  # samples, equally likely; the first is a channel of one path
COMPONENTS = 5  # principal ones kept
TAPER = 0.2  # share of the frame under the slopes of its Tukey window
# Of the symbols' energy: what a window leaves of the neighbouring frequencies, and the least noise.
LEAKAGE, LEAST_NOISE = 0.004, 1e-4
ROLLOFF, ROLLOFF_DEVIATION, ROLLOFFS = 0.25, 0.1, (0.06, 0.5)
DELAY_DEVIATION = 0.25  # symbols, from the timing of the line at the symbol rate
ROUNDS_FLAT, ROUNDS = 4, 14


class Multipath(NamedTuple):
    """A channel between symbols of unit energy and a frame; see ``responses``."""

    taps: Tensor  # complex64 [frame, path], gains of paths a sample apart
    delay: Tensor  # float32 [frame], of the first of them, symbols
    rolloff: Tensor  # float32 [frame]
    fit: Tensor  # float32 [frame], log-likelihood and log prior, nats

    def at(self, rows: Tensor) -> Multipath:
        """Return the channels of the frames at ``rows``."""
        return Multipath(*(column[rows] for column in self))

    def put(self, rows: Tensor, by: Multipath) -> None:
        """Replace the channels of the frames at ``rows``, in place."""
        for column, its in zip(self, by, strict=True):
            column[rows] = its


class Looks(NamedTuple):
    """The two looks of frames at each frequency of their symbols."""

    spectrum: Tensor  # complex64 [frame, 2, symbol], over the root of the symbols' energy
    noise: Tensor  # float32 [frame], noise power density over the symbols' energy
    frequency: Tensor  # float32 [2, symbol], symbol rates

    def at(self, rows: Tensor) -> Looks:
        """Return the looks of the frames at ``rows``."""
        return Looks(self.spectrum[rows], self.noise[rows], self.frequency)


def looks(iq: Tensor, density: Tensor, *, tapered: bool = False) -> Looks:
    """Return the pairs of looks of frames complex64 [frame, sample], a multiple of 8 samples.

    ``density`` is the noise's power per sample in the signal's band, float [frame]. ``tapered``
    frames are seen through a Tukey window, which keeps strong frequencies out of the weak.
    """
    window, index, frequency = _pairs(iq.shape[1], iq.device)
    spectrum = torch.fft.fft(iq * window if tapered else iq)[:, index] / iq.shape[1] ** 0.5
    power = spectrum.abs().square().sum((1, 2)) / index.shape[1]
    # Of noise alone next to nothing is left: the floor keeps the scale finite.
    energy = torch.maximum(power - 2 * density, 0.02 * power)
    noise = (density / energy).clamp(min=LEAST_NOISE)
    return Looks(spectrum * energy.rsqrt().view(-1, 1, 1), noise, frequency)


def flat(seen: Looks) -> Multipath:
    """Return the best channel of one path."""
    ones = torch.ones_like(seen.noise)
    gains = torch.nn.functional.pad(ones.unsqueeze(1), (0, PATHS - 1)) + 0j
    start = Multipath(gains, _timing(seen), ROLLOFF * ones, ones)
    return _climbed(seen, start, torch.eye(PATHS, 1, device=ones.device) + 0j, ROUNDS_FLAT)


def several_paths(seen: Looks, one: Multipath) -> Multipath:
    """Return the best channel of ``PATHS`` paths, searched for from the best one of one path."""
    return _climbed(seen, one, components(seen.noise.device), ROUNDS)


def promised_gain(seen: Looks, one: Multipath) -> Tensor:
    """Return by how many nats several paths promise a better fit than ``one``: float32 [frame].

    It is half of Rao's score statistic, the rise of the first step of the climb, at a fraction of
    the climb's cost.
    """
    foot = _foot(seen, one, components(seen.noise.device))
    gradient, information = _score(*foot)
    return (torch.linalg.solve_ex(information, gradient)[0] * gradient).sum(1) / 2


def responses(gains: Tensor, delay: Tensor, frequency: Tensor) -> Tensor:
    """Return H(f) of paths [frame, path] after ``delay`` [frame]: complex64 [frame, bin].

    ``frequency`` [bin] is in symbol rates, the delay in symbols.
    """
    turn = -2 * pi * delay.unsqueeze(1) * frequency
    return (gains @ path_waves(frequency)) * torch.polar(torch.ones_like(turn), turn)


def path_waves(frequency: Tensor) -> Tensor:
    """Return the response of each path of unit gain: complex64 [path, bin]."""
    delay = torch.arange(PATHS, device=frequency.device) / SAMPLES_PER_SYMBOL
    turn = -2 * pi * delay.unsqueeze(1) * frequency
    return torch.polar(torch.ones_like(turn), turn)


def _timing(seen: Looks) -> Tensor:
    """Return the timing of the line of |y|^2 at the symbol rate: float32 [frame], symbols."""
    first, second = seen.spectrum.unbind(1)
    upper = seen.frequency[0] > seen.frequency[1]
    weight = root_raised_cosine(seen.frequency.abs(), ROLLOFF).square().prod(0)
    product = first * second.conj()
    line = (torch.where(upper, product, product.conj()) * weight.sqrt()).sum(1)
    return -line.angle() / (2 * pi)


@lru_cache(maxsize=8)
def components(device: torch.device) -> Tensor:
    """Return the paths' principal components in the band, complex64 [path, component].

    A channel is their sum with weights that are independent, circular and of unit variance.
    """
    delay = torch.arange(PATHS, dtype=torch.float64)
    profiles = [torch.exp(-delay / spread) for spread in SPREADS]
    deviation = sum((profile / profile.sum() for profile in profiles), torch.zeros(1)) / len(
        SPREADS
    )
    deviation = deviation.sqrt()
    frequency = torch.linspace(-0.66, 0.66, 133, dtype=torch.float64)
    seen = root_raised_cosine(frequency.abs(), ROLLOFF) + 0.05
    waves = torch.exp(-2j * pi * frequency.unsqueeze(1) * delay / SAMPLES_PER_SYMBOL)
    *_, modes = torch.linalg.svd(waves * deviation * seen.unsqueeze(1), full_matrices=False)
    found = deviation.unsqueeze(1) * modes.mH[:, :COMPONENTS]
    return found.to(device, torch.complex64)


class _State(NamedTuple):
    """A channel on its way up, and what it makes of the looks; "look" is both looks, flattened."""

    weights: Tensor  # complex64 [frame, component]
    delay: Tensor  # float32 [frame]
    rolloff: Tensor  # float32 [frame]
    fit: Tensor  # float32 [frame]
    turned: Tensor  # complex64 [frame, look], the delay's turn of the pulse's spectrum
    steep: Tensor  # float32 [frame, look], dG / d roll-off over G
    response: Tensor  # complex64 [frame, 2, symbol], h
    total: Tensor  # float32 [frame, symbol], mean power of a pair of looks
    symbols: Tensor  # complex64 [frame, symbol], the symbols' spectrum by least mean square


def _foot(seen: Looks, start: Multipath, basis: Tensor) -> tuple[Looks, _State, Tensor, Tensor]:
    """Return what ``_score`` takes for the channel ``start``; ``basis`` as of ``_climbed``."""
    seen, timing = seen._replace(noise=seen.noise + LEAKAGE), _timing(seen)
    waves = basis.T @ path_waves(seen.frequency.flatten())
    weights = start.taps @ torch.linalg.pinv(basis).T
    now = _state(seen, (weights, start.delay, start.rolloff), waves, timing)
    return seen, now, waves, timing


def _climbed(seen: Looks, start: Multipath, basis: Tensor, rounds: int) -> Multipath:
    """Return the best channel that is reached from ``start``, its taps combined from ``basis``.

    ``basis`` is complex64 [path, component].
    """
    seen, now, waves, timing = _foot(seen, start, basis)
    damping = torch.full_like(timing, 0.02)
    for _ in range(rounds):
        gradient, information = _score(seen, now, waves, timing)
        scale = information.diagonal(dim1=1, dim2=2) * damping.unsqueeze(1)
        step = torch.linalg.solve_ex(information + torch.diag_embed(scale), gradient)[0]
        real, imaginary = step[:, :-2].chunk(2, 1)
        rolloff = (now.rolloff + step[:, -1]).clamp(*ROLLOFFS)
        tried = now.weights + torch.complex(real, imaginary), now.delay + step[:, -2], rolloff
        new = _state(seen, tried, waves, timing)
        better = new.fit >= now.fit
        damping = torch.where(better, damping / 4, damping * 8).clamp(1e-3, 1e3)
        pairs = zip(new, now, strict=True)
        now = _State(*(torch.where(better.view(-1, *[1] * (b.dim() - 1)), a, b) for a, b in pairs))
    return Multipath(now.weights @ basis.T, now.delay, now.rolloff, now.fit)


def _state(
    seen: Looks, channel: tuple[Tensor, Tensor, Tensor], waves: Tensor, timing: Tensor
) -> _State:
    """Return what weights, delay and roll-off make of the looks."""
    weights, delay, rolloff = channel
    frequency, noise = seen.frequency.flatten(), seen.noise.unsqueeze(1)
    ramp = rolloff.unsqueeze(1)
    shape = root_raised_cosine(frequency.abs(), ramp)
    turned = torch.polar(shape, -2 * pi * delay.unsqueeze(1) * frequency)
    # G = cos(u), u from 0 to pi / 2 over the ramp, so dG / d roll-off is -sin(u) du / d roll-off.
    past = ((frequency.abs() - 0.5) / ramp + 0.5).clamp(0, 0.99) * (pi / 2)
    steep = -past.tan() * (pi / 2) * (0.5 - frequency.abs()) / ramp.square()
    response = ((weights @ waves) * turned).unflatten(1, seen.frequency.shape)
    total = noise + response.abs().square().sum(1)
    symbols = (response.conj() * seen.spectrum).sum(1) / total
    fit = (symbols.abs().square() * total / noise - (total / noise).log()).sum(1)
    fit = fit - weights.abs().square().sum(1)
    fit = fit - ((rolloff - ROLLOFF) / ROLLOFF_DEVIATION).square() / 2
    fit = fit - ((delay - timing) / DELAY_DEVIATION).square() / 2
    return _State(weights, delay, rolloff, fit, turned, steep, response, total, symbols)


def _score(seen: Looks, now: _State, waves: Tensor, timing: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fit's gradient [frame, parameter] and Fisher information [frame, p, p].

    Parameters are real and imaginary parts of the weights, delay, roll-off. With C the covariance
    h h^H + n of a pair, the information is the sum over pairs of tr(C^-1 dC C^-1 dC).
    """
    pair, h = seen.frequency.shape, now.response
    turned = waves * now.turned.unsqueeze(1)  # [frame, component, look]
    rest = [-2j * pi * seen.frequency * h, now.steep.unflatten(1, pair) * h]
    changes = torch.cat([turned, 1j * turned, torch.stack(rest, 1).flatten(2)], 1)  # of h
    symbols, noise = now.symbols.unsqueeze(1), seen.noise.view(-1, 1, 1)
    pull = (seen.spectrum - h * symbols) / noise * symbols.conj() - h / now.total.unsqueeze(1)
    gradient = 2 * (changes.conj() @ pull.flatten(1).unsqueeze(2)).squeeze(2).real
    along = (h.conj().unsqueeze(1) * changes.unflatten(2, pair)).sum(2)  # h^H dh
    power = h.abs().square().sum(1) / now.total / seen.noise.unsqueeze(1)
    mean = along / now.total.unsqueeze(1)
    whole = changes * power.sqrt().repeat(1, 2).unsqueeze(1)
    shared = along * (power / now.total).sqrt().unsqueeze(1)
    information = 2 * ((mean @ mean.mT) + (whole @ whole.mH) - (shared @ shared.mH)).real
    certain = torch.full_like(gradient[0], 2.0)
    certain[-2], certain[-1] = DELAY_DEVIATION**-2, ROLLOFF_DEVIATION**-2
    off = torch.stack([now.delay - timing, now.rolloff - ROLLOFF], 1)
    at = torch.cat([now.weights.real, now.weights.imag, off], 1)
    return gradient - at * certain, information + torch.diag(certain)


@lru_cache(maxsize=8)
def _pairs(samples: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the window [sample], bins int64 [2, symbol] and their frequencies [2, symbol]."""
    symbols = samples // SAMPLES_PER_SYMBOL
    window = torch.tensor(windows.tukey(samples, TAPER, sym=False), dtype=torch.float32)
    bins = torch.fft.fftfreq(symbols, 1 / symbols).round().long()
    bins = torch.stack([bins, bins - torch.where(bins >= 0, symbols, -symbols)])
    window = window / window.square().mean().sqrt()
    return window.to(device), (bins % samples).to(device), (bins / symbols).to(device)
