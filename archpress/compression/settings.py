"""Settings of a run: a profile, a TOML file over it, flags over both; all checked at once."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from archpress.architectures.spaces import BLOCKS
from archpress.compression.constraints import ConstraintSettings, LatencySettings
from archpress.compression.guided.settings import GuidedSettings
from archpress.embedding.settings import CONFIGURATIONS, MIN_LABELLED, EmbeddingSettings
from archpress.errors import SettingsError, nearest
from archpress.training.precision import PrecisionChoice
from archpress.training.recipe import (
    DEFAULT_RECIPE,
    TrainingRecipe,
    recipe_for,
)

Amount = int | float | str
"""A number, or a share of the input network's: ``"10%"``, or a number below 1 such as 0.1."""

MANY = 1_000_000
LARGEST_SEED = 2**32 - 1

PROFILES = ("cpu", "demo", "paper")
UNION_BRANCHES = ("int", "float", "str")  # what pydantic calls the kinds that a value may have


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Table):
    """``[data]``: a built-in name, or a path; where its files lie; the validation share."""

    name: str = "digits"
    folder: str = ""
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)


class TrainedSettings(_Table):
    """``[trained]``: weights that the input network comes with, and what pixels they expect.

    Attributes:
        use: Whether weights that come with the network, by this setting or in a module, may stand
            in place of its training.
        weights: A state dict as ``.safetensors`` or as ``torch.save`` wrote it; empty for none.
        mean: Per channel, what is subtracted from pixels in [0, 1]; empty for the final recipe's.
        deviation: Per channel, what they are then divided by.
    """

    use: bool = True
    weights: str = ""
    mean: tuple[float, ...] = ()
    deviation: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _both(self) -> Self:
        if len(self.mean) != len(self.deviation):
            raise ValueError("mean and deviation need one number per channel each")
        return self


class SpaceSettings(_Table):
    """``[space]``: what is sampled, how large they may be; how many networks ``joint`` labels.

    ``blocks`` are the kinds that the space of that name draws from, ``global_pool`` says whether
    its networks may end in one. Amounts in per cent, or below 1, are shares of the input network.
    """

    name: Literal["paper", "blocks", "neighbourhood"] = "blocks"
    blocks: tuple[str, ...] = BLOCKS
    global_pool: bool = True
    networks: int = Field(default=160, ge=10)
    min_parameters: Amount = "0.5%"
    max_parameters: Amount = "100%"
    max_macs: Amount = "50%"
    max_activation_bytes: Amount = "100%"


_CHANGES = {"epochs", "images", "seeds", "batch_size", "learning_rate"}


class RecipeSettings(_Table):
    """``[label]``: a preset recipe by name, and what to change in it.

    With other ``epochs`` milestones move in proportion.
    """

    recipe: str
    epochs: int | None = None
    images: int | None = None
    seeds: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None

    def resolve(self, images: int = MANY) -> TrainingRecipe:
        """Return the recipe for a data set of so many training images.

        Raises:
            SettingsError: No such preset, or a value out of range.
        """
        changes = {k: v for k, v in self.model_dump(include=_CHANGES).items() if v is not None}
        preset = recipe_for(self.recipe, images)
        if self.epochs:
            preset = preset.lasting(self.epochs)
        return TrainingRecipe.model_validate({**preset.model_dump(), **changes})


class FinalSettings(RecipeSettings):
    """``[final]``: the recipe of base and compressed network.

    ``finalists`` of the best labelled candidates are trained by it; the best on validation is kept.
    With ``distillation`` above 0 they learn so much of their loss from the input network's outputs,
    softened by ``temperature``; that network itself is trained by labels alone.
    """

    finalists: int = Field(default=1, ge=1)
    distillation: float = Field(default=0.0, ge=0, le=1)
    temperature: float = Field(default=4.0, gt=0)


