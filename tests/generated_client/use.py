"""Uses the generated client: ``python use.py URL``, in the directory of the generated package."""

import compileall
import importlib
import sys
from pathlib import Path
from typing import Any

PACKAGE = "atelier_client"
MODEL = "fashion-mnist-mlp"


def main(url: str) -> None:
    """Import every module, and send requests to the service in both protocols."""
    sys.path.insert(0, ".")
    if not compileall.compile_dir(PACKAGE, quiet=1):
        raise SystemExit("the generated client does not compile")
    for path in sorted(Path(PACKAGE).rglob("*.py")):
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    client = importlib.import_module(PACKAGE).Client(base_url=url)
    models: Any = importlib.import_module(f"{PACKAGE}.models")
    inference = f"{PACKAGE}.api.inference"

    image = [[0] * 28] * 28
    body = models.PredictRequest(instances=[image])
    predicted = importlib.import_module(f"{inference}.predict").sync(MODEL, client=client, body=body)
    scores = predicted.predictions[0]

    tensor = models.InferRequestInputsItem.from_dict(
        {"name": "pixels", "datatype": "UINT8", "shape": [1, 28, 28], "data": [image]}
    )
    asked = models.InferRequest(inputs=[tensor], id="7")
    inferred = importlib.import_module(f"{inference}.infer").sync(MODEL, client=client, body=asked)
    if (inferred.id, inferred.model_name, inferred.outputs[0].data) != ("7", MODEL, scores):
        raise SystemExit(f"infer answers {inferred}, predict {scores}")

    example = models.ExamplesRequest.from_dict({"examples": [{"pixels": image}]})
    classified = importlib.import_module(f"{inference}.classify").sync(MODEL, client=client, body=example)
    if classified.results[0][0][1] != max(scores):
        raise SystemExit(f"classify answers {classified}, predict {scores}")

    missing = importlib.import_module(f"{inference}.infer").sync("no-such", client=client, body=asked)
    if not isinstance(missing, models.Error) or "no-such" not in missing.error:
        raise SystemExit(f"an unknown model gives {missing}")
    print("predict, infer and classify agree; an unknown model is an Error")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
