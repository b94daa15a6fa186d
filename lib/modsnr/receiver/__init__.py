"""A blind receiver: what is found of a frame, and the frame set right, batched, on any device.

Frames are complex64 [frame, sample], nominally eight samples a symbol, of any scale. ``receive``
takes all steps; each can be called alone, in their order:

``noise_of`` finds the noise beside the band, ``coarse_carrier`` with it the carrier; ``shift``
takes that to 0, and ``noise_of``, with the carrier, sees more. ``clock_candidates`` finds the
symbol rate, ``resample`` sets it right. ``synchronise`` reads the symbols, ``likelihoods`` gives
that of each alphabet, and what is left of the carrier. ``snr_db`` is the SNR; ``levelled``
makes noise white. ``equalise`` finds several paths where the spectrum shows them, and
``apply_equaliser`` takes them out of a frame. ``traits`` are what does not fit into the receiver's
model. ``findings`` are the numbers kept beside a frame. ``Receiving`` puts the frames of a source
through ``receive`` as they are read.
"""

from modsnr.receiver.carrier import Coarse, coarse_carrier
from modsnr.receiver.clock import Clocks, clock_candidates, resample
from modsnr.receiver.equaliser import Equalised, apply_equaliser, equalise
from modsnr.receiver.findings import FINDINGS, findings, findings_unreceived, samples_of
from modsnr.receiver.likelihood import ALPHABETS, Likelihoods, frame_likelihoods, likelihoods
from modsnr.receiver.noise import Noise, levelled, noise_of, snr_db, snr_deviation_db, with_snr
from modsnr.receiver.reading import Receiving, as_trained
from modsnr.receiver.receiving import LEAST_SAMPLES, Received, receive, steps
from modsnr.receiver.scope import TRAITS, Seen, seen, traits, unusual, usual
from modsnr.receiver.spectrum import periodogram, shift
from modsnr.receiver.timing import half_symbols, symbol_noise, synchronise