class SearchSettings(_Table):
    """``[search]``: the budget, the way to search, and the paper's descent and candidates.

    Attributes:
        method: ``guided`` searches in rounds, in the pretrained embedding, as ``[guided]`` says;
            ``joint`` learns an embedding of its own from labels and descends in that (paper). What
            follows but for ``target_parameters`` and ``parameter_weight`` is for ``joint``.
        target_parameters: p_0, the parameter budget; a count or a share of the input network. The
            result's exact count never exceeds it. ``0`` sets no bound (the paper's p_0 = 0). A
            profile's does not count where constraints are given.
        target_accuracy: a_0.
        parameter_weight: lambda of L_c.
        steps: Gradient steps.
        step_size: eta; with ``normalised`` steps in units of the mean distance between labelled
            networks in the embedding.
        step: ``gradient`` follows the gradient as it is (paper); ``normalised`` its direction.
        starts: Where to descend from: the input network, then the best labelled ones.
        candidates: Distinct decodings to label in each round.
        rounds: Descend and label so many times, fine-tuning the regressors in between.
        fine_tune_iterations: Iterations of the fine-tuning (section 5.3); 0 for none.
        fine_tune_learning_rate: Its learning rate.
        label_path: Label the distinct decodings of the first so many steps from the input network,
            to measure how far the regressors hold; they are never chosen for it. 0 for none.
        consider_labelled: Whether networks labelled for the fit may be chosen as well.
    """

    method: Literal["guided", "joint"] = "guided"
    target_parameters: Amount = "10%"
    target_accuracy: float = Field(default=1.0, ge=0, le=1)
    parameter_weight: float = Field(default=1.0, ge=0)
    steps: int = Field(default=40, ge=1)
    step_size: float = Field(default=0.05, gt=0)
    step: Literal["gradient", "normalised"] = "normalised"
    starts: int = Field(default=8, ge=1)
    candidates: int = Field(default=12, ge=1)
    rounds: int = Field(default=2, ge=1)
    fine_tune_iterations: int = Field(default=50, ge=0)
    fine_tune_learning_rate: float = Field(default=0.0003, gt=0)
    label_path: int = Field(default=0, ge=0)
    consider_labelled: bool = True


class ExecutionSettings(_Table):
    """``[execution]``: what changes how fast a run is, not what it means.

    ``device`` is where networks are trained: ``cuda`` is one GPU, ``auto`` that where there is one.
    Its numbers differ from a CPU's by rounding and by other random draws; no archive mixes them.
    ``onnx`` also writes ``compressed/model.onnx`` where the extra of that name is installed.
    """

    workers: int = Field(default=0, ge=0)
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    precision: PrecisionChoice = "auto"
    onnx: bool = True


class RunSettings(_Table):
    """Everything a run depends on. ``seed`` decides all randomness."""

    network: str
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    trained: TrainedSettings = TrainedSettings()
    data: DataSettings = DataSettings()
    space: SpaceSettings = SpaceSettings()
    label: RecipeSettings = RecipeSettings(recipe=DEFAULT_RECIPE)
    embedding: EmbeddingSettings = EmbeddingSettings()
    search: SearchSettings = SearchSettings()
    guided: GuidedSettings = GuidedSettings()
    constraints: ConstraintSettings = ConstraintSettings()
    latency: LatencySettings = LatencySettings()
    final: FinalSettings = FinalSettings(recipe="final-short")
    execution: ExecutionSettings = ExecutionSettings()

    @model_validator(mode="before")
    @classmethod
    def _choose_configuration(cls, values: Any) -> Any:
        """Let ``embedding.configuration = "paper"`` choose the defaults of that table."""
        table = values.get("embedding") if isinstance(values, dict) else None
        if not isinstance(table, dict) or "configuration" not in table:
            return values
        table = dict(table)
        configuration = table.pop("configuration")
        if str(configuration) not in CONFIGURATIONS:
            hint = nearest(str(configuration), CONFIGURATIONS)
            raise ValueError(f"unknown embedding configuration {configuration!r}{hint}")
        return {**values, "embedding": {**CONFIGURATIONS[configuration].model_dump(), **table}}

    @model_validator(mode="after")
    def _enough_to_learn_from(self) -> Self:
        networks = self.space.networks + 1  # the input network too
        learned = networks - round(self.embedding.held_out * networks)
        if self.search.method == "joint" and learned < MIN_LABELLED:
            raise ValueError(
                f"embedding.held_out leaves {learned} of {networks} networks to learn "
                f"from, expected at least {MIN_LABELLED}"
            )
        return self

    def comparable(self) -> dict[str, Any]:
        """Return the values that must agree for a run to be resumed.

        Where the data lie is none of them, nor by what path: their content is compared elsewhere.
        """
        values = self.model_dump(mode="json", exclude={"execution": True, "data": {"folder"}})
        values["data"]["name"] = Path(self.data.name).name
        return values


