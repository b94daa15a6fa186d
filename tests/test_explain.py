"""Masks hide what they say, on images counted by hand; scores follow from toys solved by hand."""

from functools import partial
from math import inf, nan

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.testing import assert_close

from modsnr import InputError, explain

FRACTION = 0.25


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(frames=3, bins=8, occupied=16):
    """Return images with ``occupied`` pixels 1, 2, 3, ... at random places, [frame, bins, bins]."""
    images = torch.zeros(frames, bins * bins)
    for frame in range(frames):
        places = torch.randperm(bins * bins, generator=seeded(frame))[:occupied]
        images[frame, places] = torch.arange(1.0, occupied + 1)
    return images.view(frames, bins, bins)


def mask(images, method, fraction=FRACTION, seed=0):
    return explain.masks(images, [fraction], generator=seeded(seed))[method, fraction]


def values_hidden(images, method, fraction=FRACTION):
    hidden = mask(images, method, fraction).hidden
    return [sorted(image[where].tolist()) for image, where in zip(images, hidden, strict=True)]


# Masks


def test_brightest_hides_the_largest_values_and_dimmest_the_smallest_that_are_not_zero():
    images = ramp()
    assert values_hidden(images, "brightest") == [[13.0, 14.0, 15.0, 16.0]] * 3
    assert values_hidden(images, "dimmest") == [[1.0, 2.0, 3.0, 4.0]] * 3


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 1.0])
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


def test_a_rounded_share_is_the_one_really_hidden():
    images = ramp(occupied=10)
    assert mask(images, "brightest", 0.33).share_of_occupied.tolist() == [0.3] * 3
    assert mask(images, "random_image", 0.33).share_of_image.tolist() == [21 / 64] * 3


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


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.4, 1.0])
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


def test_the_random_masks_differ_from_frame_to_frame_and_seed_to_seed():
    image = ramp(frames=1).expand(2, -1, -1)
    for method in ("random", "random_points", "random_image"):
        first, second = mask(image, method).hidden
        assert not torch.equal(first, second)
        assert not torch.equal(mask(image, method).hidden, mask(image, method, seed=1).hidden)


def test_masks_of_one_view_of_a_batch_are_those_of_its_copy():
    views = torch.stack([ramp(), ramp() * 2], 1)
    masks_of_slice = explain.masks(views[:, 1], [0.5], generator=seeded())
    masks_of_copy = explain.masks(views[:, 1].contiguous(), [0.5], generator=seeded())
    for key, found in masks_of_slice.items():
        assert torch.equal(found.hidden, masks_of_copy[key].hidden)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, nan, inf])
def test_a_fraction_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(InputError, match="above 0 and up to 1"):
        explain.masks(ramp(), [0.5, fraction], generator=seeded())


@pytest.mark.parametrize("value", [nan, inf])
def test_images_that_are_not_finite_are_refused(value):
    images = ramp()
    images[1, 2, 3] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        explain.masks(images, [0.5], generator=seeded())


def test_an_empty_image_is_refused_by_its_place():
    images = ramp()
    images[2] = 0
    with pytest.raises(InputError, match="1 diagrams are empty, the first at index 2"):
        explain.masks(images, [0.5], generator=seeded())


def test_no_images_at_all_are_refused():
    with pytest.raises(InputError, match="no diagrams to mask"):
        explain.masks(torch.zeros(0, 8, 8), [0.5], generator=seeded())


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
    """Return the impacts for frames of which the toy gets ``wrong`` modulations wrong."""
    modulation = np.ones(frames, int)
    modulation[:wrong] = 0
    return explain.perturb(
        toy_decide, toy_draw, torch.zeros(frames, 8, dtype=torch.complex64), modulation,
        np.full(frames, 10.0), view=view, grid_db=GRID, hide=of_fractions(*fractions), **options,
    )  # fmt: skip


def accuracy(outcomes):
    return {task: float(hits.mean()) for task, hits in outcomes.items()}


def test_hiding_the_brightest_pixel_costs_the_answer_that_is_read_from_it():
    impacts = toy_impacts(0, fractions=[0.125])
    brightest, dimmest = impacts["brightest", 0.125], impacts["dimmest", 0.125]
    assert accuracy(brightest.before) == {"modulation": 0.75, "snr": 1.0, "joint": 0.75}
    # Without pixel 8 the toy says 0 everywhere, which is right for the ten frames it had wrong.
    assert accuracy(brightest.after) == {"modulation": 0.25, "snr": 1.0, "joint": 0.25}
    assert accuracy(dimmest.after) == accuracy(dimmest.before)
    assert_array_equal(brightest.share_of_occupied, 1 / 8)
    assert_array_equal(brightest.share_of_image, 1 / 16)


def test_hiding_part_of_a_sum_moves_the_snr_to_the_grid_point_left_over():
    impacts = toy_impacts(1, fractions=[0.25, 0.75])
    assert accuracy(impacts["brightest", 0.25].after)["snr"] == 0.0  # 10 - 4 = 6, nearest 4
    assert accuracy(impacts["dimmest", 0.25].after)["snr"] == 1.0  # 10 - 1 = 9, nearest 10
    assert accuracy(impacts["dimmest", 0.75].after)["snr"] == 0.0  # 10 - 6 = 4


