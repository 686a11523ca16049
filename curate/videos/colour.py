"""Tone mapping of high dynamic range frames (PQ, HLG) to sRGB: reference white is kept, highlights are compressed.

The scale is that of ITU-R BT.2408: 203 nits are reference white. Above half of it a Möbius curve (as in FFmpeg's tonemap filter)
maps 1,000 nits to white; anything brighter is clipped to white.
"""

import functools

import numpy as np

#: AVColorTransferCharacteristic.
PQ, HLG = 16, 18
_WHITE, _PEAK, _KNEE = 203.0, 1000.0, 0.5
#: Linear BT.2020 to linear BT.709 (ITU-R BT.2087).
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)


def srgb(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """uint16 (height, width, 3) in BT.2020 with PQ or HLG -> uint8 in sRGB."""
    linear = _decoding_table(transfer)[pixels]  # 1 is reference white
    if transfer == HLG:  # the OOTF of a display of 1,000 nits (BT.2100)
        linear *= (_PEAK / _WHITE) * np.maximum(linear @ _LUMINANCE, 1e-6)[..., None] ** np.float32(0.2)
    brightest = np.maximum(linear.max(axis=-1, keepdims=True), 1e-6)
    linear *= _compressed(brightest) / brightest
    light = np.clip(linear @ _TO_709.T, 0, 1)
    return _encoding_table()[np.round(light * 65535).astype(np.uint16)]


def _compressed(light: np.ndarray) -> np.ndarray:
    """Linear light after the Möbius curve: unchanged up to the knee, at most 1."""
    j, peak = _KNEE, _PEAK / _WHITE
    a = -j * j * (peak - 1) / (j * j - 2 * j + peak)
    b = (j * j - 2 * j * peak + peak) / (peak - 1)
    curved = (b * b + 2 * b * j + j * j) / (b - a) * (light + a) / (light + b)
    return np.where(light <= j, light, np.minimum(curved, 1)).astype(np.float32)


@functools.cache
def _decoding_table(transfer: int) -> np.ndarray:
    """Linear light for each 16-bit value: of the display for PQ (SMPTE ST 2084), of the scene, 0 to 1, for HLG (BT.2100)."""
    signal = np.linspace(0, 1, 65536)
    if transfer == PQ:
        root = signal ** (1 / 78.84375)
        nits = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return (nits / _WHITE).astype(np.float32)
    high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(signal <= 0.5, signal**2 / 3, high).astype(np.float32)


@functools.cache
def _encoding_table() -> np.ndarray:
    """The 8-bit sRGB value (IEC 61966-2-1) for each of 65,536 steps of linear light."""
    light = np.linspace(0, 1, 65536)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * signal).astype(np.uint8)
