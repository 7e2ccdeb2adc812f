"""What a training is given besides its data: whom to learn from, and weights to begin with."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from archpress.training.distillation import Teacher
from archpress.training.recipe import TrainingRecipe
from archpress.training.weights import digest_of


@dataclass(frozen=True, eq=False)
class Given:
    """Named by digest in the recipe, so that the key of a run tells them.

    Attributes:
        teacher: Whom the recipe's distillation names; None for nobody.
        start: The state dict that the recipe's ``start`` names; None for fresh weights.
    """

    teacher: Teacher | None = None
    start: Mapping[str, Tensor] | None = None

    def check(self, recipe: TrainingRecipe) -> None:
        """Refuse anything but what a recipe names.

        Raises:
            ValueError: Teacher or weights are others, or missing.
        """
        named = recipe.distillation.teacher if recipe.distillation else ""
        if named != (self.teacher.digest if self.teacher else ""):
            raise ValueError("the teacher is not the one that the recipe names")
        if recipe.start != ("" if self.start is None else digest_of(self.start)):
            raise ValueError("the weights to begin with are not those that the recipe names")


NOTHING = Given()
