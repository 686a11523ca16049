from dataclasses import dataclass

from curate.store.assets import localize, publish
from curate.store.atomic import Store


@dataclass
class Step:
    words: str = ""
    model: str = "ViT-B-32:openai"
    other: int = 3


def test_a_file_that_a_step_names_is_read_from_the_run_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words, store = tmp_path / "words.txt", Store(tmp_path / "run")
    words.write_text("cat\n")
    assets = publish(store, [Step(str(words)), Step(str(words)), Step()])
    assert list(assets) == [str(words)] and store.names("assets") == [assets[str(words)].removeprefix("assets/")]
    step = Step(str(words))
    localize(store, assets, step)
    assert step.words == str(words)  # it is here
    words.unlink()
    localize(store, assets, step)
    assert open(step.words).read() == "cat\n" and step.words.endswith(".txt") and step.model == "ViT-B-32:openai"
    again = Step(str(words))
    localize(store, assets, again)
    assert again.words == step.words


def test_another_file_of_the_same_name_is_another_asset(tmp_path):
    store = Store(tmp_path / "run")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "words.txt").write_text(folder)
    assets = publish(store, [Step(str(tmp_path / "a/words.txt")), Step(str(tmp_path / "b/words.txt"))])
    assert len(set(assets.values())) == 2 == len(store.names("assets"))
