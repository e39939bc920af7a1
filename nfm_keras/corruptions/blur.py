"""Blurs: Gaussian, frosted glass, defocus, motion and zoom."""

import functools

import numpy as np
from scipy import ndimage, sparse

from nfm_keras.corruptions import filters


def gaussian_blur(images, generators, sigma):
    """Blurs with a Gaussian.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        generators: one `np.random.Generator` an image; not used.
        sigma: float > 0, pixels.

    Returns:
        uint8 array of the same shape.
    """
    return filters.to_images(filters.gaussian(filters.to_planes(images), sigma))


def glass_blur(images, generators, sigma, reach, rounds):
    """Blurs, lets every pixel copy one near it, and blurs again.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        generators: one `np.random.Generator` an image.
        sigma: float > 0, pixels, of both blurs.
        reach: int. Shifts are from -reach to reach - 1.
        rounds: int. How often all pixels do so.

    Returns:
        uint8 array of the same shape.
    """
    images = gaussian_blur(images, (), sigma)
    height, width = images.shape[1:3]
    places = max(0, height - 2 * reach) * max(0, width - 2 * reach)
    size = (rounds, places, 2)
    draws = [
        generator.integers(-reach, reach, size, "int8") for generator in generators
    ]
    return gaussian_blur(scatter(images, np.stack(draws), reach), (), sigma)


def scatter(images, shifts, reach):
    """Does the middle step of `glass_blur`, given its draws.

    The published scripts mean to swap two pixels, but assign one view to another, so
    that the pixel takes its neighbour's colour and the neighbour keeps it.

    They go through the pixels one by one, from the bottom right; row i and column j of
    that walk are on front (reach + 1) * i + j. No pixel reads another of its front, and
    the fronts in turn leave behind what the walk does, in far fewer steps.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        shifts: integer `(batch, rounds, places, 2)`: x and y of the pixel to copy,
            relative to each place, in the order of the walk.
        reach: int, as in `glass_blur`.

    Returns:
        uint8 array of the same shape.
    """
    batch, height, width, _ = images.shape
    fronts, places = _fronts(height, width, reach)
    # The three bytes of a pixel as one number; images last, so that all copy at once.
    pixels = np.zeros((batch, height, width, 4), "uint8")
    pixels[..., :3] = images
    pixels = np.ascontiguousarray(pixels.view("uint32").reshape(batch, -1).T)
    flat = pixels.reshape(-1)
    for turn in np.moveaxis(shifts, 1, 0).astype("int64"):
        sources = (places + turn[..., 1] * width + turn[..., 0]).T
        sources = sources * batch + np.arange(batch)
        for front in fronts:
            pixels[places[front]] = flat.take(sources[front])
    pixels = np.ascontiguousarray(pixels.T).view("uint8")
    return pixels.reshape(batch, height, width, 4)[..., :3]


def defocus_blur(images, generators, radius, smoothing):
    """Blurs with a disk.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        generators: one `np.random.Generator` an image; not used.
        radius: float, pixels.
        smoothing: float. Standard deviation of the blur of the disk's edge.

    Returns:
        uint8 array of the same shape.
    """
    terms = _disk_terms(*images.shape[1:3], radius, smoothing)
    planes = filters.to_planes(images)
    return filters.to_images(sum(filters.separable(planes, *term) for term in terms))


