"""The classical methods: six classifiers of scikit-learn, with the settings that their documentation names as usual.

Imports scikit-learn only when a method is made.
"""

from collections.abc import Callable, Mapping
from typing import Any

from training.baselines.features import Kind

SEED = 0
WORDS_OF_BOOSTING = 1000
"""Gradient boosting takes no sparse matrix: it gets the words that tell most about the class."""


def _naive_bayes(kind: Kind) -> Any:
    from sklearn.naive_bayes import GaussianNB, MultinomialNB

    return MultinomialNB() if kind == "words" else GaussianNB(var_smoothing=1e-2)


def _logistic_regression(kind: Kind) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500, tol=1e-3)


def _support_vectors(kind: Kind) -> Any:
    """Radial basis functions for numbers; words are almost linearly separable (Joachims, ECML 1998)."""
    from sklearn.svm import SVC, LinearSVC

    return LinearSVC(random_state=SEED) if kind == "words" else SVC(C=10)


def _decision_tree(kind: Kind) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(min_samples_leaf=5, random_state=SEED)


def _random_forest(kind: Kind) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=SEED)


def _gradient_boosting(kind: Kind) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.feature_selection import SelectKBest, chi2
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    trees = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=SEED)
    if kind == "numbers":
        return trees
    return make_pipeline(SelectKBest(chi2, k=WORDS_OF_BOOSTING), FunctionTransformer(_dense, accept_sparse=True), trees)


def _dense(matrix: Any) -> Any:
    return matrix.toarray()


METHODS: Mapping[str, Callable[[Kind], Any]] = {
    "naive Bayes": _naive_bayes,
    "logistic regression": _logistic_regression,
    "support vector machine": _support_vectors,
    "decision tree": _decision_tree,
    "random forest": _random_forest,
    "gradient boosting": _gradient_boosting,
}
"""Name -> what makes the classifier for a kind of features."""
