"""Availability checks before a run: is a model in this machine's cache, or on the hub or web where it is published?"""

import os
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from curate.errors import RecipeError

#: Seconds to wait for a response.
TIMEOUT = 10.0


def on_hub(who: str, repository: str, files: Iterable[str], instead: str, revision: str = "main") -> None:
    """RecipeError unless one of the files is in the cache or in the repository on the hub. Nothing is downloaded.

    who: the stage, and instead: the remedy, for the message."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HFValidationError, RepositoryNotFoundError

    files = list(files)
    try:
        if any(isinstance(try_to_load_from_cache(repository, f, revision=revision), str) for f in files):
            return
        for file in files:
            try:
                get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), timeout=TIMEOUT)
                return
            except EntryNotFoundError:
                continue
    except GatedRepoError as e:
        raise RecipeError(f"{who}: {repository} is gated: accept its terms on the hub, and log in (hf auth login)") from e
    except RepositoryNotFoundError as e:
        raise RecipeError(f"{who}: the hub has no model {repository} that may be read; {instead}") from e
    except HFValidationError as e:
        raise RecipeError(f"{who}: {repository} is neither a folder here nor a name of the hub; {instead}") from e
    except Exception as e:
        raise RecipeError(
            f"{who}: not in this machine's cache, and {constants.ENDPOINT} cannot be read ({_first_line(e)}); {instead}"
        ) from e
    raise RecipeError(f"{who}: {repository} has none of {', '.join(files)}; {instead}")


def hugging_ready(who: str, name: str, instead: str, revision: str = "") -> None:
    """RecipeError unless a transformers model is a local folder with a `config.json`, or on the hub."""
    if not os.path.isdir(name):
        on_hub(who, name, ("config.json",), instead, revision or "main")
    elif not os.path.isfile(os.path.join(name, "config.json")):
        raise RecipeError(f"{who}: {name} has no config.json: no folder of transformers' format")


def on_web(who: str, url: str, cache: Path, instead: str) -> None:
    """RecipeError unless the file of a URL is in the cache folder, or the URL responds."""
    if (cache / os.path.basename(url)).is_file():
        return
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT):
            return
    except (OSError, ValueError) as e:
        raise RecipeError(f"{who}: not in {cache}, and {url} cannot be read ({_first_line(e)}); {instead}") from e


def _first_line(e: Exception) -> str:
    return (str(e).splitlines() or [type(e).__name__])[0][:120]
