"""``python -m modsnr``: the command where the package is on the path but not installed."""

from modsnr.cli import main

main(prog_name="modsnr")
