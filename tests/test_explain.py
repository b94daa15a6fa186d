"""Masks hide what they say, on images counted by hand; scores follow from toys solved by hand."""

from functools import partial
from itertools import product
from math import inf, nan

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from simulated import seeded
from torch.testing import assert_close

from modsnr import InputError, explain

FRACTION = 0.25


def ramp(frames=3, bins=8, occupied=16):
    """Return images with ``occupied`` pixels 1, 2, 3, ... at random places, [frame, bins, bins]."""
    images = torch.zeros(frames, bins * bins)
    for frame in range(frames):
        places = torch.randperm(bins * bins, generator=seeded(frame))[:occupied]
        images[frame, places] = torch.arange(1.0, occupied + 1)
    return images.view(frames, bins, bins)


def mask(images, method, fraction=FRACTION, seed=0):
    return explain.masks(images, [fraction], generator=seeded(seed))[method, fraction]


# Masks


def test_brightest_hides_the_largest_values_and_dimmest_the_smallest_that_are_not_zero():
    images = ramp()
    assert torch.equal(mask(images, "brightest").hidden, images > 12)
    assert torch.equal(mask(images, "dimmest").hidden, (images > 0) & (images < 5))


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_random_hides_occupied_pixels_only_and_as_many_as_brightest_and_dimmest(fraction):
    images = ramp(frames=20)
    masks = explain.masks(images, [fraction], generator=seeded())
    chosen = masks["random", fraction].hidden
    assert not (chosen & (images == 0)).any()
    counts = {
        method: masks[method, fraction].hidden.sum((1, 2)).tolist() for method in explain.METHODS
    }
    assert (
        counts["random"] == counts["brightest"] == counts["dimmest"] == [round(16 * fraction)] * 20
    )


def test_random_hides_every_occupied_pixel_equally_often():
    image = ramp(frames=1).expand(4000, -1, -1)
    often = mask(image, "random").hidden.float().mean(0)
    # Each of 16 pixels is hidden with probability 1/4; 4 sigma of 4,000 draws is 0.027.
    assert_close(often[image[0] > 0], torch.full((16,), 0.25), atol=0.03, rtol=0)


def test_random_image_counts_all_pixels_the_studys_way():
    images = ramp(frames=500)
    hidden = mask(images, "random_image").hidden
    assert hidden.sum((1, 2)).tolist() == [16] * 500  # a quarter of 64, where others hide 4
    assert_close(hidden.float().mean(0), torch.full((8, 8), 0.25), atol=0.09, rtol=0)


def test_shares_are_reported_in_both_conventions():
    images = ramp(frames=2, occupied=16)
    images[1].view(-1)[images[1].flatten() > 8] = 0  # the second frame keeps 8 occupied pixels
    for method in ("brightest", "dimmest", "random"):
        found = mask(images, method)
        assert_close(found.share_of_occupied, torch.tensor([4 / 16, 2 / 8], dtype=torch.float64))
        assert_close(found.share_of_image, torch.tensor([4 / 64, 2 / 64], dtype=torch.float64))
    control = mask(images, "random_image")
    assert control.share_of_image.tolist() == [0.25, 0.25]
    struck = (control.hidden & (images > 0)).sum((1, 2))
    assert_close(control.share_of_occupied, struck / torch.tensor([16.0, 8.0], dtype=torch.float64))


def counted(generator, frames=50, bins=16):
    """Return log counts of 1 to 30 points in about half of the pixels, and the counts."""
    counts = torch.randint(1, 31, (frames, bins, bins), generator=generator)
    counts *= torch.rand(counts.shape, generator=generator) < 0.5
    counts[:, 0, 0] = 1  # the least that a pixel can hold
    return counts.float().log1p(), counts


