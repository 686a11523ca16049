"""Filter by the image's sharpness."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.stage import Filter

#: Longer side in pixels at which sharpness is measured, so that it does not depend on the file's size.
SIDE = 512


@dataclass
class Sharpness(Filter):
    """Variance of the Laplacian of the grey image (0 to 255), its longer side brought down to 512 pixels (Pech-Pacheco
    2000).

    A flat image has 0; photographs in focus mostly have more than 100, which is where OpenCV's folklore puts the bound.
    Clip art has far more. No bound by default.

    The measure is Pech-Pacheco's (https://doi.org/10.1109/ICPR.2000.903548).
    """

    reads = ("image",)
    unit = "variance of grey levels, 0 and more"

    def score(self, live: pa.Table, images: list[np.ndarray]) -> pa.Array:
        return pa.array([sharpness(image) for image in images], self.dtype)


def sharpness(image: np.ndarray) -> float:
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = SIDE / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_16S).var())
