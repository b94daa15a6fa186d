"""The blind receiver as a whole: what ``receive`` does with a frame, and what it returns.

In order: the noise beside and in the signal's band; the carrier, from the spectrum; the clock, from
the line of |y|^2; the rest of the carrier, by the likelihoods of the alphabets, which also decide
between clocks; the noise outside the signal's band, levelled to that inside it; several paths,
where the spectrum shows them. Nothing is known of a frame but that it holds one linearly modulated
signal at about eight samples a symbol, and the list of alphabets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError
from modsnr.receiver.carrier import Coarse, coarse_carrier
from modsnr.receiver.clock import Clocks, clock_candidates, resample
from modsnr.receiver.decided import settled
from modsnr.receiver.equaliser import (
    Equalised,
    apply_equaliser,
    equalise,
    of_rows,
    replace_rows,
)
from modsnr.receiver.likelihood import frame_likelihoods
from modsnr.receiver.multipath import PATHS
from modsnr.receiver.noise import (
    Noise,
    levelled,
    noise_of,
    present,
    snr_db,
    snr_deviation_db,
    with_snr,
)
from modsnr.receiver.spectrum import shift
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL
from modsnr.signals import STUDY_CLASSES

LEAST_SAMPLES = 32 * SAMPLES_PER_SYMBOL  # of a frame
CLOCKS = 3  # candidates tried
DOUBT = 4.0  # nats: a clock so far behind the likeliest is not tried
ALIKE = 1e-3  # nor is one so near to it: half an eighth of a symbol at the ends of 128
FAR = 3.0  # deviations: a carrier so far from zero is none
LOCKED_NATS = 6.0  # prior odds of a carrier of zero behind several paths
MOVED = 0.15  # nepers: where noise proves to be so far off, a frame is received again
AT_A_TIME = 512  # frames, which bounds memory


@dataclass(frozen=True)
class Received:
    """What the receiver has made of frames, and what it found; all are [frame, ...].

    ``iq`` is complex64 [frame, sample]: the frame without its carrier's offset, at eight samples a
    symbol, behind the equaliser where several paths were found. The noise beside its band is white
    and as far below its signal as the noise in the band of the frame itself: ``snr_db`` below.
    """

    iq: Tensor
    carrier: Tensor  # cycles/sample
    clock: Tensor  # true symbol rate over the nominal one, less 1
    rolloff: Tensor
    noise: Tensor  # density in the signal's band, as the power a sample of white noise
    snr_db: Tensor  # signal power over that
    snr_deviation_db: Tensor  # one standard deviation of it, as far as the noise is modelled right
    present: Tensor  # bool, whether there is a signal at all
    share: Tensor  # the noise's, of the power of the symbols, behind the equaliser
    several: Tensor  # bool, whether several paths were found
    gain: Tensor  # nats by which they explain the spectrum better than one
    taps: Tensor  # complex64 [frame, path], the paths, a sample apart; one of 1 if one was enough
    log_likelihood: Tensor  # of each of the study's modulations, phase and offset averaged out

    def of(self, classes: Sequence[str]) -> Tensor:
        """Return the log-likelihoods of ``classes``, float32 [frame, class], -inf of unknown ones.

        An unknown one is none of the study's modulations.
        """
        column = torch.full_like(self.log_likelihood[:, :1], -torch.inf)
        known = torch.cat([self.log_likelihood, column], 1)
        places = [STUDY_CLASSES.index(n) if n in STUDY_CLASSES else -1 for n in classes]
        return known[:, places]

    @property
    def confidence(self) -> Tensor:
        """The likeliest alphabet's share of all alphabets' likelihoods, float32 [frame].

        It is 0 where no signal is ``present``.
        """
        return torch.where(self.present, self.log_likelihood.softmax(1).amax(1), 0)


def receive(iq: Tensor | np.ndarray) -> Received:
    """Return what a blind receiver makes of frames, complex [frame, sample], on their device.

    Frames have about eight samples a symbol, ``LEAST_SAMPLES`` at least, and any scale.

    Raises InputError for other shapes, shorter frames, and frames without power or not finite.
    """
    iq = torch.as_tensor(iq)
    _check(iq)
    pieces = [_receive(piece) for piece in iq.to(torch.complex64).split(AT_A_TIME)]
    columns = {
        field.name: torch.cat([getattr(piece, field.name) for piece in pieces])
        for field in fields(Received)
    }
    return Received(**columns)


def steps(iq: Tensor, found: Received) -> dict[str, Tensor]:
    """Return frames after each step of ``found``: name -> complex64 [frame, sample]."""
    shifted = shift(iq, found.carrier)
    clocked = resample(shifted, found.clock)
    return {"received": iq, "carrier": shifted, "clock": clocked, "set right": found.iq}


def _check(iq: Tensor) -> None:
    if iq.ndim != 2 or not iq.is_complex() or not len(iq):
        raise InputError(
            f"Frames must be complex [frame, sample], one at least; they are {iq.dtype} "
            f"{tuple(iq.shape)}."
        )
    if iq.shape[1] < LEAST_SAMPLES or iq.shape[1] % SAMPLES_PER_SYMBOL:
        raise InputError(
            f"The receiver needs frames of {LEAST_SAMPLES} samples or more, a multiple of "
            f"{SAMPLES_PER_SYMBOL}; these have {iq.shape[1]}."
        )
    power = torch.view_as_real(iq.resolve_conj()).square().sum((1, 2))
    bad = (~(power.isfinite() & (power > 0))).nonzero().flatten()
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(iq)} frames have no power or are not finite, first {int(bad[0])}: "
            "leave them out."
        )


def _receive(iq: Tensor) -> Received:
    scale = iq.abs().square().mean(1, keepdim=True).sqrt()
    iq = iq / scale
    coarse = coarse_carrier(iq, noise_of(iq))
    noise = noise_of(iq, coarse.offset)._replace(centre=-coarse.offset)
    found, before = _in_noise(iq, coarse, noise)
    seen = noise
    noise = settled(before, found["iq"], coarse.rolloff, found["carrier"], seen)
    moved = (noise.density / seen.density).log()
    again = (moved.abs() > MOVED).nonzero().flatten()
    if len(again):
        its = Coarse(*(of[again] for of in coarse)), Noise(*(of[again] for of in noise))
        for key, value in _in_noise(iq[again], *its)[0].items():
            found[key][again] = value
    snr = snr_db(noise)
    near = ((moved != 0) & (moved.abs() <= MOVED)).nonzero().flatten()
    if len(near):
        found["iq"][near] = with_snr(found["iq"][near], snr[near])
    return Received(
        iq=found.pop("iq") * scale,
        carrier=found.pop("carrier") / SAMPLES_PER_SYMBOL,
        rolloff=coarse.rolloff,
        noise=noise.density * scale[:, 0].square(),
        snr_db=snr,
        snr_deviation_db=snr_deviation_db(noise, iq.shape[1]),
        present=present(noise, iq.shape[1]),
        **found,
    )


def _in_noise(iq: Tensor, coarse: Coarse, noise: Noise) -> tuple[dict[str, Tensor], Tensor]:
    """Return what is found of frames of unit power in this noise, and them before an equaliser.

    "carrier" is in cycles/symbol.
    """
    shifted = shift(iq, coarse.offset)
    clocks = clock_candidates(shifted, coarse.rolloff, CLOCKS, share=noise.share)
    period = coarse.offset * SAMPLES_PER_SYMBOL, coarse.deviation * SAMPLES_PER_SYMBOL
    found = _best_clock(shifted, clocks, coarse.rolloff, noise, period)
    result = levelled(shift(found["iq"], found["offset"] / SAMPLES_PER_SYMBOL), noise)
    before = result.clone()
    carrier = period[0] + found["offset"], period[1]
    paths = _take_out_paths(result, noise, found["marginal"], carrier)
    offset = paths.pop("offset")
    seen = {
        "iq": result,
        "carrier": carrier[0] + offset,
        "clock": found["clock"],
        "log_likelihood": found["marginal"],
        **paths,
    }
    return seen, shift(before, offset / SAMPLES_PER_SYMBOL)


def _take_out_paths(
    iq: Tensor, noise: Noise, marginal: Tensor, carrier: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Take several paths out of frames, in place, and return what was found of them.

    ``iq`` is complex64 [frame, sample], ``marginal`` float32 [frame, class], ``carrier`` what was
    taken off and its deviation, [frame], cycles/symbol; "offset" is what was left, and is gone now.
    What seems to be OQPSK stays: its pulses of two kinds look like paths to the equaliser.
    """
    found = {
        "several": torch.zeros(len(iq), dtype=torch.bool, device=iq.device),
        "gain": torch.zeros(len(iq), device=iq.device),
        "offset": torch.zeros(len(iq), device=iq.device),
        "taps": torch.eye(1, PATHS, device=iq.device).repeat(len(iq), 1) + 0j,
        "share": noise.share.clone(),
    }
    linear = (marginal.argmax(1) != STUDY_CLASSES.index("OQPSK")).nonzero().flatten()
    if not len(linear):
        return found
    coarse, deviation = (of[linear] for of in carrier)
    frames, paths, moved = _find_paths(iq[linear], noise.density[linear], coarse, deviation)
    found["offset"][linear] = moved + paths.offset
    found["several"][linear], found["gain"][linear] = paths.several, paths.gain
    found["taps"][linear] = paths.channel.taps
    some = paths.several.nonzero().flatten()
    if len(some):
        rows, its = linear[some], of_rows(paths, some)
        equalised, _ = apply_equaliser(frames[some], its)
        found["share"][rows] = its.share
        equalised = shift(equalised, its.offset / SAMPLES_PER_SYMBOL)
        marginal[rows] = frame_likelihoods(
            equalised, its.share, rolloff=its.channel.rolloff
        ).marginal
        iq[rows] = with_snr(equalised, snr_db(noise)[rows])
    return found


