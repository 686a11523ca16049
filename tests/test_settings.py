"""Settings change parameters of a recipe's steps from outside; what is wrong with one is said with what is near."""

import json
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import Toy

from curate.cli import main
from curate.errors import RecipeError
from curate.filters.caption_words import CaptionWords
from curate.filters.language import Language
from curate.recipe import Recipe
from curate.runner.recipes import load
from curate.select.where import Where
from curate.settings import apply_settings, available
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named


def made() -> Recipe:
    return Recipe(
        Toy(),
        [
            CaptionWords(min=3).reading("chosen_text"),
            Language(),
            Caption(named("small"), decoding=Decoding(), name="caption_a"),
        ],
        [Where("clip_score", min=0.2)],
        name="mine",
    )


def step(recipe: Recipe, name: str):
    return next(s for s in recipe.steps if s.name == name)


@pytest.mark.parametrize(
    "setting, name, parameter, value",
    [
        ("caption_words.min=5", "caption_words", "min", 5.0),
        ("caption_words.min=none", "caption_words", "min", None),
        ("language.among=en, de", "language", "among", frozenset({"en", "de"})),
        ("language.rules=yes", "language", "rules", True),
        ("caption_a.decoding.max_tokens=9", "caption_a", "decoding", Decoding(max_tokens=9)),
        ("caption_a.by=http://127.0.0.1:1/v1#m", "caption_a", "by", named("http://127.0.0.1:1/v1#m")),
        ("where_clip_score.min=0.3", "where_clip_score", "min", 0.3),
    ],
)
def test_a_setting_is_a_value_of_the_parameters_type(setting, name, parameter, value):
    after = apply_settings(made(), [setting])
    assert getattr(step(after, name), parameter) == value and after.changes == (setting,)
    assert apply_settings(made(), []).changes == ()


def test_a_changed_step_still_reads_the_column_that_stands_for_the_text():
    after = step(apply_settings(made(), ["caption_words.min=5"]), "caption_words")
    assert after.reads == ("chosen_text",) and after.identity()["instead"] == "chosen_text"


def test_shards_can_be_set_and_steps_left_out():
    after = apply_settings(made(), ["shards.size=7"], ["language"])
    assert after.shards.size == 7 and "language" not in {s.name for s in after.steps}
    assert after.record()["changes"] == ["shards.size=7", "without language"]


@pytest.mark.parametrize(
    "settings, skip, says",
    [
        (["caption_word.min=5"], [], "no step called caption_word in recipe mine; did you mean caption_words?"),
        (["caption_words.mim=5"], [], "caption_words has no parameter mim; did you mean min?"),
        (["caption_words.name=5"], [], "caption_words has no parameter name"),
        (["caption_words.min=five"], [], "'five' is not a value of type float"),
        (["caption_words"], [], "write STEP.PARAMETER=VALUE"),
        (["caption_a.decoding=9"], [], "set one of decoding."),
        (["caption_words.min.x=9"], [], "min is 3 and has no parameters of its own"),
        (["language.min=0.5"], ["language"], "language is left out by --skip"),
        (["shards.size=0"], [], "the size must be 1 or more"),
        (["duplicate_uid.table=x"], [], "every recipe has this step"),
        ([], ["langage"], "no step called langage in recipe mine; did you mean language?"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said(settings, skip, says):
    with pytest.raises(RecipeError) as e:
        apply_settings(made(), settings, skip)
    assert says in str(e.value)


@pytest.mark.parametrize("name", ["coyo_700m", "obelics", "nguyen_mix"])
def test_every_setting_can_be_written_as_it_is_listed(name):
    recipe = load(name).checked()
    for owner, parameter, value in available(recipe):
        if value[:1].islower() or value[:1].isdigit():  # not what is a dataclass of its own
            after = apply_settings(recipe, [f"{owner}.{parameter}={value}"])
            assert (owner, parameter, value) in set(available(after))


def test_the_command_line_sets_plans_records_and_lists(tmp_path, capsys):
    pq.write_table(pa.table({"url": ["http://a.example/1.jpg"], "text": ["a dog on a lawn"]}), tmp_path / "list.parquet")
    argv = ["datacomp_basic", "--pairs", f"{tmp_path}/list.parquet", "--set", "caption_words.min=9", "shards.size=5"]
    argv += ["--skip", "aspect_ratio"]
    assert main(["plan", *argv]) == 0
    assert "changed: caption_words.min=9 · shards.size=5 · without aspect_ratio" in capsys.readouterr().out
    assert main(["run", *argv, "-o", f"{tmp_path}/run", "--engine", "local"]) == 0
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["changes"] == ["caption_words.min=9", "shards.size=5", "without aspect_ratio"]
    assert {s["step"]: s.get("min") for s in record["steps"]}["caption_words"] == 9
    assert main(["plan", *argv[:3], "--set", "image_sid.min=9"]) == 2
    assert "did you mean image_side?" in capsys.readouterr().err
    assert main(["plan", *argv[:3], "--skip", "fetch"]) == 2
    assert "--skip fetch: image_side, aspect_ratio read what it adds" in capsys.readouterr().err
    assert main(["recipes", "--settings", "datacomp_basic"]) == 0
    assert "image_side.min=200" in capsys.readouterr().out.splitlines()
    assert main(["recipes", "datacomp_basic"]) == 0
    assert "  image_side     min=200  max=none" in capsys.readouterr().out.splitlines()


def test_bash_completes_settings_of_the_recipe(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    code = "curate() { echo image_side.min=200; }; COMP_WORDS=(curate run mine --set im); _curate_settings im; _curate_steps im"
    out = subprocess.run(["bash", "-c", f"{script}\n{code}"], capture_output=True, text=True)
    assert out.stdout.split() == ["image_side.min=", "image_side"]