@pytest.mark.parametrize("over_maximum", [False, True])
@pytest.mark.parametrize("method", explain.METHODS)
def test_the_share_of_the_points_is_that_of_the_counts_hidden(generator, method, over_maximum):
    images, counts = counted(generator)
    if over_maximum:
        images = images / images.amax((1, 2), keepdim=True)
    options = {"generator": seeded(), "over_maximum": over_maximum}
    for (of, fraction), found in explain.masks(images, [0.05, 0.3, 1.0], **options).items():
        held = (counts * found.hidden).sum((1, 2)) / counts.sum((1, 2)).double()
        assert_close(found.share_of_points, held, rtol=1e-5, atol=0)
        assert of != method or fraction < 1 or (found.share_of_points > 1 - 1e-9).all()


@pytest.mark.parametrize("fraction", [0.02, 0.4, 1.0])
def test_random_points_hides_as_many_points_as_the_brightest_and_more_pixels(generator, fraction):
    images, counts = counted(generator, frames=400)
    found = explain.masks(images, [fraction], generator=seeded())
    brightest, control = found["brightest", fraction], found["random_points", fraction]
    assert not (control.hidden & (images == 0)).any()
    apart = (control.share_of_points - brightest.share_of_points) * counts.sum((1, 2))
    assert apart.abs().max() <= 15 + 1e-6  # half of the fullest pixel
    assert abs(apart.mean()) < 4 * apart.std() / 20 + 1e-6
    assert (control.share_of_occupied >= brightest.share_of_occupied).all()
    often = control.hidden[images > 0].float().mean()
    assert_close(often.double(), brightest.share_of_points.mean(), atol=0.01, rtol=0)


@pytest.mark.parametrize("method", explain.METHODS)
def test_a_tiny_fraction_still_hides_one_pixel_and_one_hides_all(method):
    images = ramp()
    pixels = mask(images, method, 1e-6).hidden.sum((1, 2))
    # As many points as the brightest pixel holds are in several others.
    assert (pixels >= 1).all() if method == "random_points" else pixels.tolist() == [1, 1, 1]
    everything = torch.ones_like(images, dtype=torch.bool)
    wanted = everything if method == "random_image" else images > 0
    assert torch.equal(mask(images, method, 1.0).hidden, wanted)


@pytest.mark.parametrize("method", explain.METHODS)
def test_a_larger_fraction_hides_the_same_pixels_and_more(method):
    images = ramp()
    masks = explain.masks(images, [0.1, 0.6], generator=seeded())
    assert not (masks[method, 0.1].hidden & ~masks[method, 0.6].hidden).any()


@pytest.mark.parametrize("method", ["brightest", "dimmest"])
def test_ties_are_broken_at_random_but_the_same_for_the_same_generator(method):
    flat = torch.zeros(1, 8, 8)
    flat[0, :4] = 1.0  # 32 pixels of one value: log(1 + 1) is by far the most common in a diagram
    first, again, other = (mask(flat, method, seed=seed).hidden for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    often = torch.stack([mask(flat, method, seed=seed).hidden[0] for seed in range(800)])
    assert_close(often[:, :4].float().mean(0), torch.full((4, 8), 0.25), atol=0.07, rtol=0)
    assert not often[:, 4:].any()


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**60])
def test_masks_do_not_depend_on_the_scale_of_the_images(scale):
    images = ramp()
    images[0, :4] = 3.0  # ties as well
    here = explain.masks(images, [0.3], generator=seeded())
    there = explain.masks(images * scale, [0.3], generator=seeded())
    for key, found in here.items():
        if key[0] != "random_points":  # points are no longer what another scale says they are
            assert torch.equal(found.hidden, there[key].hidden), key
        assert found.share_of_points.isfinite().all()
        assert there[key].share_of_points.isfinite().all()


@pytest.mark.parametrize("fraction", [0.0, 1.01, nan])
def test_a_fraction_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(InputError, match="above 0 and up to 1"):
        explain.masks(ramp(), [0.5, fraction], generator=seeded())


