"""From a recipe to an engine directory: fetch, inspect, quantize, compile, verify, manifest, install.

`build_engine` is the whole of it. It knows nothing of how an engine is run.
"""

from trident_build.pipeline import build_checkpoint, build_engine, build_steps
from trident_build.plan import plan_engine
from trident_build.progress import ConsoleProgress, Progress, Silent
from trident_build.recipe import Recipe, find_recipe, read_recipe
from trident_build.unfinished import resume_engine

__all__ = [
    "ConsoleProgress",
    "Progress",
    "Recipe",
    "Silent",
    "build_checkpoint",
    "build_engine",
    "build_steps",
    "find_recipe",
    "plan_engine",
    "read_recipe",
    "resume_engine",
]
