"""The demo: a small local web of real image-text pairs with the faults of the real web, and the ground truth about it.

`build(folder)` downloads packages by name and builds the web; `web.serve()` serves it; `curate.extras.demo.truth` evaluates a run.
"""


def __getattr__(name: str):
    """Import `build`, `DemoWeb` and `WebError` on first use, so that importing this package is cheap."""
    if name in ("build", "DemoWeb", "WebError"):
        from curate.extras.demo import web

        return getattr(web, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
