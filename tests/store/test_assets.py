from dataclasses import dataclass

from curate.store.assets import localize, publish
from curate.store.atomic import Store
from curate.store.folder import fault


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
    assert list(assets) == [str(words)] and store.names("work/assets") == [assets[str(words)].removeprefix("work/assets/")]
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
    assert len(set(assets.values())) == 2 == len(store.names("work/assets"))


def test_a_model_s_folder_that_a_step_names_is_read_from_the_run_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, store = tmp_path / "model.v1", Store(tmp_path / "run")
    (model / "sub").mkdir(parents=True)
    (model / "blob").write_text("{}")
    (model / "open_clip_config.json").symlink_to("blob")
    (model / "sub/weights.bin").write_bytes(b"w" * 3000)
    (tmp_path / "pictures").mkdir()
    names = [str(model), f"{model}#quick_gelu", f"local-dir:{model}", str(tmp_path / "pictures")]
    assets = publish(store, [Step(model=name) for name in names])
    assert list(assets) == [str(model)] and fault(store, assets[str(model)]) == ""
    assert publish(store, [Step(model=str(model))]) == assets
    model.rename(tmp_path / "gone")
    for before, after in [(names[0], ""), (names[1], ""), (names[2], "local-dir:")]:
        step = Step(model=before)
        localize(store, assets, step)
        home, _, end = step.model.removeprefix("local-dir:").partition("#")
        assert step.model.startswith(after) and end == before.partition("#")[2]
        assert (tmp_path / home / "open_clip_config.json").read_text() == "{}"
        assert len((tmp_path / home / "sub/weights.bin").read_bytes()) == 3000
