"""The recipes in pipelines/: each can be loaded, says where it comes from and what it needs; those of pairs run end to end.

One small pool serves all, with the tiny CLIP, heads and lists made here, the small captioner and a server that answers every prompt,
so that none is skipped for want of a model. Recipes of pages and of videos run in the tests of those parts.
"""

import http.server
import inspect
import io
import itertools
import json
import re
import tarfile
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw
from safetensors.numpy import save_file
from tiny import tiny_clip

from curate.cli import main, parse
from curate.cli.recipe_options import build_recipe
from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.runner.driver import run
from curate.runner.recipes import load, names
from curate.sources.videos import Videos
from curate.sources.web_pages import WebPages
from curate.sources.webdataset import WebDataset
from curate.stage import Stage, snake

CAPTIONS = (
    "A brown dog runs over the green field",
    "Two red boats on a lake near the mountains",
    "The old stone house with a blue door",
    "Ein Hund steht auf der grünen Wiese im Garten",
    "一只橙色的猫睡在窗台上晒着温暖的太阳",
    "click here",
    "dog",
    "A woman in a yellow coat holds the umbrella",
)
WORDS = f"{' '.join(CAPTIONS[:3])} {CAPTIONS[7]} number".lower().split()


def photo(n: int) -> bytes:
    """A JPEG of more than 5 kB, unlike that of any other n; of eight one is small and one long."""
    rng = np.random.default_rng(n)
    width, height = (48, 48) if n % 8 == 7 else (800, 220) if n % 8 == 2 else (260 + n, 240)
    coarse = Image.fromarray(rng.integers(256, size=(4, 6, 3)).astype(np.uint8)).resize((width, height))
    noisy = np.clip(np.asarray(coarse, np.int16) + rng.integers(-9, 9, size=(height, width, 3)), 0, 255)
    image, out = Image.fromarray(noisy.astype(np.uint8)), io.BytesIO()
    ImageDraw.Draw(image).ellipse((20, 20, 60 + n, 90), fill=(n * 4, 255 - n * 4, 90))
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def write(path, rows: range) -> str:
    """A tar of pictures; picture 17 is picture 16 again, under another caption."""
    with tarfile.open(path, "w") as tar:
        for i in rows:
            text = CAPTIONS[i % 7 if i % 3 else 7] + (f" number {i}" if i % 2 else "")
            said = json.dumps({"url": f"http://host{i % 3}.example/{i}.jpg"})
            for suffix, data in (("jpg", photo(16 if i == 17 else i)), ("json", said.encode()), ("txt", text.encode())):
                info = tarfile.TarInfo(f"{i:05d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> list[str]:
    """Sixty pictures in two tars; the first has twelve."""
    folder = tmp_path_factory.mktemp("pool")
    return [write(folder / "few.tar", range(12)), write(folder / "more.tar", range(12, 60))]


@pytest.fixture(scope="module")
def given(tmp_path_factory, writer) -> dict[str, dict]:
    """Options by recipe, under "" those of all: what is private, large, or fitted to models and pools of another size."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    np.save(folder / "reference.npy", rng.standard_normal((3, 32)).astype(np.float32))
    (folder / "words.txt").write_text("\n".join([*WORDS, *(f"{a} {b}" for a, b in itertools.pairwise(WORDS))]))
    (folder / "counts.txt").write_text("\n".join(f"{w}\t{30 if w != 'umbrella' else 7}" for w in WORDS))
    (folder / "terms.txt").write_text("dog\nfield\nboats\nlake\nhouse\ndoor\n")
    (folder / "unwanted.txt").write_text("boats\n")
    (folder / "entries.json").write_text(json.dumps(["dog", "lake", "house", "A woman", "Hund"]))
    (folder / "synsets.txt").write_text("n02084071\n")
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"index.{part}").write_text("dog n 1 0 1 1 02084071\n" if part == "noun" else "")
        (folder / f"{part}.exc").write_text("")
    save_file({"weight": rng.standard_normal((1, 32)).astype(np.float32)}, folder / "head.safetensors")
    head, held = str(folder / "head.safetensors"), write(folder / "held.tar", range(12, 30))
    words = {"min_side": 200, "vocabulary": str(folder / "counts.txt"), "profanity": str(folder / "unwanted.txt")}
    return {
        "": {
            "model": tiny_clip(folder / "tiny"),
            "min_clip": -1.0,
            "entries": str(folder / "entries.json"),
            "clusters": 4,
            "reference": str(folder / "reference.npy"),
            "tag_nsfw": False,
            "t": 2,
            "captioner": "small",
            "writer": writer,
        },
        "blip2_captions": {"candidates": 2},
        "laion_coco": {"candidates": 3, "second_model": tiny_clip(folder / "second")},
        "preference": {"judge": writer},
        "text_rich": {"min_text": 0.0, "side": 64},
        "cluster_balance": {"total": 10, "levels": (6, 2)},
        "d4": {"eps": 0.001, "prototypes": 3},
        "laclip": {"times": 2},
        "mmc4": {"core": True},
        "semdedup": {"eps": 0.05},
        "align": {"vocabulary": str(folder / "words.txt"), "max_images": 3},
        "cc3m": words,
        "cc12m": words,
        "coyo_700m": {"max_repeats": 4, "profanity": str(folder / "unwanted.txt"), "evaluation": {"held": held}},
        "datacomp_text_based": {"synsets": str(folder / "synsets.txt"), "wordnet": str(folder)},
        "git_web_mix": {"budgets": {"few": 3, "more": 9}},
        "high_resolution": {"min_side": 200, "side": 64, "min_sharpness": 1.0},
        "imagen": {"toxicity": "python:test_pipelines:shouting", "max_toxicity": 0.025},
        "kosmos2_grit": {"detector": "python:test_pipelines:corners"},
        "laion_2b": {"watermark": head, "tag_nsfw": True},
        "laion_5b": {"min_clip_other": 1.0, "sure": 0.0},
        "metaclip_2_5b": {"max_nsfw": 1.0, "t": 0, "tail": 0.1},
        "sbu": {"terms": str(folder / "terms.txt")},
        "small_model_mix": {"budgets": {"few": 20, "more": 60}, "unit": "words"},
        "stable_diffusion": {
            "aesthetic": head,
            "watermark": head,
            "max_watermark": 1.0,
            "min_aesthetic": -9.0,
            "min_side": 200,
        },
        "t_mars": {"side": 64},
        "web_pairs": {"fraction": 1.0, "balanced": 0.5, "raw": 0.5, "eps": 0.0001},
    }


class Writing(http.server.BaseHTTPRequestHandler):
    """An endpoint that answers every prompt: a conversation where one is asked for, else a sentence."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        said = (
            "Question: What is it?\nAnswer: A dog."
            if "Question:" in str(prompt)
            else "2"
            if "1 or 2 alone" in str(prompt)
            else "A brown dog is running over a green field."
        )
        answer = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "usage": {}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def writer():
    """The name of the endpoint."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Writing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1#stub"
        server.shutdown()


def shouting(texts: list[str]) -> list[float]:
    """A toxicity model of one line: the share of capitals."""
    return [sum(map(str.isupper, t)) / (len(t) or 1) for t in texts]


def corners(images: list, phrases: list[list[str]]) -> list[list[tuple]]:
    """A detector that is sure of dogs and boats."""
    return [
        [(i, 0.9 if re.search("dog|boats", p) else 0.3, [0.0, 0.0, 0.5, 0.5]) for i, p in enumerate(each)] for each in phrases
    ]


#: Models over pixels that are dear on a loaded machine: their recipes run on the first tar.
DEAR = {"high_resolution", "imagen", "laion_2b", "metaclip_400m", "stable_diffusion", "t_mars", "web_pairs"}

#: Recipes that write captions: they run on four pictures. The gallery has no table of them.
WRITING = {
    *("blip2_captions", "capfilt", "capsfusion", "hard_negatives", "laclip", "laion_coco", "llava_instruct", "nguyen_mix"),
    *("preference", "recap", "text_rich", "translate", "veclip"),
}


def options(recipe, given: dict[str, dict]) -> dict:
    own = {**given[""], **given.get(recipe.name, {})}
    return {o.name: own[o.name] for o in recipe.options if o.name in own}


@pytest.mark.parametrize("name", names())
def test_it_says_where_it_comes_from(name):
    recipe = load(name)
    first = recipe.doc.splitlines()[0]
    assert len(recipe.doc) > 150 and len(first) < 140
    assert name == "demo" or re.search(r"\d{4}\.\d{4,5}|https?://", recipe.doc), "no source is named"
    for p in list(inspect.signature(recipe.build).parameters.values())[1:]:
        assert p.annotation is not inspect.Parameter.empty, f"{p.name} has no type"


def built_of(recipe, pool, given):
    """The recipe over the first kind of source that it takes."""
    if recipe.name in METADATA | TEXTS:
        return recipe.checked()
    for source in (WebDataset(pool), WebPages(pool)):
        try:
            return recipe.build(source, **options(recipe, given)).check()
        except RecipeError:
            continue
    return recipe.build(Videos(pool), **options(recipe, given)).check()


@pytest.mark.parametrize("name", names())
def test_it_can_be_built_and_checked(name, pool, given):
    recipe = load(name)
    built = built_of(recipe, pool, given)
    needs = recipe.needs()
    assert ("web" in needs) == any(isinstance(s, Stage) and s.network for s in built.steps)
    loading = {type(s) for s in built.steps if isinstance(s, Stage) and s.loads}
    for kind in loading:
        assert any(n.split()[0] == snake(kind.__name__) and n.endswith("(GPU)") == (kind.gpus > 0) for n in needs), (
            kind,
            needs,
        )


def test_the_list_says_what_each_needs(capsys):
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(out) if line.startswith("  metaclip_400m "))
    assert "arXiv 2309.16671" in out[at] and out[at + 1].split() == "needs --entries, web, language, nsfw (GPU)".split()
    listed = [line.split()[0] for line in out if re.match(r"  \w", line)]
    assert sorted(listed) == sorted(names())
    headings = [line.split()[0] for line in out if re.match(r"\w", line)]
    assert headings == ["The", "Image-text", "Captions", "Web", "Videos"]


def test_budgets_are_an_option(pool, capsys):
    assert main(["plan", "small_model_mix", "--pool", *pool, "--budgets", "few=3, more=1e3"]) == 0
    for wrong in ("few:3", "few=many", "=3"):
        with pytest.raises(SystemExit):
            main(["plan", "git_web_mix", "--pool", *pool, "--budgets", wrong])
        assert f"invalid name=value value: '{wrong}'" in capsys.readouterr().err
    assert main(["plan", "small_model_mix", "--pool", *pool, "--budgets", "few=3", "--unit", "pages"]) == 2


def test_what_comes_by_an_option_only_is_said_so():
    by_option = {name: {w.split()[0] for w in load(name).needs() if "by an option" in w} for name in names()}
    assert (
        by_option["stable_diffusion"] == {"watermark"}
        and by_option["cc3m"] == {"listed_words"}
        and by_option["clip_wit400m"] == {"language"}
    )
    assert by_option["laion_400m"] == set() and "ocr_area" in " ".join(load("high_resolution").needs())


def gallery() -> dict[str, set[str]]:
    """The columns that the gallery names, recipe by recipe."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in (Path(__file__).parent.parent / "docs" / "recipes.md").read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[0] != "recipe" and set(cells[0]) != {"-"}:
            name = re.match(r"`(\w+)`", cells[0])[1] if cells[0] else name
            found.setdefault(name, set()).update(re.findall(r"`(\w+)`", cells[3]))
    return found


