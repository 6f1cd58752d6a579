"""The layers of a network as a table: name, kind, output, parameters."""

from typing import Any


def layer_table(model: Any) -> list[dict[str, Any]]:
    """One row for each layer of a tf_keras.Model, in its order; the layers of a model within it follow it.

    ``output`` is the shape of one instance, as text; ``parameters`` counts those of the layer, and of all layers of a
    model. A layer that is used several times is one row.
    """
    rows = []
    for layer in model.layers:
        rows.append(
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "output": _shape(layer),
                "parameters": int(layer.count_params()),
            }
        )
        if hasattr(layer, "layers"):
            rows += [{**row, "name": f"{layer.name}/{row['name']}"} for row in layer_table(layer)]
    return rows


def _shape(layer: Any) -> str:
    """Sizes of each output after the batch; ``any`` where one is free, empty where a layer has several."""
    try:
        shapes = layer.output_shape
    except (AttributeError, RuntimeError):  # it is used several times, with different shapes
        return ""
    several = shapes if isinstance(shapes, list) else list(shapes.values()) if isinstance(shapes, dict) else [shapes]
    return "; ".join(" x ".join("any" if size is None else str(size) for size in shape[1:]) or "1" for shape in several)