def test_random_costs_what_its_chance_of_striking_says():
    impacts = toy_impacts(0, frames=4000, wrong=0, fractions=[0.125])
    hit = 1 - accuracy(impacts["random", 0.125].after)["modulation"]
    assert_allclose(hit, 1 / 8, atol=0.025)
    hit = 1 - accuracy(impacts["random_image", 0.125].after)["modulation"]
    assert_allclose(hit, 1 / 8, atol=0.025)  # 2 of 16 pixels, one of which matters


def test_the_impact_score_is_the_drop_over_the_share_hidden_in_each_convention():
    impact = toy_impacts(0, fractions=[0.125])["brightest", 0.125]
    scores, share = explain.impact_scores(impact), impact.share_of_points.mean()
    assert 1 / 8 < share < 1  # one of eight pixels, and the fullest
    for task, drop in {"modulation": 0.5, "snr": 0.0, "joint": 0.5}.items():
        assert_allclose(scores[task]["accuracy_drop"]["value"], drop)
        assert_allclose(scores[task]["pis_of_occupied"]["value"], drop * 8)
        assert_allclose(scores[task]["pis_of_image"]["value"], drop * 16)
        assert_allclose(scores[task]["pis_of_points"]["value"], drop / share)
        for end in ("low", "high"):
            of_drop = scores[task]["accuracy_drop"][end]
            assert_allclose(scores[task]["pis_of_occupied"][end], of_drop * 8)


def test_a_random_mask_that_strikes_background_only_scores_nothing():
    def lonely_draw(iq):
        return torch.nn.functional.pad(torch.ones(len(iq), 1, 1, 1), (15, 0, 15, 0))

    key = ("random_image", 0.001)
    impact = explain.perturb(
        lambda diagrams: (torch.ones(len(diagrams)), torch.zeros(len(diagrams))),
        lonely_draw, torch.zeros(1, 8, dtype=torch.complex64), np.ones(1), np.zeros(1),
        view=0, grid_db=GRID, hide=of_fractions(0.001), seed=0,
    )[key]  # fmt: skip
    assert impact.share_of_occupied == 0.0
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert explain.impact_scores(impact)["joint"]["pis_of_occupied"] == nothing


def test_the_intervals_of_a_score_are_paired():
    impact = toy_impacts(0, fractions=[0.125], frames=400, wrong=100)["random", 0.125]
    drop = explain.impact_scores(impact)["modulation"]["accuracy_drop"]
    change = impact.before["modulation"].astype(int) - impact.after["modulation"]
    assert_allclose(drop["high"] - drop["low"], 2 * 1.96 * change.std() / 20, rtol=0.1)


def test_a_mask_costs_nothing_in_the_view_it_leaves_alone():
    for view, task in ((0, "snr"), (1, "modulation")):
        for impact in toy_impacts(view, fractions=[1.0]).values():
            assert_array_equal(impact.before[task], impact.after[task])


def test_the_network_is_shown_the_other_views_untouched_and_the_masked_view_otherwise_equal():
    seen = []
    explain.perturb(
        lambda diagrams: (seen.append(diagrams.clone()), toy_decide(diagrams))[1],
        toy_draw, torch.zeros(2, 8, dtype=torch.complex64), np.ones(2, int), np.full(2, 10.0),
        view=0, grid_db=GRID, hide=of_fractions(0.25),
    )  # fmt: skip
    original, *perturbed = seen
    assert len(perturbed) == len(explain.METHODS)
    for diagrams in perturbed:
        assert torch.equal(diagrams[:, 1], original[:, 1])
        same = diagrams[:, 0] == original[:, 0]
        assert torch.equal(diagrams[:, 0], torch.where(same, original[:, 0], 0.0))


def test_batches_change_nothing_where_no_chance_is_involved():
    # Pixel values are all different, so brightest and dimmest have no ties to break.
    whole = toy_impacts(0, fractions=[0.1, 0.5])
    pieces = toy_impacts(0, fractions=[0.1, 0.5], batch_size=7)
    for method in ("brightest", "dimmest"):
        for fraction in (0.1, 0.5):
            one, other = whole[method, fraction], pieces[method, fraction]
            for task in explain.TASKS:
                assert_array_equal(one.before[task], other.before[task])
                assert_array_equal(one.after[task], other.after[task])
            assert_allclose(one[2:], other[2:])
    assert_allclose(pieces["random", 0.5].share_of_occupied, 0.5)  # as many, if not the same


