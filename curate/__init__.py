"""curate: turns web image-text pairs and pages into balanced WebDataset shards for multimodal pretraining.

from curate import *                                      # every building block, loaded when it is used
run = curate.run(recipe, "out/")                          # run a recipe, or resume the run in the folder
run = curate.open("out/")                                 # open a run; in a notebook it shows itself
run.sql("select drop_reason, count(*) from images group by all")
run.show(reason="language")                               # images, in a notebook
"""

import functools
import importlib
import os
import re
from pathlib import Path
from typing import Any

# Arrow's default allocator keeps the peak memory of each thread; the allocator is chosen when Arrow is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

#: The version of this package; pyproject.toml reads it here. What pip calls the package is not `curate`, which is another project on PyPI.
__version__ = "0.1.0"

#: The public names by module; a filter's class is in the module of its name (`CaptionWords` in `filters.caption_words`).
_MODULES = {
    "runner.driver": "run",
    "view.run": "Run open",
    "view.gallery": "show",
    "recipe": "Recipe Shards",
    "source": "Source",
    "stage": "Stage Filter",
    "selector": "Selector Selection",
    "errors": "CurateError RecipeError PartError PoolError",
    "sources.url_pairs": "UrlPairs",
    "sources.webdataset": "WebDataset",
    "sources.web_pages": "WebPages",
    "sources.page_urls": "PageUrls",
    "sources.videos": "Videos",
    "sources.image_tables": "ImageTables",
    "sources.pdfs": "Pdfs",
    "sources.texts": "Texts",
    "sources.audio_pairs": "AudioPairs",
    "sources.stored_embedding": "StoredEmbedding",
    "fetch.stage": "Fetch",
    "fetch.shared": "once",
    "fetch.unpack": "Unpack",
    "fetch.blur_faces": "BlurFaces",
    "documents.align": "Align",
    "dedup.exact": "ExactDedup",
    "dedup.frequency": "Frequency",
    "dedup.near": "NearDedup",
    "dedup.phash": "PerceptualHash",
    "dedup.semantic": "SemanticDedup",
    "dedup.text": "TextDedup",
    "dedup.evaluation": "Decontaminate",
    "balance.budget": "Budget",
    "balance.caps": "Caps",
    "balance.clusters": "ClusterBalance",
    "balance.image_based": "ImageBased NormSim",
    "balance.metaclip": "Balance",
    "balance.prototypes": "Prototypes",
    "balance.text_based": "TextBased",
    "balance.upsample": "Upsample",
    "select.where": "Where",
    "select.top_fraction": "TopFraction",
    "synth.caption": "Caption Rewrite Translate",
    "synth.captioners.base": "Decoding",
    "synth.choose": "Mix CapFilt RawElseSynthetic CaptionRepeats",
    "synth.score": "CaptionScore BestOf",
    "synth.faults": "CaptionFaults CaptionStrip",
    "synth.instruct": "Instruct Transcribe",
    "synth.augment": "AugmentText AugmentImage",
    "synth.documents": "CaptionDocument",
    "synth.preference": "Prefer Preference",
    "synth.slices": "Slices",
    "synth.vlm_score": "VlmScore",
    "synth.matching": "MatchingNegatives",
    "synth.pairs": "CaptionPair PairedRow",
    "synth.negatives": "HardNegatives",
    "synth.scene_graph": "SceneGraph",
    "synth.wordnet_links": "WordnetLinks",
    "videos.frames": "Frames Sound",
    "videos.sound_file": "SoundFile",
    "videos.fetch_sound": "FetchSound",
}
_HOMES = {name: module for module, listed in _MODULES.items() for name in listed.split()}
#: Public names that differ from the names in their modules.
_RENAMED = {"open": "open_run"}


@functools.cache
def _filters() -> dict[str, str]:
    """The modules of the filters by class name, found by scanning the folder `filters`."""
    found = {}
    for file in sorted((Path(__file__).parent / "filters").glob("[a-z]*.py")):
        name = "".join(word.capitalize() for word in file.stem.split("_"))
        if re.search(rf"^class {name}\(", file.read_text(encoding="utf-8"), re.M):
            found[name] = f"filters.{file.stem}"
    return found


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing curate loads neither ray nor torch."""
    if name == "__all__":
        return sorted({**_HOMES, **_filters()})
    home = _HOMES.get(name)
    if home is None and name[:1].isupper():
        home = _filters().get(name)
    if home is None:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"curate.{home}"), _RENAMED.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __getattr__("__all__")
