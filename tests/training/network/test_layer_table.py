from training.network.layer_table import layer_table


def test_a_table_has_each_layer_and_those_of_models_inside_it():
    import tf_keras
    from tf_keras import layers

    inner_in = layers.Input((4,), name="inner_in")
    inner = tf_keras.Model(inner_in, layers.Dense(3, name="inner_dense")(inner_in), name="inner")
    ids = layers.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(10, 4, name="embedding")(ids)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    model = tf_keras.Model(ids, inner(x))
    rows = [tuple(row.values()) for row in layer_table(model)]
    assert rows == [
        ("ids", "InputLayer", "any", 0),
        ("embedding", "Embedding", "any x 4", 40),
        ("mean", "GlobalAveragePooling1D", "4", 0),
        ("inner", "Functional", "3", 15),
        ("inner/inner_in", "InputLayer", "4", 0),
        ("inner/inner_dense", "Dense", "3", 15),
    ]


def test_a_scalar_input_is_one_number_and_a_layer_used_with_several_shapes_has_none():
    import tf_keras
    from tf_keras import layers

    scalar, rows = layers.Input((), name="scalar"), layers.Input((3,), name="rows")
    twice = layers.Activation("relu", name="twice")
    model = tf_keras.Model([scalar, rows], [twice(scalar), twice(rows)])
    outputs = {row["name"]: row["output"] for row in layer_table(model)}
    assert outputs == {"scalar": "1", "rows": "3", "twice": ""}
