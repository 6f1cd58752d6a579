"""What the arguments of the application refuse; needs no Ray."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from deploy.ray.arguments import Arguments

GROUPS = [{"name": "images", "models": ["a"]}, {"name": "texts", "models": ["b"]}]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"settings": {"port": 9000}}, "settings has 'port', but Ray Serve listens; state it in http_options"),
        ({"settings": {"workers": 2}}, "settings has 'workers', which a replica does not support; leave it out"),
        ({"settings": {"model_name": "a"}}, "settings has 'model_name'; state models_dir and the models of the groups"),
        ({"settings": {"load_models": "later"}}, "load_models"),
        ({"settings": {"no_such": 1}}, "no_such"),
        ({"groups": []}, "at least 1 item"),
        ({"groups": [{"gpus": 1}]}, "gpus"),
        ({"groups": [{"replicas": 2, "autoscaling": {}}]}, "group 'models' has replicas and autoscaling; give one"),
        ({"groups": [GROUPS[0], GROUPS[0]]}, "each needs a name of its own"),
        ({"groups": [GROUPS[0], {"name": "texts"}]}, "group 'texts' has no models"),
        ({"groups": [GROUPS[0], {"name": "b", "models": ["a"]}]}, "model 'a' is in the groups 'images' and 'b'"),
        ({"groups": GROUPS, "models_dir": "s3://bucket/models"}, "several groups require a directory"),
    ],
)
def test_mistakes_are_refused_with_a_sentence(arguments, reason):
    with pytest.raises(ValidationError, match=reason):
        Arguments(**arguments)


def test_a_directory_is_the_same_for_replicas_that_start_elsewhere_and_a_url_stays_as_it_is():
    assert Arguments(models_dir="models").models_dir == str(Path("models").absolute())
    assert Arguments(models_dir="s3://bucket/models").models_dir == "s3://bucket/models"
