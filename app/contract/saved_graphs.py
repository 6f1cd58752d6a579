"""Which graph of a SavedModel is run: it may have several, each with tags."""

from collections.abc import Collection, Sequence

from app.errors import VersionRefused

# Source: TensorFlow, tf.saved_model.SERVING. TensorFlow Serving runs the graph with this tag and no other.
SERVING_TAG = "serve"


def tags_to_load(graphs: Sequence[Collection[str]]) -> list[str] | None:
    """The tags by which TensorFlow finds the graph to run; None for the only one, whatever its tags are.

    Args:
        graphs: tags of each graph.

    Raises:
        VersionRefused: there is no graph, or none of several has the tag "serve" alone.
    """
    if not graphs:
        raise VersionRefused("it contains no graph")
    if len(graphs) == 1:
        return None
    if {SERVING_TAG} not in [set(tags) for tags in graphs]:
        found = ", ".join(str(sorted(tags)) for tags in graphs)
        raise VersionRefused(f"it has graphs with the tags {found}; one with the tag {SERVING_TAG!r} alone is run")
    return [SERVING_TAG]