@pytest.mark.parametrize(("value", "fault"), [(inf, "NaN or infinite"), (0.0, "empty")])
def test_images_that_cannot_be_ranked_have_no_masks_and_no_regions(value, fault):
    images = ramp()
    images[2] = value
    for find in (explain.masks, explain.regions):
        with pytest.raises(InputError, match=f"1 diagrams .*{fault}.* first at index 2"):
            find(images, generator=seeded())


# What masks cost, on a toy that is solved by hand
#
# A frame of 8 samples becomes two views of 4 x 4 pixels. In the first, the pixels 1 .. 8 stand in
# the two upper rows: the toy calls the modulation 1 while its brightest pixel, 8, is there, and
# the SNR is the sum of the lower row of the second view, which holds 1, 2, 3, 4.


def toy_draw(iq):
    diagrams = torch.zeros(len(iq), 2, 4, 4)
    diagrams[:, 0, 2:] = torch.arange(1.0, 9).view(2, 4)
    diagrams[:, 1, 0] = torch.arange(1.0, 5)
    return diagrams


def toy_decide(diagrams):
    modulation = (diagrams[:, 0].amax((1, 2)) == 8).long()
    return modulation, diagrams[:, 1, 0].sum(1)


GRID = [0.0, 4.0, 10.0]


def of_fractions(*fractions):
    return partial(explain.masks, fractions=fractions)


def toy_impacts(view, *, frames=40, wrong=10, fractions=explain.FRACTIONS, **options):
    """Return the impacts on frames of which the toy gets ``wrong`` modulations wrong."""
    modulation = (np.arange(frames) >= wrong).astype(int)
    iq = torch.zeros(frames, 8, dtype=torch.complex64)
    subject = explain.Subject(
        toy_decide, toy_draw, iq, modulation, np.full(frames, 10.0), grid_db=GRID
    )
    return explain.perturb(subject, view=view, hide=of_fractions(*fractions), **options)


def of(impacts, mask, fraction):
    return impacts[(impacts["mask"] == mask) & (impacts.fraction == fraction)]


def accuracy(impacts, when="after"):
    return {task: float(impacts[f"{when}_{task}"].mean()) for task in explain.TASKS}


def test_hiding_the_brightest_pixel_costs_the_answer_that_is_read_from_it():
    impacts = toy_impacts(0, fractions=[0.125])
    brightest, dimmest = of(impacts, "brightest", 0.125), of(impacts, "dimmest", 0.125)
    assert accuracy(brightest, "before") == {"modulation": 0.75, "snr": 1.0, "joint": 0.75}
    # Without pixel 8 the toy answers 0 everywhere, which is right for the ten it had wrong.
    assert accuracy(brightest) == {"modulation": 0.25, "snr": 1.0, "joint": 0.25}
    assert accuracy(dimmest) == accuracy(dimmest, "before")
    assert_array_equal(brightest.share_of_occupied, 1 / 8)
    assert_array_equal(brightest.share_of_image, 1 / 16)


def test_hiding_part_of_a_sum_moves_the_snr_to_the_grid_point_left_over():
    impacts = toy_impacts(1, fractions=[0.25, 0.75])
    assert accuracy(of(impacts, "brightest", 0.25))["snr"] == 0.0  # 10 - 4 = 6, nearest 4
    assert accuracy(of(impacts, "dimmest", 0.25))["snr"] == 1.0  # 10 - 1 = 9, nearest 10
    assert accuracy(of(impacts, "dimmest", 0.75))["snr"] == 0.0  # 10 - 6 = 4


def table(scores):
    """Return scores indexed by task and quantity."""
    return scores.set_index(["task", "quantity"])


