"""Everything a user can cause to go wrong. `str(error)` is a plain sentence that the CLI and the page show as it is."""


class SrinError(ValueError):
    """Base of all errors caused by input; catch this one to show a message instead of a traceback."""


class ImageError(SrinError):
    """A picture can't be read: not an image, truncated, empty, or over the size limits."""


class MaskError(SrinError):
    """A mask doesn't fit its picture, or selects nothing, or selects everything."""


class PlacementError(SrinError):
    """The foreground lands nowhere on the background, or the placement's numbers make no sense."""


class UnknownMethod(SrinError):
    """No harmonization method of that name."""


class MissingWeights(SrinError):
    """The method exists, but its trained weights are not here. Random weights never make a picture."""


class WeightsError(SrinError):
    """A weights file is broken or belongs to another architecture."""


class SegmentationError(SrinError):
    """No mask or map could be made, or a checkpoint can't be had or read."""


class TookTooLong(SrinError):
    """Work was given up, or never begun, because its time had passed."""


class OutputError(SrinError):
    """A result can't be written where it was asked to go."""


class ProjectError(SrinError):
    """A project file isn't one, is damaged, too large or of a newer version, or lacks a part."""
