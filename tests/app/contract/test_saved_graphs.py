"""Which of several graphs of a SavedModel is run."""

import pytest

from app.contract.saved_graphs import tags_to_load
from app.errors import VersionRefused


@pytest.mark.parametrize(
    ("graphs", "tags"),
    [
        ([["serve"]], None),
        ([["serve", "gpu"]], None),
        ([["serve"], ["serve", "tpu"]], ["serve"]),
        ([["train"], ["eval"], ["serve"]], ["serve"]),
    ],
)
def test_the_only_graph_is_run_or_the_one_for_serving(graphs, tags):
    assert tags_to_load(graphs) == tags


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ([], "it contains no graph"),
        (
            [["train"], ["tpu", "serve"]],
            r"it has graphs with the tags \['train'\], \['serve', 'tpu'\]; one with the tag 'serve' alone is run",
        ),
    ],
)
def test_without_one_the_savedmodel_is_refused(graphs, message):
    with pytest.raises(VersionRefused, match=message):
        tags_to_load(graphs)