def read_amount(amount: Amount, whole: int, name: str) -> int:
    """Return an amount as a count; ``"10%"`` and 0.1 are of ``whole``.

    Raises:
        SettingsError: It is neither a count nor a share.
    """
    text = str(amount).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    is_share = text.endswith("%") or number < 1
    if not (0 <= number < float("inf") and (is_share or number.is_integer())):
        raise SettingsError(
            f"{name} is {amount!r}, expected a count such as 70000 or a share as 10% or 0.1"
        )
    if is_share:
        number *= whole / 100 if text.endswith("%") else whole
    return int(number)


def load_settings(
    profile: str, file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> RunSettings:
    """Return the settings of a profile, a TOML file over it and flags over both.

    Args:
        profile: ``cpu``, ``demo`` or ``paper``.
        file: A TOML file with the tables of :class:`RunSettings`; None for none.
        flags: Values by dotted name, such as ``{"search.steps": 5}``; None values do not count.

    Raises:
        SettingsError: An unknown profile or key (with the nearest), or a value out of range.
    """
    if profile not in PROFILES:
        raise SettingsError(f"unknown profile {profile!r}{nearest(profile, PROFILES)}")
    text = resources.files("archpress.compression").joinpath(f"profiles/{profile}.toml").read_text()
    values, changes = tomllib.loads(text), {} if file is None else _read_toml(file)
    for name, value in (flags or {}).items():
        if value is not None:
            *tables, key = name.split(".")
            nested: dict[str, Any] = {key: value}
            for table in reversed(tables):
                nested = {table: nested}
            _merge(changes, nested)
    if changes.get("constraints"):
        _merge(values, {"search": {"target_parameters": 0}})  # the profile's is nobody's wish
    _merge(values, changes)
    return parse_settings(values, str(file) if file else "settings")


def parse_settings(values: Mapping[str, Any], where: str) -> RunSettings:
    """Return checked settings, recipes resolved once to be sure they can be.

    Raises:
        SettingsError: One sentence for the first thing wrong.
    """
    try:
        settings = RunSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{where}: {_first_problem(error)}") from None
    for table, recipe in (("label", settings.label), ("final", settings.final)):
        try:
            recipe.resolve()
        except ValidationError as error:
            raise SettingsError(f"{where}: {_first_problem(error, table)}") from None
    return settings


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"settings file {file} cannot be read: {error}") from error


def _merge(values: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = dict(value) if isinstance(value, Mapping) else value


def _first_problem(error: ValidationError, *tables_above: str) -> str:
    problem = error.errors()[0]
    named = [part for part in problem["loc"] if part not in UNION_BRANCHES]
    path = ".".join(str(part) for part in (*tables_above, *named))
    if problem["type"] == "extra_forbidden":
        *tables, key = problem["loc"]
        return f"unknown key '{path}'{nearest(str(key), _keys(tuple(map(str, tables))))}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"'{path}' is {problem['input']!r}: {message}" if path else message


def _keys(tables: tuple[str, ...]) -> list[str]:
    model: type[BaseModel] = RunSettings
    for table in tables:
        annotation = model.model_fields[table].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation
    extra = ["configuration"] if model is EmbeddingSettings else []
    return [*model.model_fields, *extra]
