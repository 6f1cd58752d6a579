"""Version policies as the settings of TensorFlow Serving and Triton state them; both have the same choices."""

from typing import Any


def version_policy(stated: Any) -> dict[str, Any] | None:
    """The value of ``version_policy`` in serving.json; None if nothing is stated.

    Args:
        stated: ServableVersionPolicy of TensorFlow Serving, or ModelVersionPolicy of Triton.
    """
    which = stated.WhichOneof("policy_choice")
    if which == "latest":
        return {"latest": {"num_versions": stated.latest.num_versions or 1}}
    if which == "all":
        return {"all": True}
    if which == "specific":
        return {"specific": {"versions": list(stated.specific.versions)}}
    return None
