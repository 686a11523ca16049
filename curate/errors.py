"""Exceptions of curate. Each message names the stage, part or file, the cause and, if there is one, the row."""


class CurateError(Exception):
    """Base class of the expected errors; the command line prints their message without a traceback."""

    retry = False  # whether another attempt at the same call may succeed
    broken = False  # whether the worker that raised it is of no further use


class RecipeError(CurateError):
    """The recipe, its parameters or the output folder are wrong; raised before any worker starts."""


class PartError(CurateError):
    """A part could not be computed; names the stage, the part and the first uid of the rows being processed."""

    def __init__(self, stage: str, part: str, uid: str | None, cause: str):
        self.stage, self.part, self.uid, self.cause = stage, part, uid, cause
        at = f", first uid {uid}" if uid else ""
        super().__init__(f"stage {stage}, part {part}{at}: {cause}")

    def __reduce__(self):
        return PartError, (self.stage, self.part, self.uid, self.cause)


class PoolError(CurateError):
    """The pool, its ledger or its shards are missing, damaged or inconsistent; names the file and the fault."""
