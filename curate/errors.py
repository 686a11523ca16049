"""Three errors. Each message names the place (stage, part or file), the cause and, where there is one, a row."""


class CurateError(Exception):
    """What curate raises on purpose; the command line prints its one line and no traceback."""


class RecipeError(CurateError):
    """The recipe, its parameters or the output folder are wrong; raised before any worker starts."""


class PartError(CurateError):
    """One part could not be computed: names the stage, the part and the first uid of the rows at work."""

    def __init__(self, stage: str, part: str, uid: str | None, cause: str):
        self.stage, self.part, self.uid, self.cause = stage, part, uid, cause
        at = f", first uid {uid}" if uid else ""
        super().__init__(f"stage {stage}, part {part}{at}: {cause}")

    def __reduce__(self):
        return PartError, (self.stage, self.part, self.uid, self.cause)


class PoolError(CurateError):
    """The pool, its ledger or its shards are not what they should be: names the file and the fault."""
