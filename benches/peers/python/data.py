"""Numbers that are the same in every language: see `workload/src/data.rs`."""

import numpy as np


def bits(stream, count):
    x = np.arange(count, dtype=np.uint32) + np.uint32(stream * 0x9E3779B9 & 0xFFFFFFFF)
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return (x ^ (x >> 16)) >> 8


def uniform(stream, *shape):
    count = int(np.prod(shape))
    return (bits(stream, count).astype(np.float32) / np.float32(1 << 24)).reshape(shape)


def symmetric(stream, bound, *shape):
    return (np.float32(2) * uniform(stream, *shape) - np.float32(1)) * np.float32(bound)


def integers(stream, count, below):
    return bits(stream, count) % np.uint32(below)
