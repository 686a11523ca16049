import curate  # noqa: F401 - before Arrow is loaded, as by the command: it says where Arrow takes its memory from
