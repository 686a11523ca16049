"""Versions of an evaluation picture that a data set may hold: what preparation for a model, an editor or a page makes of it."""

from collections.abc import Iterator

import cv2
import numpy as np

#: What is left of the shorter side: of Resize and CenterCrop to one size, as CLIP has it; and of 256 and 224, as ImageNet has it.
SQUARES = (1.0, 0.875)
ANGLES = (-3.0, -1.5, 1.5, 3.0)  # degrees, the corners black
BORDERS = (0.03, 0.05, 0.08)  # of the shorter side, white, on each side
GROUNDS = (0, 255)  # of a letterbox
_SIDE = 512  # a larger picture is made smaller first


def versions(image: np.ndarray) -> Iterator[np.ndarray]:
    """The picture's centre as a square, inside a white border or in a square on black or white, and turned a little; itself not."""
    scale = _SIDE / max(image.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    for share in SQUARES:
        side = max(1, round(min(height, width) * share))
        if (side, side) != (height, width):
            top, left = (height - side) // 2, (width - side) // 2
            yield np.ascontiguousarray(image[top : top + side, left : left + side])
    for share in BORDERS:
        edge = max(1, round(min(height, width) * share))
        yield cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    if height != width:
        down, right = max(width - height, 0), max(height - width, 0)
        edges = (down // 2, down - down // 2, right // 2, right - right // 2)
        for ground in GROUNDS:
            yield cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=(ground,) * 3)
    for angle in ANGLES:
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        yield cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