def test_the_gallery_names_recipes_and_their_columns(pool, given):
    found = gallery()
    assert set(OUTCOMES) - {"demo"} - WRITING | PAGES | VIDEOS | METADATA | TEXTS == set(found)
    for name, columns in found.items():
        built = built_of(load(name), pool, given)
        brought = {c for t in built.source.tables for c in built.source.adds(t)} if name in VIDEOS else set()
        assert columns <= {s.name for s in built.steps} | {c for s in built.steps for c in s.adds()} | brought, name


#: Recipes of published metadata, which run in tests of their own.
METADATA = {"datacomp_metadata"}

#: Recipes of text corpora; they run in the tests of that source.
TEXTS = {"massive_text"}

#: Recipes of pages, which run in the tests of those.
PAGES = {"alt_text_pairs", "kosmos1", "m3w", "mmc4", "obelics", "omnicorpus", "web_documents"}

#: Recipes of videos, which run in the tests of those.
VIDEOS = {"actbert", "chatbridge", "clip_captions", "vatt", "videobert"}

#: What falls for which rule on the pool, as far as it does not hang on the tiny model's random weights; and how many stay.
OUTCOMES = {
    "augment": (set(), 60),
    "laion_coco": (set(), 4),
    "preference": (set(), 4),
    "text_rich": (set(), 4),
    "translate": (set(), 4),
    "veclip": (set(), 4),
    "align": ({"aspect_ratio", "images_of_text", "rare_tokens", "script_words"}, None),
    "blip2_captions": (set(), 4),
    "capfilt": (set(), None),
    "capsfusion": (set(), 4),
    "cluster_balance": ({"cluster_balance"}, 10),
    "d4": ({"prototypes"}, None),
    "hard_negatives": (set(), None),
    "laclip": (set(), 4),
    "llava_instruct": (set(), None),
    "nguyen_mix": (set(), None),
    "recap": (set(), 4),
    "semdedup": ({"language", "semantic_dedup"}, None),
    "cc12m": ({"language", "caption_words", "parts_of_speech", "rare_tokens", "profanity", "aspect_ratio"}, None),
    "cc3m": ({"language", "parts_of_speech", "rare_tokens", "profanity", "aspect_ratio"}, None),
    "clip_score_top30": ({"top_fraction"}, 19),
    "clip_wit400m": ({"balance"}, None),
    "cogview": ({"language", "boilerplate_text"}, None),
    "coyo_700m": (
        {
            "caption_chars",
            "caption_words",
            "language",
            "frequency",
            "decontaminate",
            "profanity",
            "image_bytes",
            "aspect_ratio",
        },
        None,
    ),
    "dalle": ({"language", "boilerplate_text", "caption_words", "aspect_ratio"}, None),
    "datacomp_basic": ({"language", "caption_words", "image_side", "aspect_ratio"}, None),
    "datacomp_image_and_clip": ({"top_fraction"}, None),
    "datacomp_image_based": ({"language", "caption_words"}, None),
    "datacomp_laion2b": ({"language"}, 48),
    "datacomp_none": (set(), 60),
    "datacomp_text_based": ({"language", "text_based"}, None),
    "demo": ({"language", "aspect_ratio"}, None),
    "dfn": ({"top_fraction"}, 10),
    "florence": ({"image_side"}, 53),
    "git_web_mix": ({"budget", "near_dedup", "image_side"}, 12),
    "high_resolution": ({"image_side"}, 11),
    "imagen": ({"image_bytes", "language", "toxicity"}, None),
    "kosmos2_grit": ({"language", "image_side", "grounding"}, None),
    "laion_2b": ({"language", "image_bytes"}, 8),
    "laion_400m": ({"caption_chars", "language", "image_bytes"}, 40),
    "laion_5b": ({"caption_chars", "image_bytes", "min_clip"}, 40),
    "metaclip_2_5b": ({"language", "balance"}, None),
    "metaclip_400m": ({"language", "balance"}, None),
    "sbu": ({"caption_words", "language", "listed_words"}, None),
    "small_model_mix": ({"budget", "exact_dedup"}, None),
    "stable_diffusion": ({"image_side"}, 11),
    "t_mars": ({"top_fraction"}, 4),
    "web_pairs": ({"language", "aspect_ratio", "cluster_balance"}, None),
}