@functools.lru_cache(maxsize=16)
def disk(radius, smoothing):
    """Returns the kernel of `defocus_blur`.

    Args:
        radius: float, pixels. Below 1 the disk is one pixel.
        smoothing: float > 0. Standard deviation of a Gaussian of 3 x 3 pixels (5 x 5
            above radius 8) that it is blurred with.

    Returns:
        `(odd, odd)` float64 array, without empty rows at its border.

    Example:

    >>> disk(1.5, 0.1).shape
    (3, 3)
    """
    half = 8 if radius <= 8 else radius
    offsets = np.arange(-half, half + 1)
    kernel = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype("float64")
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    taps = np.exp(-(taps**2) / (2 * smoothing**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(
            kernel, taps / taps.sum(), axis=axis, mode="mirror"
        )
    kernel[kernel < 1e-9] = 0  # less than float32 sees
    used = np.abs(offsets[kernel.any(axis=0)]).max()
    return kernel[half - used : half + used + 1, half - used : half + used + 1]


@functools.lru_cache(maxsize=8)
def _disk_terms(height, width, radius, smoothing):
    # A disk has as many different rows as its radius: so few separable filters, by
    # its singular values, add up to it.
    rows, weights, columns = np.linalg.svd(disk(radius, smoothing))
    used = weights > 1e-7
    rows = (rows * weights).T[used], height
    columns = columns[used], width
    return tuple(zip(*(_mirrored(*side) for side in (rows, columns)), strict=True))


def _mirrored(kernels, size):
    """Turns one-dimensional correlations into matrices, borders as mirrors."""
    return [
        ndimage.correlate1d(np.eye(size), kernel, axis=0, mode="mirror").astype(
            "float32"
        )
        for kernel in kernels
    ]


def motion_blur(images, generators, radius, sigma):
    """Blurs along a line at a random angle from -45 to 45 degrees.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        generators: one `np.random.Generator` an image.
        radius: int. The line is 2 * radius + 1 pixels long.
        sigma: float. Standard deviation, in pixels, of the weights along it.

    Returns:
        uint8 array of the same shape.
    """
    angles = [generator.uniform(-45, 45) for generator in generators]
    blurred = along_lines(images.astype("float32"), radius, sigma, angles)
    return stored_levels(blurred).astype("uint8")


def stored_levels(levels):
    """Returns grey levels as ImageMagick writes them to a file of 8 bits.

    The scripts that made the published sets have ImageMagick blur an image and read the
    PNG file that it gives back. ImageMagick 6 rounds to 16 bits, in which a level is
    257, and truncates these to 8 bits as it writes the file.

    Args:
        levels: float array, from 0 to 255.

    Returns:
        Array of the same shape and dtype: whole levels.

    Example:

    >>> stored_levels(np.array([99.5, 99.997, 99.999])).tolist()
    [99.0, 99.0, 100.0]
    """
    return np.floor(levels + levels.dtype.type(0.5 / 257))


def along_lines(images, radius, sigma, angles):
    """Blurs along one line an image, as ImageMagick before it stores whole levels.

    The line starts at the pixel, so the blur moves the image too; border pixels go on
    outside.

    Args:
        images: `(batch, height, width, channels)` float32.
        radius, sigma: as in `motion_blur`.
        angles: `(batch,)` degrees.

    Returns:
        float32 array of the same shape.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    weights = weights[weights > 2**-24].astype("float32")  # what float32 can see
    steps, reach = steps[: len(weights)], len(weights) - 1
    height, width, channels = images.shape[1:]
    border = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = np.pad(images, border, mode="edge")
    # Every shift of every image as a view; the shifts of a line are copied at once.
    lines = padded.reshape(*padded.shape[:2], -1)
    shape = height, width * channels
    shifted = np.lib.stride_tricks.sliding_window_view(lines, shape, axis=(1, 2))
    blurred = np.empty_like(images)
    for source, target, angle in zip(shifted, blurred, np.deg2rad(angles), strict=True):
        columns = reach + np.ceil(steps * np.cos(angle) - 0.5).astype(int)
        rows = reach + np.ceil(steps * np.sin(angle) - 0.5).astype(int)
        line = source[rows, columns * channels].reshape(len(weights), -1)
        target[...] = (weights @ line).reshape(target.shape)
    return blurred


def zoom_blur(images, generators, zooms):
    """Returns the mean of an image and of zooms into its middle.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        generators: one `np.random.Generator` an image; not used.
        zooms: tuple of floats >= 1.

    Returns:
        uint8 array of the same shape.
    """
    batch, height, width, channels = images.shape
    pixels = images.reshape(batch, -1, channels).transpose(1, 0, 2)
    pixels = pixels.astype("float32", order="C").reshape(height * width, -1)
    blurred = filters.truncate(_zoom_operator(height, width, zooms) @ pixels)
    blurred = blurred.reshape(height * width, batch, channels).transpose(1, 0, 2)
    return blurred.reshape(images.shape)


@functools.lru_cache(maxsize=8)
def _zoom_operator(height, width, zooms):
    # All zooms as one sparse matrix from pixels to pixels: they overlap so much that
    # it holds about as many numbers a pixel as there are zooms.
    total = sparse.identity(height * width, format="csr")
    for zoom in zooms:
        sides = (filters.zoom_matrix(side, zoom) for side in (height, width))
        total = total + sparse.kron(*map(sparse.csr_array, sides), format="csr")
    return (total / (len(zooms) + 1)).astype("float32")


@functools.lru_cache(maxsize=8)
def _fronts(height, width, reach):
    """Returns which places of `scatter`'s walk are on each front, and the places."""
    rows = np.arange(height - reach, reach, -1)
    columns = np.arange(width - reach, reach, -1)
    numbers = (reach + 1) * np.arange(len(rows))[:, None] + np.arange(len(columns))
    order = np.argsort(numbers, axis=None, kind="stable")
    starts = np.flatnonzero(np.diff(numbers.ravel()[order])) + 1
    return np.split(order, starts), (rows[:, None] * width + columns).ravel()
