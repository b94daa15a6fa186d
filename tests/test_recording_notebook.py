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
    run = runs.execute("recording", parameters={"file": file, "frames": 32}, name="qpsk")
    assert run.status == "completed", run.error
    assert "The header declares 0 bytes of" in (run.folder / "notebook.ipynb").read_text()
    found = run.metrics
    assert found["verdict"] == "QPSK"
    assert found["snr_db"] == pytest.approx(SNR_DB, abs=0.7)
    assert found["confidence"] > 0.9
    assert (found["signals"], found["bursts"], found["frames"]) == (1, 1, 32)
    strongest = pd.read_csv(run.folder / "tables" / "signals.csv").iloc[0]
    assert 48_000 / strongest.symbol_rate == pytest.approx(13.7, rel=1e-3)
    assert strongest.carrier / 48_000 == pytest.approx(-0.03, abs=1e-4)
    table = pd.read_csv(run.folder / "tables" / "frames.csv")
    assert (table.modulation == "QPSK").mean() > 0.8
    drawn = {path.stem for path in (run.folder / "figures").glob("*.png")}
    assert drawn >= {"waterfall", "timeline", "views", "spectrum"}


@pytest.mark.long
def test_digital_silence_parts_bursts(house):
    write_demonstration(house)
    iq = np.fromfile(house / "demonstration.sigmf-data", np.complex64)
    file = house / "squelched.cf32"
    iq[30_000:60_000] = 0
    iq.tofile(file)
    run = runs.execute("recording", parameters={"file": str(file)}, name="squelched")
    assert run.status == "completed", run.error
    assert run.metrics["verdict"] == "16QAM"
    assert run.metrics["snr_db"] == pytest.approx(20, abs=1)
    bursts = pd.read_csv(run.folder / "tables" / "bursts.csv")
    assert list(bursts.modulation) == ["16QAM", "16QAM"]
    assert bursts.end[0] == pytest.approx(30_000, abs=2000)
    assert bursts.start[1] == pytest.approx(60_000, abs=2000)


@pytest.mark.long
def test_a_recording_of_noise_holds_no_signal(house):
    rng = np.random.default_rng(0)
    file = house / "noise.cf32"
    rng.normal(size=200_000).astype(np.float32).tofile(file)
    run = runs.execute("recording", parameters={"file": str(file)}, name="noise")
    assert run.status == "completed", run.error
    assert run.metrics["verdict"] == "no signal"
    assert run.metrics["signals"] == 0
