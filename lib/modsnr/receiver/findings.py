"""What the receiver found of a frame, as the numbers that a store keeps and a view shows."""

from __future__ import annotations

import torch
from torch import Tensor

from modsnr.receiver.likelihood import frame_likelihoods
from modsnr.receiver.noise import noise_of, snr_db, snr_deviation_db
from modsnr.receiver.receiving import Received
from modsnr.signals import STUDY_CLASSES

# Log-likelihoods, nats less the likeliest's; two of the SNR, dB; the noise's share of the symbols'
# power behind the equaliser, dB; 1 where several paths were found, else 0; the frame's samples.
FINDINGS = (*STUDY_CLASSES, "SNR", "SNR deviation", "noise share", "several paths", "samples")


def findings(found: Received) -> Tensor:
    """Return ``FINDINGS`` of received frames, float32 [frame, finding]."""
    samples = torch.full_like(found.snr_db, found.iq.shape[1])
    deviation = found.snr_deviation_db
    return _together(
        found.log_likelihood, found.snr_db, deviation, found.share, found.several, samples
    )


def samples_of(findings: Tensor) -> Tensor:
    """Return how many samples frames of these findings [frame, finding] have, int64 [frame].

    It is 0 for those of which nothing was found.
    """
    return findings[:, FINDINGS.index("samples")].nan_to_num(neginf=0).long()


def findings_unreceived(iq: Tensor) -> Tensor:
    """Return ``FINDINGS`` of frames complex [frame, sample] as they are, float32 [frame, finding].

    Nothing is corrected: one path, the carrier near zero, the clock right, the usual roll-off.
    Frames without power or not finite have -inf for all.
    """
    iq = iq.to(torch.complex64)
    noise = noise_of(iq, iq.real.new_zeros(len(iq)))
    marginal = frame_likelihoods(iq, noise.share).marginal
    deviation = snr_deviation_db(noise, iq.shape[1])
    none, samples = torch.zeros_like(noise.share), torch.full_like(noise.share, iq.shape[1])
    found = _together(marginal, snr_db(noise), deviation, noise.share, none, samples)
    power = iq.abs().square().sum(1, keepdim=True)
    return torch.where((power > 0) & power.isfinite(), found, -torch.inf)


def _together(
    marginal: Tensor,
    snr: Tensor,
    deviation: Tensor,
    share: Tensor,
    several: Tensor,
    samples: Tensor,
) -> Tensor:
    relative = marginal - marginal.amax(1, keepdim=True)
    share_db = 10 * share.log10()
    rest = torch.stack([snr, deviation, share_db, several.to(snr), samples], 1)
    return torch.cat([relative, rest], 1).float()
