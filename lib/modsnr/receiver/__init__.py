"""A blind receiver: what is found of a frame, and the frame set right, batched, on any device.

Frames are complex64 [frame, sample], nominally eight samples a symbol, of any scale. The steps, in
their order; each can be called alone:

``noise_of`` finds the noise beside the band, ``coarse_carrier`` with it the carrier; ``shift``
takes that to 0, and ``noise_of``, with the carrier, sees more. ``clock_candidates`` finds the
symbol rate, ``resample`` sets it right. ``snr_db`` is the SNR; ``levelled`` makes noise white.
"""

from modsnr.receiver.carrier import Coarse, coarse_carrier
from modsnr.receiver.clock import Clocks, clock_candidates, resample
from modsnr.receiver.noise import Noise, levelled, noise_of, snr_db
from modsnr.receiver.spectrum import periodogram, shift
