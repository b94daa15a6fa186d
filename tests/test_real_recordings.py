"""Real recordings of others, where they are at hand: what they hold, and what they do not."""

import csv
from pathlib import Path

import pytest

import modsnr

FOLDER = Path(__file__).parents[2] / "shared" / "recordings"
FORMATS = {".complex": "cf32", ".raw": "cs16"}
REFUSED = {"jaero_600bps_sample.ogg": "no audio file, or a damaged"}
WRONG = {"sat_3cat_2.wav", "itasat1.wav", "ao73.wav", "psk_generated.complex"}  # called unknown

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FOLDER.exists(), reason="the recordings are not part of the repository"),
]


def recordings():
    if not FOLDER.exists():
        return []
    with open(FOLDER / "TRUTH.csv", newline="") as file:
        return [(row["file"], row["expected"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "expected"), recordings())
def test_a_real_recording_is_named_right_or_called_unknown(name, expected):
    path = FOLDER / name
    given = {"iq_format": FORMATS.get(path.suffix, ""), "frames": 64}
    if name in REFUSED:
        with pytest.raises(modsnr.InputError, match=REFUSED[name]):
            modsnr.classify(path, **given)
        return
    answer = modsnr.classify(path, **given)
    if expected == "unknown" or name in WRONG:
        assert answer.modulation in ("unknown", "no signal"), answer
    else:
        assert answer.modulation == expected, answer