def test_the_seed_decides_the_random_masks_and_the_same_seed_repeats_them():
    first, again, other = (
        toy_impacts(0, fractions=[0.5], seed=seed)["random", 0.5].after["modulation"]
        for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("view", [2, -1])
def test_a_view_that_the_diagrams_do_not_have_is_refused(view):
    with pytest.raises(InputError, match=f"have 2 views; there is no {view}"):
        toy_impacts(view)


def test_frames_and_labels_must_be_as_many_and_some():
    iq = torch.zeros(3, 8, dtype=torch.complex64)
    for frames, labels in ((3, 2), (0, 0)):
        with pytest.raises(InputError, match=f"{frames} frames, {labels} modulations"):
            explain.perturb(
                toy_decide, toy_draw, iq[:frames], np.ones(labels, int), np.ones(labels),
                view=0, grid_db=GRID,
            )  # fmt: skip


# Occlusion and evidence


def linear(weights):
    return lambda diagrams: (diagrams * weights).sum((1, 2, 3))


def test_occluding_pixel_by_pixel_finds_the_terms_of_a_linear_score(generator):
    weights = torch.randn(2, 5, 5, generator=generator)
    diagrams = torch.rand(3, 2, 5, 5, generator=generator)
    found = explain.occlusion(linear(weights), diagrams, window=1, stride=1)
    assert_close(found, diagrams * weights, atol=1e-5, rtol=1e-5)


def test_occluding_in_squares_gives_each_square_its_own_sum(generator):
    weights = torch.randn(1, 6, 6, generator=generator)
    diagrams = torch.rand(2, 1, 6, 6, generator=generator)
    found = explain.occlusion(linear(weights), diagrams, window=3, stride=3)
    terms = (diagrams * weights).view(2, 1, 2, 3, 2, 3).sum((3, 5))
    wanted = terms.repeat_interleave(3, 2).repeat_interleave(3, 3)
    assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_overlapping_squares_are_averaged_over_those_that_cover_a_pixel(generator):
    weights = torch.randn(1, 4, 4, generator=generator)
    diagrams = torch.rand(1, 1, 4, 4, generator=generator)
    found = explain.occlusion(linear(weights), diagrams, window=2, stride=1)
    total, cover = torch.zeros(4, 4), torch.zeros(4, 4)
    for row in range(3):
        for column in range(3):
            square = slice(row, row + 2), slice(column, column + 2)
            total[square] += (diagrams * weights)[0, 0][square].sum()
            cover[square] += 1
    assert_close(found[0, 0], total / cover, atol=1e-5, rtol=1e-5)


def test_occlusion_of_a_lone_frame_equals_that_of_the_frame_in_a_batch(generator):
    weights = torch.randn(2, 6, 6, generator=generator)
    diagrams = torch.rand(3, 2, 6, 6, generator=generator)
    batch = explain.occlusion(linear(weights), diagrams, window=3, stride=2)
    alone = explain.occlusion(linear(weights), diagrams[1:2], window=3, stride=2)
    assert_close(batch[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(0, 0), (2, 3), (9, 1), (2, 0)])
def test_an_occlusion_window_that_does_not_fit_is_refused(window, stride):
    with pytest.raises(InputError, match="0 < stride <= window <= bins"):
        explain.occlusion(linear(1.0), torch.ones(1, 1, 8, 8), window=window, stride=stride)


def toy_forward(diagrams):
    """Return logits of three classes, the sums of three pixel rows, and an SNR: the first pixel."""
    return diagrams[:, 0, :3].sum(2), diagrams[:, 0, 0, 0]


def test_evidence_for_the_modulation_is_the_log_probability_of_the_true_class(generator):
    diagrams = torch.rand(2, 1, 3, 3, generator=generator)
    score = explain.evidence(
        toy_forward, "modulation", torch.tensor([2, 0]), torch.zeros(2), torch.zeros(1)
    )
    logits = diagrams[:, 0].sum(2)
    wanted = torch.stack([
        logits[0, 2] - logits[0].exp().sum().log(), logits[1, 0] - logits[1].exp().sum().log()
    ])  # fmt: skip
    assert_close(score(diagrams), wanted)


def test_evidence_for_the_snr_is_minus_the_error_in_db(generator):
    diagrams = torch.zeros(2, 1, 3, 3)
    diagrams[:, 0, 0, 0] = torch.tensor([7.0, 12.0])
    score = explain.evidence(
        toy_forward, "snr", torch.zeros(2), torch.tensor([10.0, 10.0]), torch.tensor([0.0, 10.0])
    )
    assert score(diagrams).tolist() == [-3.0, -2.0]


def test_evidence_for_another_task_is_refused():
    with pytest.raises(InputError, match="'joint' is neither"):
        explain.evidence(toy_forward, "joint", torch.zeros(1), torch.zeros(1), torch.zeros(1))


def test_occlusion_finds_the_pixel_that_the_snr_is_read_from(generator):
    diagrams = torch.rand(2, 1, 4, 4, generator=generator) + 1
    truth = diagrams[:, 0, 1, 2].clone()
    labels = truth.long(), truth, torch.tensor([0.0])
    score = explain.evidence(lambda d: (None, d[:, 0, 1, 2]), "snr", *labels)
    found = explain.occlusion(score, diagrams, window=1, stride=1)
    wanted = torch.zeros_like(diagrams)
    wanted[:, 0, 1, 2] = truth
    assert_close(found, wanted)
