"""Headless Chromium for tests of pages: what a browser makes of a file."""

import shutil
import subprocess

import pytest

BINARY = next((p for n in ("chromium", "chromium-browser", "google-chrome", "chrome") if (p := shutil.which(n))), None)

needs_chromium = pytest.mark.skipif(BINARY is None, reason="no Chromium here: apt-get install chromium")


def chromium(*options: str, url: str, folder, seconds: int = 90) -> str:
    """Run it on one page, with no network to speak of; returns what it prints."""
    command = [
        BINARY,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder}/profile",
        *options,
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True).stdout


def dom(path, folder, *options: str) -> str:
    """The page's elements after its script ran."""
    return chromium("--dump-dom", *options, url=f"file://{path}", folder=folder)
