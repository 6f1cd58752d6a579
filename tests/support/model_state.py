"""Queries of the state of models and versions in a service."""


def reason(service, model):
    [entry] = [each for each in service.client.post("/v2/repository/index").json() if each["name"] == model]
    return entry["state"], entry.get("reason", "")


def serving(service, name="brightness"):
    return service.client.get(f"/v2/models/{name}").json().get("versions")


def entry(service, version, name="brightness"):
    """The entry of a version in the repository index."""
    for line in service.client.post("/v2/repository/index").json():
        if (line["name"], line["version"]) == (name, str(version)):
            return line
    return None


def loads(service, result, name="brightness"):
    return service.metric("atelier_model_loads_total", model=name, result=result)


def shadow(service, name="brightness"):
    return service.client.get(f"/v2/models/{name}/shadow").json()
