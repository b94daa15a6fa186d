"""How long someone waits who moves a control of the explorer, with the committed network."""

from functools import partial
from itertools import count

from modsnr import diagrams, explain, explorer, figures, model, runs, signals


def test_the_panel_follows_a_control_within_three_tenths_of_a_second(benchmark):
    panel = explorer.Explorer(
        explorer.Settings("all-views", mask="brightest"),
        ["all-views"],
        find=partial(runs.find, notebook="02_training", profile="compact"),
        load=model.load,
        drawing=diagrams.as_trained,
        simulate=partial(
            signals.simulate, channel=signals.channel("minor", carrier_offset_std=0.0)
        ),
        masks=explain.masks,
        evidence=explain.evidence,
        picture=figures.one_frame,
    )
    seeds = count(1)

    def move():
        panel.controls["seed"].value = next(seeds)

    benchmark.pedantic(move, rounds=30, warmup_rounds=3)
    assert panel.shown is not None
    assert benchmark.stats.stats.median <= 0.3
