"""What the receiver found of a frame, as the numbers that a store keeps and a view shows."""

from __future__ import annotations

import torch
from torch import Tensor

from modsnr.receiver.likelihood import frame_likelihoods
from modsnr.receiver.noise import noise_of, snr_db, snr_deviation_db
from modsnr.receiver.receiving import Received
from modsnr.signals import STUDY_CLASSES

# Log-likelihoods, nats less the likeliest's; two of the SNR, dB; the noise's share of the symbols'
# power behind the equaliser, dB; 1 where several paths were found, else 0.
FINDINGS = (*STUDY_CLASSES, "SNR", "SNR deviation", "noise share", "several paths")


def findings(found: Received) -> Tensor:
    """Return ``FINDINGS`` of received frames, float32 [frame, finding]."""
    return _together(
        found.log_likelihood, found.snr_db, found.snr_deviation_db, found.share, found.several
    )


def findings_unreceived(iq: Tensor) -> Tensor:
    """Return ``FINDINGS`` of frames complex [frame, sample] as they are, float32 [frame, finding].

    Nothing is corrected: one path, the carrier near zero, the clock right, the usual roll-off.
    Frames without power or not finite have -inf for all.
    """
    iq = iq.to(torch.complex64)
    noise = noise_of(iq, iq.real.new_zeros(len(iq)))
    marginal = frame_likelihoods(iq, noise.share).marginal
    deviation = snr_deviation_db(noise, iq.shape[1])
    found = _together(
        marginal, snr_db(noise), deviation, noise.share, torch.zeros_like(noise.share)
    )
    power = iq.abs().square().sum(1, keepdim=True)
    return torch.where((power > 0) & power.isfinite(), found, -torch.inf)


def _together(
    marginal: Tensor, snr: Tensor, deviation: Tensor, share: Tensor, several: Tensor
) -> Tensor:
    relative = marginal - marginal.amax(1, keepdim=True)
    share_db = 10 * share.log10()
    rest = torch.stack([snr, deviation, share_db, several.to(snr)], 1)
    return torch.cat([relative, rest], 1).float()