def test_the_impact_score_is_the_drop_over_the_share_hidden_in_each_convention():
    impact = of(toy_impacts(0, fractions=[0.125]), "brightest", 0.125)
    found, share = explain.impact_scores(impact, ["mask"]), impact.share_of_points.mean()
    assert 1 / 8 < share < 1  # one of eight pixels, and the fullest
    assert_allclose(found.share_of_points, share)
    scores = table(found)
    for task, drop in {"modulation": 0.5, "snr": 0.0, "joint": 0.5}.items():
        wanted = {"accuracy_drop": drop, "pis_of_occupied": drop * 8}
        wanted |= {"pis_of_image": drop * 16, "pis_of_points": drop / share}
        for quantity, value in wanted.items():
            assert_allclose(scores.value[task, quantity], value)
        for end in ("low", "high"):
            of_drop = scores[end][task, "accuracy_drop"]
            assert_allclose(scores[end][task, "pis_of_occupied"], of_drop * 8)


def test_scores_are_grouped_as_they_are_asked_for_and_saved_by_name():
    impacts = pd.concat([
        toy_impacts(0, fractions=[0.125, 0.5]).assign(view="one"),
        toy_impacts(1, fractions=[0.125, 0.5]).assign(view="two"),
    ])  # fmt: skip
    scores = explain.impact_scores(impacts, ["view", "mask", "fraction"])
    assert len(scores) == 2 * len(explain.METHODS) * 2 * 3 * 5
    saved = explain.nested(scores, "view", "mask")
    assert list(saved) == ["one", "two"]
    assert list(saved["two"])[:2] == ["brightest_12.5", "brightest_50"]
    lost = saved["one"]["brightest_12.5"]
    assert lost["joint"]["accuracy_drop"]["value"] == 0.5
    assert lost["share_of_occupied"] == 0.125
    row = explain.wide(scores).iloc[0]
    assert (row["view"], row["mask"], row["fraction"]) == ("one", "brightest", 0.125)
    assert row["of occupied"] == 0.125
    assert row["joint PIS"] == pytest.approx(row["joint drop"] * 8)
    assert row["joint PIS of image"] == pytest.approx(row["joint drop"] * 16)
    assert row["joint PIS of points"] == pytest.approx(row["joint drop"] / row["of points"])
    regions = scores[scores.fraction == 0.5].rename(columns={"mask": "region"})
    named = explain.nested(regions.drop(columns="fraction"), "view", "region")
    assert list(named["one"]) == list(explain.METHODS)


def test_the_network_is_shown_the_other_views_untouched_and_the_masked_view_otherwise_equal():
    seen = []
    subject = explain.Subject(
        lambda diagrams: (seen.append(diagrams.clone()), toy_decide(diagrams))[1],
        toy_draw, torch.zeros(2, 8, dtype=torch.complex64), np.ones(2, int), np.full(2, 10.0), GRID,
    )  # fmt: skip
    explain.perturb(subject, view=0, hide=of_fractions(0.25))
    original, *perturbed = seen
    assert len(perturbed) == len(explain.METHODS)
    for diagrams in perturbed:
        assert torch.equal(diagrams[:, 1], original[:, 1])
        same = diagrams[:, 0] == original[:, 0]
        assert torch.equal(diagrams[:, 0], torch.where(same, original[:, 0], 0.0))


def test_batches_change_nothing_where_no_chance_is_involved(monkeypatch):
    # Pixel values are all different, so brightest and dimmest have no ties to break.
    whole = toy_impacts(0, fractions=[0.1, 0.5])
    monkeypatch.setattr("modsnr.explain.impact.BATCH", 7)
    pieces = toy_impacts(0, fractions=[0.1, 0.5])
    for mask, fraction in product(("brightest", "dimmest"), (0.1, 0.5)):
        one, other = of(whole, mask, fraction), of(pieces, mask, fraction)
        pd.testing.assert_frame_equal(one, other.set_axis(one.index))
    # As many, if not the same.
    assert_allclose(of(pieces, "random", 0.5).share_of_occupied, 0.5)


def test_the_seed_decides_the_random_masks_and_the_same_seed_repeats_them():
    first, again, other = (
        of(toy_impacts(0, fractions=[0.5], seed=seed), "random", 0.5).after_modulation.to_numpy()
        for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert (first != other).any()
