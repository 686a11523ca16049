"""Faces in the image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.models import file_sha256
from curate.stage import Filter


@dataclass
class Faces(Filter):
    """The number of frontal faces; adds their boxes too, `faces_boxes`: lists of x_min, y_min, x_max, y_max as shares of width
    and height (DataComp's `face_bboxes` has this form).

    By a Haar cascade (Viola and Jones 2001) on the grey image with its longer side brought down to `side` pixels: faces
    smaller than a twelfth of it are not looked for, profiles are missed. cascade: a cascade file; by default the one inside
    OpenCV 4 (OpenCV 5 has neither file nor detector). DataComp used SCRFD-10G, which finds far more.

    side: longer side of the image that the detector sees, in pixels.
    """

    reads = ("image",)
    dtype = pa.int32()
    unit = "faces"
    side: int = 512
    cascade: str = ""

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: self.dtype, f"{self.name}_boxes": pa.list_(pa.list_(pa.float32()))}

    def path(self) -> str:
        """The cascade file; RecipeError if there is none, or no detector."""
        import cv2

        folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
        path = Path(self.cascade or Path(folder) / "haarcascade_frontalface_alt2.xml")
        if not path.is_file() or not hasattr(cv2, "CascadeClassifier"):
            raise RecipeError(
                f"{self.name}: no cascade at {path}; opencv-python-headless 4 brings it, 5 does not (here {cv2.__version__})"
            )
        return str(path)

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(self.path())}"}

    def load(self) -> None:
        import cv2

        self._cascade = cv2.CascadeClassifier(self.path())

    def run(self, live: pa.Table, images: list[np.ndarray]) -> pa.Table:
        boxes = [self.boxes(image) for image in images]
        return pa.table(
            [pa.array(map(len, boxes), self.dtype), pa.array(boxes, list(self.adds().values())[1])], names=list(self.adds())
        )

    def boxes(self, image: np.ndarray) -> list[list[float]]:
        """Boxes of faces as shares of width and height, sorted from top to bottom."""
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, self.side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.equalizeHist(cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA))
        least = max(24, max(size) // 12)
        found = self._cascade.detectMultiScale(small, scaleFactor=1.1, minNeighbors=5, minSize=(least, least))
        (w, h), rows = size, sorted((y, x, b, a) for x, y, a, b in found)
        shares = [[x / w, y / h, (x + a) / w, (y + b) / h] for y, x, b, a in rows]
        return np.asarray(shares, np.float16).astype(np.float32).tolist()
