"""The recording notebook on recordings whose content is known, with the committed network."""

import numpy as np
import pandas as pd
import pytest
import torch
from recording_files import left_unfinished, write_wav
from scipy.signal import resample_poly

from modsnr import runs, signals
from modsnr.recordings.demonstration import write_demonstration

SNR_DB, FRAMES = 18.0, 40
QUICK = {"calibration_frames": 816, "max_frames": FRAMES}  # three frames for each of 16 times 17
CAREFUL = {"max_frames": FRAMES}  # levels of alarm by as many frames as people take


def record(iq, path, *, carrier=-0.03, seed=5):
    """Write what a receiver takes of a signal at 8 samples a symbol: 13.7, off carrier, noisy."""
    iq = resample_poly(iq, 137, 80)
    iq = (
        iq
        / np.sqrt(np.square(np.abs(iq)).mean())
        * np.exp(2j * np.pi * carrier * np.arange(len(iq)))
    )
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(iq), 2)).view(complex)[:, 0] / np.sqrt(2)
    # At 13.7 samples a symbol the same noise density has more power than at 8.
    iq = iq + noise * 10 ** (-SNR_DB / 20) * np.sqrt(13.7 / 8)
    iq.astype(np.complex64).tofile(path)
    return str(path)


def test_a_recording_of_qpsk_is_voted_qpsk_at_its_snr(house, generator):
    qpsk = signals.simulate(
        torch.zeros(1, dtype=torch.int64),
        torch.full((1,), torch.inf),
        generator=generator,
        classes=("QPSK",),
        channel=signals.channel("minor", carrier_offset_std=0.0),
        samples=(FRAMES + 4) * 1024,
    )
    iq = np.fromfile(record(qpsk[0].numpy(), house / "qpsk.cf32"), np.complex64)
    file = str(left_unfinished(write_wav(house / "qpsk.wav", iq, "FLOAT")))
    run = runs.execute("recording", parameters={"file": file, **CAREFUL}, name="qpsk")
    assert run.status == "completed", run.error
    assert "NOTE: The header declares 0 bytes of" in (run.folder / "notebook.ipynb").read_text()
    found = run.metrics
    assert found["verdict"] == found["vote"] == "QPSK"
    assert found["snr_db"] == pytest.approx(SNR_DB, abs=2)
    assert found["receiver_snr_db"] == pytest.approx(SNR_DB, abs=0.5)
    assert found["receiver_vote"] == "QPSK"
    assert 1 / found["symbol_rate"] == pytest.approx(13.7, rel=1e-3)
    assert found["carrier"] == pytest.approx(-0.03, abs=1e-4)
    assert found["caveats"] == []
    # What was measured: the false alarms asked for, and unknown signals found out.
    alarm = found["false_alarm_rate"]["all"]
    assert alarm["low"] <= alarm["value"] <= alarm["high"] < 0.12
    rates = {kind: parts["from 10 dB on"]["value"] for kind, parts in found["detection"].items()}
    assert min(rates[kind] for kind in ("noise", "carrier", "OOK", "2FSK", "chirps")) > 0.9
    assert min(rates[kind] for kind in ("OFDM", "GMSK")) > 0.3
    table = pd.read_csv(run.folder / "tables" / "frames.csv")
    assert len(table) == FRAMES
    assert (table.modulation == "QPSK").mean() > 0.8
    assert np.diff(table.first_sample) == pytest.approx(1024 * 13.7 / 8, abs=2)
    assert (run.folder / "figures" / "timeline.png").exists()


@pytest.mark.long
def test_digital_silence_is_left_out_and_counted(house):
    write_demonstration(house)
    iq = np.fromfile(house / "demonstration.sigmf-data", np.complex64)
    file = house / "squelched.cf32"
    iq[30_000:60_000] = 0
    iq.tofile(file)
    run = runs.execute("recording", parameters={"file": str(file), **QUICK}, name="squelched")
    assert run.status == "completed", run.error
    assert run.metrics["vote"] == "16QAM"
    assert run.metrics["snr_db"] == pytest.approx(20, abs=2)
    left_out = run.metrics["frames_without_power"]
    assert left_out == 16
    assert run.metrics["frames"] == FRAMES - left_out
    said = (run.folder / "notebook.ipynb").read_text()
    assert "in gaps; 16 without power" in said
    iq[: FRAMES * 1024 * 2] = 0  # all that is taken
    iq.tofile(file)
    run = runs.execute("recording", parameters={"file": str(file), **QUICK}, name="silent")
    assert run.status == "failed"
    assert "is silent: none of the 40 frames read from its beginning on has any power" in run.error


@pytest.mark.long
def test_a_recording_of_ofdm_is_none_of_the_known_modulations(house, generator):
    ofdm = signals.unknown(
        "OFDM", torch.full((1,), 200.0), generator=generator, samples=(FRAMES + 4) * 1024
    )
    file = record(ofdm[0].numpy(), house / "ofdm.cf32")
    run = runs.execute("recording", parameters={"file": file, **CAREFUL}, name="ofdm")
    assert run.status == "completed", run.error
    assert run.metrics["verdict"] == "not one of the known modulations"
    assert run.metrics["novel_share"] > 0.3
    assert run.metrics["novel_by_chance"] < 0.02
