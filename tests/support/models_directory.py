"""Changes to a models directory, as an operator or the training package makes them."""

import json

from tests.support.tiny_models import write_brightness_model


def publish(models, version, spoil=lambda directory: None, *, bias=50.0):
    """Publish a version as the training package does: complete under a name with a dot, then renamed."""
    staged = write_brightness_model(models / ".staging", version=version, bias=bias)
    spoil(staged)
    staged.rename(models / "brightness" / str(version))


def write_policy(models, rollout, *, name="brightness", **labels):
    policy = {"version_labels": labels or {"stable": 1, "canary": 2}, "rollout": rollout}
    (models / name / "serving.json").write_text(json.dumps(policy))
