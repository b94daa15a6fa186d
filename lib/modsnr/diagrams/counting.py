"""A compiled loop that counts points; importing this module takes 50 MB and half a second."""

import numpy as np
from numba import get_num_threads, njit, prange


def count(
    points: np.ndarray,
    per_unit: float,
    table: np.ndarray,
    images: np.ndarray,
    channel: int,
    touched: np.ndarray,
    *,
    unscaled: bool,
) -> None:
    """Write the images of frames' points to one channel of ``images``, on all threads.

    ``points`` is float32 [frame, point, 2], in-phase and quadrature; the loop scales ``unscaled``
    ones to unit power. There are ``per_unit`` bins a unit; ``table`` holds the pixel of each count;
    ``images`` is float32 [frame, channel, bins, bins]. ``touched``, int32 [frame, 1 + point], lists
    the pixels that the last drawing wrote, their number first, -1 for all; the loop clears them and
    lists its own.
    """
    counts = np.zeros((get_num_threads(), images.shape[-1] ** 2 + 1), np.uint32)
    _count(points, unscaled, np.float32(per_unit), table, counts, images, channel, touched)


@njit(parallel=True, cache=True)
def _count(
    parts, unscaled, per_unit, table, counts_of_threads, images, channel, touched
):  # pragma: no cover - compiled
    threads, bins = counts_of_threads.shape[0], images.shape[-1]
    samples = parts.shape[1]
    half = np.float32(0.5 * (bins % 2))
    shift = np.float32(bins // 2)
    top = np.float32(bins)
    outside = np.int32(bins * bins)  # a place after the last, for points that no bin holds
    for worker in prange(threads):
        counts = counts_of_threads[worker]
        for frame in range(worker, parts.shape[0], threads):
            image, part = images[frame, channel].ravel(), parts[frame]
            place, number = touched[frame, 1:], touched[frame, 0]
            if number < 0:
                image[:] = np.float32(0)
            # Stores wait for memory one after the other, loads together: so these load first.
            loaded = np.float32(0)
            for entry in range(number):
                loaded += image[np.uint32(place[entry])]
            if loaded < 0:  # never, which the compiler cannot know
                continue
            for entry in range(number):
                image[np.uint32(place[entry])] = np.float32(0)
            scale = np.float32(1)
            if unscaled:
                # Four sums: with a single one, each addition would wait for the one before.
                a, b, c, d = 0.0, 0.0, 0.0, 0.0
                for sample in range(0, samples - 1, 2):
                    a += np.float64(part[sample, 0]) ** 2
                    b += np.float64(part[sample, 1]) ** 2
                    c += np.float64(part[sample + 1, 0]) ** 2
                    d += np.float64(part[sample + 1, 1]) ** 2
                if samples % 2:
                    a += np.float64(part[samples - 1, 0]) ** 2
                    b += np.float64(part[samples - 1, 1]) ** 2
                scale = np.float32(np.sqrt(np.float64(samples)) / np.sqrt(a + b + c + d))
            for sample in range(samples):
                column = np.floor(part[sample, 0] * scale * per_unit + half) + shift
                row = np.floor(part[sample, 1] * scale * per_unit + half) + shift
                inside = (column >= 0) & (column < top) & (row >= 0) & (row < top)
                where = np.int32(row) * np.int32(bins) + np.int32(column)
                place[sample] = where if inside else outside
            for sample in range(samples):
                counts[np.uint32(place[sample])] += np.uint32(1)
            kept = 0
            for sample in range(samples):
                where = place[sample]
                if where != outside:
                    image[np.uint32(where)] = table[counts[np.uint32(where)]]
                    place[kept] = where
                    kept += 1
            touched[frame, 0] = kept
            for entry in range(kept):  # forget this frame where it was counted only
                counts[np.uint32(place[entry])] = np.uint32(0)
