"""Members × devices: run one function for every member of an ensemble, however the platform does that best.

This room knows nothing of what a member is, and imports nothing of deepest.
"""

from deepest.ensemble._spread import spread as spread
