"""Forests and boosted trees of scikit-learn, behind the same interface as everything else."""

from archpress.prediction.fold_ensemble import FoldEnsemble, Regressor

FOREST = {"n_estimators": 20, "max_features": 0.4, "n_jobs": 1}
"""Per fold, so that the ten together are a forest of 200."""


def extra_trees() -> FoldEnsemble:
    """Return extremely randomised trees (Geurts et al. 2006)."""
    return FoldEnsemble(_extra_trees)


def random_forest() -> FoldEnsemble:
    """Return a random forest (Breiman 2001)."""
    return FoldEnsemble(_random_forest)


def gradient_boosting() -> FoldEnsemble:
    """Return gradient-boosted trees (Friedman 2001), stochastic in rows and columns."""
    return FoldEnsemble(_gradient_boosting, count=5)


def _extra_trees(seed: int) -> Regressor:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(min_samples_leaf=2, random_state=seed, **FOREST)


def _random_forest(seed: int) -> Regressor:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(random_state=seed, **FOREST)


def _gradient_boosting(seed: int) -> Regressor:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(
        n_estimators=150, learning_rate=0.05, max_depth=3, subsample=0.6, max_features=0.3,
        random_state=seed,
    )  # fmt: skip
