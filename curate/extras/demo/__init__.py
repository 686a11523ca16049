"""Real image-text pairs, laid out as a small web with the web's faults, and the truth about it.

`build(folder)` fetches packages by name and lays the web out; `web.serve()` serves it; `curate.extras.demo.truth` measures a run.
"""


def __getattr__(name: str):
    """`build`, `DemoWeb` and `WebError` are loaded when first asked for: importing this package costs nothing."""
    if name in ("build", "DemoWeb", "WebError"):
        from curate.extras.demo import web

        return getattr(web, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
