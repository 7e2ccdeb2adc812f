"""The paper's search: one embedding learned jointly with its regressors, then descent in it."""
