"""``python -m modsnr.training FOLDER``: what srun starts on each machine of a fit on several."""

import sys
from pathlib import Path

from modsnr.training.rank import main

main(Path(sys.argv[1]))
