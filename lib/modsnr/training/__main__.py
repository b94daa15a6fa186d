"""``python -m modsnr.training FOLDER``: what srun starts on each machine of a fit on several."""

import sys
from pathlib import Path

from modsnr.training.distributed import take_part

take_part(Path(sys.argv[1]))
