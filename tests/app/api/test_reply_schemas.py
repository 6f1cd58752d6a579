"""Every reply in the OpenAPI document has a schema that exists, and the replies of a service have its members."""

import asyncio

import pytest

from app.api.reply_schemas import SCHEMAS
from app.main import create_app
from app.settings import Settings


@pytest.fixture(scope="module")
def document():
    return asyncio.run(create_app(Settings()).api.built()).openapi()


def replies(document):
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            for kind, content in operation["responses"]["200"].get("content", {}).items():
                yield path, verb, kind, content


def test_every_reply_has_a_schema(document):
    without = [(path, verb) for path, verb, _, content in replies(document) if not content.get("schema")]
    assert without == []


def test_every_schema_that_is_named_exists_and_is_used(document):
    text = str(document["paths"])
    named = {name for name in document["components"]["schemas"] if f"#/components/schemas/{name}'" in text}
    assert set(SCHEMAS) <= named
    assert text.count("#/components/schemas/") == sum(text.count(f"#/components/schemas/{name}'") for name in named)


def test_operation_ids_are_unique(document):
    ids = [operation["operationId"] for verbs in document["paths"].values() for operation in verbs.values()]
    assert len(ids) == len(set(ids))
    assert {"predict", "predict_version", "predict_label", "infer", "infer_version", "generate_stream"} <= set(ids)
