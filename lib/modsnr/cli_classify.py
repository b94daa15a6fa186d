"""``modsnr classify`` and ``modsnr export``: recordings answered, networks taken elsewhere."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modsnr import InputError

if TYPE_CHECKING:
    from modsnr.classifier import Answer


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "iq_format", default="", metavar="F", help="of raw samples: cu8 cs16 ...")
@click.option("--rate", default=0.0, metavar="HZ", help="sample rate, where a file lacks it")
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="frames of 128 symbols judged of a file, about, spread over its bursts",
)
@click.option("--json", "as_json", is_flag=True, help="an object a file, signals and bursts")
@click.option("--export", "into", is_flag=True, help="write the bursts into SigMF metadata, too")
@click.option("--csv", "as_csv", is_flag=True, help="a row a burst, of all files")
@click.pass_context
def classify(
    ctx: click.Context,
    files: tuple[str, ...],
    iq_format: str,
    rate: float,
    frames: int,
    as_json: bool,
    into: bool,
    as_csv: bool,
) -> None:
    """Name the modulation and the SNR in recordings, or in a stream.

    FILE is SigMF, audio or raw samples. One file gives a table of its bursts, several give a line
    each. "-" reads raw samples from the standard input, of --format and --rate, and prints a line
    whenever the modulation changes, or the SNR by 2 dB.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other")
    if "-" in files:
        if len(files) > 1 or as_csv or into:
            raise InputError("a stream, -, goes with no other file, nor with --csv or --export")
        _listen(iq_format, rate, as_json)
        return
    refused, table = 0, []
    for name in files:
        began = time.monotonic()
        try:
            answer = _classified(name, iq_format, rate, frames)
            if into:
                _annotate(name, answer)
        except InputError as error:
            refused += 1
            if len(files) == 1:
                raise
            click.echo(" ".join(str(error).split()), err=True)  # it names the file
            continue
        seconds = time.monotonic() - began
        if as_json:
            click.echo(json.dumps({"file": name, "seconds": seconds} | _plain(answer.as_dict())))
        elif as_csv:
            table.append(answer.bursts.assign(file=name))
        elif len(files) == 1:
            click.echo(str(answer))
        else:
            click.echo(f"{Path(name).name:<28} {_line(answer)}  ({seconds:.1f} s)")
    if table:
        import pandas as pd  # here: the other outputs do not need it

        click.echo(pd.concat(table).to_csv(index=False), nl=False)
    if refused:
        ctx.exit(2)


@click.command()
@click.argument("run")
@click.option("--onnx", "file", required=True, metavar="FILE", help="the file to write")
def export(run: str, file: str) -> None:
    """Write a run's network as an ONNX file.

    RUN is a run of 02 by its id, folder or name, or "package": the network of modsnr classify.
    """
    from modsnr import classifier, model, runs  # they bring torch, which takes seconds

    if run == "package":
        net, normalization = classifier.packaged().net, "power"
    else:
        record = runs.find(Path(run).name, notebook="02_training")
        net, normalization = model.load(record.weights), record.parameters["normalization"]
    model.write_onnx(net, Path(file), normalization=normalization)
    click.echo(file)


def _classified(name: str, iq_format: str, rate: float, frames: int) -> Answer:
    from modsnr.classifier import classify as answer_of  # it brings torch, which takes seconds

    shown = sys.stderr.isatty()
    given = {"sample_rate": rate, "iq_format": iq_format, "frames": frames}
    return answer_of(name, **given, progress=shown)


def _annotate(name: str, answer: Answer) -> None:
    from modsnr.classifier.annotations import annotate

    path = Path(name)
    path = path if path.suffix == ".sigmf-meta" else Path(f"{name}.sigmf-meta")
    click.echo(f"{path}: {annotate(path, answer)} annotations", err=True)


def _line(answer: Answer) -> str:
    if not len(answer.signals):
        return "no signal"
    row = answer.signals.iloc[0]
    why = f": {row.why}" if row.why else ""
    if row.carrier != row.carrier:  # noise, or what gives no frames
        return f"{row.modulation}{why}"
    unit = "Hz" if answer.sample_rate else "/sample"
    interval = f"[{row.snr_low_db:.1f}, {row.snr_high_db:.1f}]"
    places = f"carrier {row.carrier:.6g} {unit}, symbol rate {row.symbol_rate:.6g} {unit}"
    snr = f"SNR {row.snr_db:.1f} dB {interval}, confidence {row.confidence:.2f}, {places}"
    return f"{row.modulation}, {snr}{why}"


def _listen(iq_format: str, rate: float, as_json: bool) -> None:
    from modsnr.classifier.stream import listen

    last: tuple[str, float] | None = None
    for start, answer, trouble in listen(sys.stdin.buffer, iq_format, rate):
        if answer is None:
            modulation, snr_db, text = trouble, 0.0, trouble
        else:
            modulation, snr_db, text = answer.modulation, answer.snr_db, _line(answer)
        if last and last[0] == modulation and not abs(last[1] - snr_db) >= 2:
            continue
        last = modulation, snr_db
        if as_json and answer is not None:
            text = json.dumps({"start": start} | _plain(answer.as_dict()))
        click.echo(text if as_json else f"{start:10.1f} s  {text}")


def _plain(value: Any) -> Any:
    """Return what JSON can hold: no NaN, no number of NumPy's."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value
