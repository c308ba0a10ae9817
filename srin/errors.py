"""Errors caused by input. `str(error)` is a plain sentence that the command line and the page show as it is."""


class SrinError(ValueError):
    """Base class of all errors caused by input; catch it to show a message instead of a traceback."""


class ImageError(SrinError):
    """A picture can't be read: not an image, truncated, empty, or over the size limits."""


class MaskError(SrinError):
    """A mask doesn't fit its picture, or selects nothing, or selects everything."""


class PlacementError(SrinError):
    """The foreground misses or hides the whole background, or the placement's numbers are out of range."""


class UnknownMethod(SrinError):
    """No harmonization method of that name."""


class MissingWeights(SrinError):
    """The method exists, but its trained weights are missing. Random weights are never used in their place."""


class WeightsError(SrinError):
    """A weights file is broken or belongs to another architecture."""


class SegmentationError(SrinError):
    """No mask or map could be made, or a checkpoint can't be found, downloaded or read."""


class TookTooLong(SrinError):
    """Work was stopped, or not started, because its time limit had passed."""


class OutputError(SrinError):
    """A result can't be written to the given place."""


class ProjectError(SrinError):
    """A project file isn't one, is damaged, too large or of a newer version, or lacks a part."""
