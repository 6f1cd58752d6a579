"""Networks for tables, by name. What was measured of the columns is part of the graph, so clients send raw values."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from training.bounds import Bounded, Count, ShareBelowOne, ZeroOrMore
from training.data.table_columns import CategoryColumn, FittedColumns, NumberColumn
from training.network.answers import answers_of
from training.recipe.recipe import Inherited, Signature

FARTHEST = 10.0
"""Numbers farther from the mean than this many deviations count as that far: one wrong digit decides less."""


@dataclass(frozen=True, kw_only=True)
class TableNetwork(Bounded):
    """Settings of a network for a table.

    Attributes:
        name: ``mlp``: dense layers. ``linear``: none, for a baseline, or with few rows.
        units: of each dense layer.
        embedding: most numbers for a category; a column with n categories has at most (n + 1) / 2.
        dropout: share of the features that are silenced in training after each layer.
        l2: weight of the sum of squared kernels in the loss.
    """

    name: Literal["mlp", "linear"] = "mlp"
    units: tuple[Count, ...] = (64, 32)
    embedding: Count = 8
    dropout: ShareBelowOne = 0.1
    l2: ZeroOrMore = 1e-4


def build_table_network(network: TableNetwork, signature: Signature) -> Any:
    """Numbers in deviations from the mean, categories as embeddings, dense layers; and an answer for each head."""
    import tf_keras
    from tf_keras import layers

    l2 = tf_keras.regularizers.L2(network.l2) if network.l2 else None
    columns, inputs = _columns(signature), _inputs(signature)
    features = [_numbers(columns.numbers, inputs)] if columns.numbers else []
    for column in columns.categories:
        width = min(network.embedding, (len(column.values) + 2) // 2)
        embedding = layers.Dense(width, use_bias=False, kernel_regularizer=l2, name=f"embedding_{column.name}")
        features.append(embedding(_category(column, inputs[column.name])))
    x = layers.Concatenate()(features) if len(features) > 1 else features[0]
    for number, units in enumerate(network.units if network.name == "mlp" else (), start=1):
        x = layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", kernel_regularizer=l2, name=f"hidden_{number}"
        )(x)
        x = layers.Dropout(network.dropout)(x) if network.dropout else x
    return tf_keras.Model(list(inputs.values()), answers_of(signature, x))


def in_own_unit(network: TableNetwork, model: Any, signature: Signature, inherited: Inherited) -> Any:
    """The network that answers with the target's own unit in place of deviations from its mean."""
    import tf_keras
    from tf_keras import layers

    columns, inputs = _columns(signature), _inputs(signature)
    given = model(list(inputs.values()))
    answers = []
    for name, answer in zip(model.output_names, given if isinstance(given, list) else [given], strict=True):
        scale = columns.scales.get(name if signature.heads else "")
        own = (
            layers.Rescaling(scale[1], offset=scale[0], name=name) if scale else layers.Activation("linear", name=name)
        )
        answers.append(own(answer))
    return tf_keras.Model(list(inputs.values()), answers)


def _columns(signature: Signature) -> FittedColumns:
    if signature.table is None:
        raise ValueError("a network for tables requires a TablePipeline")
    return signature.table


def _inputs(signature: Signature) -> dict[str, Any]:
    from tf_keras import layers

    return {each.name: layers.Input(each.shape, dtype=each.dtype, name=each.name) for each in signature.inputs}


def _numbers(columns: tuple[NumberColumn, ...], inputs: dict[str, Any]) -> Any:
    """(batch, numbers + those with missing values): deviations from the mean, and 1 for each missing value."""
    import tensorflow as tf
    from tf_keras import layers

    mean = np.array([column.mean for column in columns], np.float32)
    scale = np.array([1 / column.deviation for column in columns], np.float32)
    gaps = [place for place, column in enumerate(columns) if column.missing]

    def encode(tensors: list[Any]) -> Any:
        values = tf.stack(tensors, axis=1)
        missing = tf.math.is_nan(values)
        scaled = tf.clip_by_value((tf.where(missing, mean, values) - mean) * scale, -FARTHEST, FARTHEST)
        if not gaps:
            return scaled
        return tf.concat([scaled, tf.gather(tf.cast(missing, tf.float32), gaps, axis=1)], axis=1)

    return layers.Lambda(encode, name="numbers")([inputs[column.name] for column in columns])


def _category(column: CategoryColumn, text: Any) -> Any:
    """(batch, values): one-hot; all 0 for a text that the training did not have, so that its embedding is 0."""
    import tensorflow as tf
    from tf_keras import layers

    def encode(texts: Any) -> Any:
        return tf.cast(tf.equal(tf.expand_dims(texts, 1), tf.constant([list(column.values)])), tf.float32)

    return layers.Lambda(encode, name=f"one_hot_{column.name}")(text)