def _find_paths(
    iq: Tensor, density: Tensor, coarse: Tensor, deviation: Tensor
) -> tuple[Tensor, Equalised, Tensor]:
    """Return frames, the paths found in them, and by how far they were moved, cycles/symbol.

    Two carriers are tried: the one found, with all that ``deviation`` leaves open about it, and
    none at all, which several paths hide although many receivers share the transmitter's clock.
    """
    moved = torch.zeros_like(coarse)
    paths = equalise(iq, density, coarse=coarse, deviation=deviation)
    near = paths.several & (coarse.abs() < FAR * deviation)
    rows = near.nonzero().flatten()
    if len(rows):
        locked = shift(iq[rows], -coarse[rows] / SAMPLES_PER_SYMBOL)
        other = equalise(locked, density[rows])
        better = other.several & (other.evidence + LOCKED_NATS > paths.evidence[rows])
        its = better.nonzero().flatten()
        iq[rows[its]], moved[rows[its]] = locked[its], -coarse[rows[its]]
        replace_rows(paths, rows[its], of_rows(other, its))
    return iq, paths, moved


def _best_clock(
    iq: Tensor, clocks: Clocks, rolloff: Tensor, noise: Noise, period: tuple[Tensor, Tensor]
) -> dict[str, Any]:
    """Return the frames at the likeliest of their candidate clocks, and what was found there."""
    best: dict[str, Tensor] = {}
    evidence = torch.full((len(iq),), -torch.inf, device=iq.device)
    for place in range(clocks.clock.shape[1]):
        clock, score = clocks.clock[:, place], clocks.score[:, place]
        doubted = clocks.score[:, 0] - score < DOUBT
        apart = (clock - clocks.clock[:, 0]).abs() > ALIKE
        tried = (doubted & (apart | (place == 0))).nonzero().flatten()
        if not len(tried):
            continue
        resampled = resample(iq[tried], clock[tried])
        seen = frame_likelihoods(
            resampled,
            noise.share[tried],
            rolloff=rolloff[tried],
            coarse=period[0][tried],
            deviation=period[1][tried],
        )
        chosen = seen.marginal.argmax(1, keepdim=True)
        found = {
            "iq": resampled,
            "clock": clock[tried],
            "offset": seen.offset.gather(1, chosen)[:, 0],
            "marginal": seen.marginal,
        }
        total = seen.marginal.logsumexp(1) + score[tried]
        better = total > evidence[tried]
        evidence[tried] = torch.where(better, total, evidence[tried])
        rows = tried[better]
        for key, value in found.items():
            if key not in best:
                best[key] = value.new_zeros(len(iq), *value.shape[1:])
            best[key][rows] = value[better]
    return best
