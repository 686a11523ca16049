"""The documentation: every query answers, the commands for a cluster run on one, the site builds. Its other commands: test_every_command.py."""

import contextlib
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import fsspec
import pytest
from pictured import pictured, pool
from walk import blocks

from curate.cli import main, parse, reference
from curate.runner.recipes import names
from curate.view import views
from curate.view.run import open_run

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as the quickstart supposes it: a pool, and the recipe that recipes.md shows."""
    path = tmp_path_factory.mktemp("docs")
    pool(path)
    (path / "removed.csv").write_text("url\nhttp://host1.example/1.png?<b>\n")
    (path / "captions.py").write_text(next(b for b in blocks("docs/recipes.md", "python") if "def recipe" in b))
    return path


def test_the_page_of_commands_is_that_of_the_parsers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "")  # put back after the page has set it
    assert (DOCS / "cli.md").read_text() == reference.page(), "python -m curate.cli.reference > docs/cli.md"


def test_the_cluster_s_commands_are_commands(desk, monkeypatch):
    monkeypatch.chdir(desk)
    found = re.findall(r"curate run [^\"\n]*--address auto", (DOCS / "cluster.md").read_text())
    assert len(found) == 3
    for command in found:
        assert callable(parse(shlex.split(command)[1:]).command)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("queries")).store.url)


@pytest.mark.parametrize("query", blocks("docs/queries.md", "sql"), ids=lambda q: " ".join(q.split())[:40])
def test_every_query_answers(run, query, capsys):
    rows = run.sql(query).fetchall()
    assert bool(rows) != ("l.key where" in query and "full join" in query)  # the ledger and the shards must agree
    assert main(["sql", run.store.url, query]) == 0


def test_there_are_enough_queries_and_every_view_is_described():
    assert len(blocks("docs/queries.md", "sql")) >= 10
    assert all(f"| `{view}` |" in (DOCS / "queries.md").read_text() for view in views.VIEWS)


@pytest.fixture(scope="module")
def bucket():
    """An S3 server on loopback; its address and keys are in the environment, as on a machine that uses one."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    patch = pytest.MonkeyPatch()
    for key, value in {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(key, value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("docs-bucket")
    yield "s3://docs-bucket"
    patch.undo()
    server.stop()


def test_queries_run_over_s3(run, bucket, tmp_path):
    """The same views over an object store: every byte comes through the store's own file system; results go to files."""
    for part in ("recipe.json", "dataset.json", "ledger", "work/decisions", "shards"):
        fsspec.filesystem("s3").put(f"{run.store.url}/{part}", f"{bucket}/queries/run/{part}", recursive=True)
    elsewhere = open_run(f"{bucket}/queries/run")
    for query in blocks("docs/queries.md", "sql"):
        assert sorted(map(str, elsewhere.sql(query).fetchall())) == sorted(map(str, run.sql(query).fetchall()))
    query = "select uid, text, caption_words, fetched_at from images order by uid"
    for kind, read, url in (
        ("csv", "read_csv", run.store.url),
        ("parquet", "read_parquet", f"{bucket}/queries/run"),
        ("json", "read_json", run.store.url),
    ):
        assert main(["sql", url, query, "-o", str(tmp_path / f"all.{kind}")]) == 0
        rows = duckdb.sql(f"select uid, text, caption_words from {read}('{tmp_path}/all.{kind}')").fetchall()
        assert [(u, t or "", n) for u, t, n in rows] == [(u, t or "", n) for u, t, n, _ in run.sql(query).fetchall()]


NO_AGENT = "No available agent"
HEAD = """
import sys, ray
c = ray.init(num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1", dashboard_port=0, _temp_dir=sys.argv[1], log_to_driver=False)
print("at", c.dashboard_url, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def cluster():
    """A Ray cluster with a job server; its address."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        with subprocess.Popen(
            [sys.executable, "-c", HEAD, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            yield next(line.split()[1] for line in process.stdout if line.startswith("at "))
            process.stdin.close()
            process.wait(60)


def submitted(argv: list[str], seconds: float) -> subprocess.CompletedProcess:
    """The cluster answers before the node's agent that starts jobs is up."""
    until = time.monotonic() + seconds
    while True:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
        if NO_AGENT not in done.stdout + done.stderr or time.monotonic() > until:
            return done
        time.sleep(2)


def test_a_submitted_job_runs_on_the_cluster_and_keeps_its_run_on_s3(desk, bucket, monkeypatch):
    """The documented `ray job submit`, with this cluster's address and token and this bucket."""
    pytest.importorskip("aiohttp_cors", reason="Ray's job server comes with ray[default]")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    line = next(
        line for block in blocks("docs/cluster.md", "sh") for line in block.splitlines() if line.startswith("ray job submit")
    )
    fsspec.filesystem("s3").put(str(desk / "pool.tar"), f"{bucket}/pool/pool.tar")
    line = line.replace("s3://bucket", bucket).replace("captions.py", str(desk / "captions.py"))
    for _ in range(3):  # on a loaded machine an agent may die while it starts, and that cluster never has one
        with cluster() as head:
            submit, command = line.replace("http://localhost:8265", f"http://{head}").split(" -- curate ")
            ray, python = str(Path(sys.executable).parent / "ray"), [sys.executable, "-m", "curate.cli"]
            done = submitted([ray, *submit.split()[1:], "--", *python, *command.split()], seconds=60)
        if NO_AGENT not in done.stdout + done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept" in done.stdout and open_run(f"{bucket}/runs/first").dataset["samples"] == 39


def test_a_wrong_query_is_told_from_a_wrong_run(run, capsys):
    assert main(["sql", run.store.url, "select nothing from nowhere"]) == 2
    assert issubclass(duckdb.CatalogException, duckdb.Error) and "nowhere" in capsys.readouterr().err


def test_every_recipe_and_command_is_in_the_documentation():
    from curate.cli import COMMANDS

    words = "".join(p.read_text() for p in [*DOCS.glob("*.md"), ROOT / "README.md"])
    assert [n for n, _, _ in COMMANDS if f"curate {n}" not in words] == []
    assert "curate recipes" in words and names()


def test_the_site_builds(tmp_path):
    """Every link and every name of the reference is there (`strict`)."""
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    made = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert "curate.stage.Filter" in made and "min &lt;= score" in made


@pytest.mark.parametrize("file", ["raycluster.yaml", "ray-up.yaml"])
def test_the_cluster_s_files_are_yaml_of_their_kind(file):
    yaml = pytest.importorskip("yaml")
    made = yaml.safe_load((DOCS / "cluster" / file).read_text())
    if file == "raycluster.yaml":
        fewest = {g["groupName"]: g["minReplicas"] for g in made["spec"]["workerGroupSpecs"]}
        assert made["kind"] == "RayCluster" and fewest == {"cpu": 0, "gpu": 1}
        return
    import json

    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    assert not set(made) - set(schema["properties"]) and set(schema["required"]) <= set(made)


def test_the_gallery_says_where_a_recipe_differs():
    """Each recipe whose file says so is in the table, and the table names no other thing than recipes."""
    page = (DOCS / "recipes.md").read_text()
    table = page.split("### Where a recipe differs from its source")[1].split("\n\nRecipes for captions")[0]
    listed = {name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert listed <= set(names())
    docs = {name: (ROOT / "pipelines" / f"{name}.py").read_text().split('"""')[1] for name in names()}
    said = {name for name, doc in docs.items() if re.search(r"\b(Differs|Not here|is ours: --faults)\b", doc)}
    assert said <= listed, said - listed