#: Columns that a recipe is there for.
COLUMNS = {
    "blip2_captions": "caption_best",
    "augment": "augment_image",
    "capsfusion": "caption_fused",
    "laion_coco": "caption_coco",
    "preference": "preference_pair",
    "text_rich": "caption_rich_turns",
    "translate": "caption_english",
    "veclip": "caption_vecap",
    "cluster_balance": "cluster_balance_cluster",
    "d4": "prototypes_distance",
    "laclip": "caption_rewrite_2",
    "llava_instruct": "caption_instruct_turns",
    "florence": "caption_label",
    "high_resolution": "ocr_area_text",
    "kosmos2_grit": "grounding_boxes",
    "laion_2b": "watermark",
    "small_model_mix": "budget_pool",
    "stable_diffusion": "aspect_bucket",
    "t_mars": "masked_clip_score",
    "web_pairs": "chosen_text",
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_it_runs_from_end_to_end(name, pool, given, tmp_path):
    recipe = load(name)
    files, size = (pool[:1], 12) if name in DEAR else (pool, 60)
    if name in WRITING:
        files, size = [write(tmp_path / "four.tar", range(4))], 4
    source = WebDataset(files)
    done = run(recipe.build(source, **options(recipe, given)), str(tmp_path / "run"), engine="local")
    rows = dict(done.sql("select coalesce(drop_reason, 'kept'), count(*) from images group by all").fetchall())
    reasons, kept = OUTCOMES[name]
    assert reasons <= set(rows) and rows["kept"] == (kept or rows["kept"]) and sum(rows.values()) == size
    dataset = json.loads((tmp_path / "run" / "dataset.json").read_text())
    assert sum(s["samples"] for s in dataset["shards"]) == rows["kept"]
    if name in COLUMNS:
        assert done.sql(f"select count({COLUMNS[name]}) from images where kept").fetchall() == [(rows["kept"],)]


def built(argv: list[str]):
    return build_recipe(parse(argv))


@pytest.mark.parametrize("name", [n for n in names() if n not in VIDEOS | TEXTS])
def test_pictures_of_every_recipe_that_fetches_can_be_resized(name, tmp_path):
    """By options of the command line, whatever the recipe's own parameters are."""
    row = {
        "url": "http://a.example/1.jpg",
        "text": "a dog",
        "clip_l14_similarity_score": 0.3,
        "sha256": "0" * 64,
        "face_bboxes": [[0.1] * 4],
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "list.parquet")
    (tmp_path / "page.html").write_text("<p>a dog</p>")
    wanted = ["--resize", "keep_ratio_largest", "--image-size", "512", "--only-if-bigger", "--format", "webp"]
    given = {"budgets": "a=1", "total": "9", "reference": "x.npy", "fetch": "yes", "detector": "python:json:loads"}
    required = [o for o in load(name).options if o.required]
    required += [o for o in load(name).options if o.name == "fetch"]
    argv = ["plan", name, *(w for o in required for w in (o.flag, given.get(o.name, str(tmp_path / "list.parquet"))))]
    try:
        plain = built([*argv, "--pairs", f"{tmp_path}/list.parquet", *wanted])
    except RecipeError as e:
        assert "is one of documents" in str(e)
        plain = built([*argv, "--pages", f"{tmp_path}/page.html", *wanted])
    fetching = [s for s in plain.steps if isinstance(s, Fetch)]
    asked = ("keep_ratio_largest", 512, True, "webp")
    assert fetching and all((s.resize_mode, s.image_size, s.only_if_bigger, s.encode_format) == asked for s in fetching)


def test_pictures_are_resized_from_the_command_line(pool, tmp_path, capsys):
    argv = ["run", "datacomp_none", "--pool", pool[0], "-o", f"{tmp_path}/run", "--engine", "local"]
    assert main([*argv, "--resize", "border", "--image-size", "64", "--format", "png"]) == 0
    shard = next(Path(tmp_path, "run", "shards").glob("*.tar"))
    with tarfile.open(shard) as tar:
        pictures = [Image.open(tar.extractfile(m)) for m in tar if m.name.endswith(".png")]
        assert len(pictures) == 12 and {p.size for p in pictures} == {(64, 64)}


@pytest.mark.parametrize(
    ("words", "mode", "ground", "reencode", "format"),
    [
        (["--ground", "white"], None, "white", False, "jpg"),
        (["--reencode", "--format", "webp"], None, None, True, "webp"),
        (["--ground", "white", "--reencode", "--quality", "80"], None, "white", True, "jpg"),
        (["--format", "png"], "no", None, False, "png"),
        (["--resize", "border", "--ground", "white"], "border", "white", False, "jpg"),
    ],
)
def test_pictures_that_loaders_show_otherwise_are_re_encoded_by_an_option(words, mode, ground, reencode, format, pool):
    made = built(["plan", "datacomp_none", "--pool", *pool, *words])
    found = [(s.resize_mode, s.ground, s.reencode, s.encode_format) for s in made.steps if isinstance(s, Fetch)]
    assert found == [(mode, ground, reencode, format)]


@pytest.mark.parametrize(
    "words, says",
    [
        (["--image-size", "64"], "go with --resize MODE"),
        (["--only-if-bigger"], "go with --resize MODE"),
        (["--resize", "border", "--quality", "101"], "encode_quality=101"),
        (["--format", "png", "--quality", "90"], "encode_quality=90"),
    ],
)
def test_a_resize_that_cannot_be_is_refused(words, says, pool, capsys):
    assert main(["plan", "datacomp_none", "--pool", *pool, *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", [n for n in names() if any(o.required for o in load(n).options)])
def test_a_missing_option_says_what_it_is(name, capsys):
    with pytest.raises(SystemExit):
        main(["run", name, "--pairs", "x", "-o", "y"])
    err = capsys.readouterr().err
    for option in (o for o in load(name).options if o.required):
        assert f"{option.flag} ({option.about}" in err and len(option.about) > 30
    assert f"try: curate run {name} --help" in err


def test_every_recipe_is_run_somewhere():
    assert set(OUTCOMES) | PAGES | VIDEOS | METADATA | TEXTS == set(names())


def test_every_recipe_is_built_with_its_defaults_and_checked(capsys):
    assert main(["recipes", "--check"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == names() and all(re.search(r": ok, \d+ steps$", line) for line in said)


@pytest.mark.parametrize(
    "select, says",
    [
        (
            "SemanticDedup('clip_embed')",
            "semantic_dedup reads clip_embed, which nothing before it provides; did you mean clip_image?",
        ),
        ("Where('clip_score', min=0.3), Where('clip_score', max=1)", "two steps are called where_clip_score"),
        ("TopFraction('quality')", "top_fraction reads quality, which nothing before it provides"),
    ],
)
def test_a_recipe_that_does_not_fit_is_found(select, says, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from curate.dedup.semantic import SemanticDedup\nfrom curate.fetch.stage import Fetch\nfrom curate.filters.clip_embed import ClipEmbed\n"
        "from curate.filters.clip_score import ClipScore\nfrom curate.recipe import Recipe\nfrom curate.select.top_fraction import TopFraction\n"
        f"from curate.select.where import Where\n\ndef recipe(source):\n    return Recipe(source, [Fetch(), ClipEmbed(), ClipScore()], [{select}])\n"
    )
    assert main(["recipes", "--check", str(tmp_path / "mine.py"), "laion_400m"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path}/mine.py: ") and says in first and second.startswith("laion_400m: ok")
