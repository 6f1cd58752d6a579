# The service, or the training tools, in a container. The last stage is the default.
#   docker build -t atelier .                          the service with ONNX Runtime for the CPU, at most 450 MB
#   docker build -t atelier --target cpu-savedmodel .  with TensorFlow too, for SavedModels
#   docker build -t atelier --target cpu-remote .      with the packages that read models from S3, the hub or the web
#   docker build -t atelier --target gpu .             with ONNX Runtime for CUDA and the libraries of CUDA
#   docker build -t training --target training .       atelier-training; the working directory is /work
#   docker run -p 8000:8000 atelier
# Another base needs CPython 3.11 to 3.13 as python3, with venv: --build-arg BASE=...
ARG BASE=python:3.12-slim-bookworm

# pip with the locked setuptools, which builds the wheel, and the environment that all images copy.
FROM ${BASE} AS tools
WORKDIR /src
COPY requirements requirements
RUN python3 -m venv --without-pip /opt/atelier && python3 -m venv /opt/pip \
    && awk '/^[a-z]/ {on = /^setuptools==/} on' requirements/serve.txt > setuptools.txt \
    && /opt/pip/bin/pip install --require-hashes -r setuptools.txt
# The locks for machines without a GPU: ONNX Runtime's build for the CPU has a fifth of the size.
RUN mkdir cpu && for lock in serve remote savedmodel train; do \
        awk '/^[a-z]/ {off = /^onnxruntime-gpu==/} !off' requirements/$lock.txt \
            | sed 's/^\(onnxruntime==[^ ]*\) ;.*/\1 \\/' > cpu/$lock.txt; \
    done

FROM tools AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY training training
COPY deploy/wheel deploy/wheel
RUN /opt/pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM tools AS built-cpu
COPY --from=wheel /wheel /wheel
RUN awk '/^[a-z]/ {off = /^setuptools==/} !off' cpu/serve.txt > lock.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --require-hashes -r lock.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --no-deps /wheel/*.whl

FROM tools AS built-cpu-remote
COPY --from=wheel /wheel /wheel
RUN awk '/^[a-z]/ {off = /^setuptools==/} !off' cpu/remote.txt > lock.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --require-hashes -r lock.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --no-deps /wheel/*.whl

FROM tools AS built-cpu-savedmodel
COPY --from=wheel /wheel /wheel
RUN /opt/pip/bin/pip --python /opt/atelier/bin/python install --require-hashes -r cpu/savedmodel.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --no-deps /wheel/*.whl

FROM tools AS built-gpu
COPY --from=wheel /wheel /wheel
RUN awk '/^[a-z]/ {off = /^setuptools==/} !off' requirements/gpu.txt > lock.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --require-hashes -r lock.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --no-deps /wheel/*.whl

FROM tools AS built-training
COPY --from=wheel /wheel /wheel
RUN /opt/pip/bin/pip --python /opt/atelier/bin/python install --require-hashes -r cpu/train.txt \
    && /opt/pip/bin/pip --python /opt/atelier/bin/python install --no-deps /wheel/*.whl

# What all images share. Nothing is written outside /tmp, so the root file system may be read-only.
FROM ${BASE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Atelier" \
      org.opencontainers.image.description="Serves verified Keras and ONNX models over REST and gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/atelier/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# For a volume, if ATELIER_STATE_DIR names it: a new volume takes its owner.
RUN install -d -o 10001 -g 10001 /var/lib/atelier
USER 10001:10001

FROM runtime AS training
WORKDIR /work
COPY --from=built-training /opt/atelier /opt/atelier
ENTRYPOINT ["atelier-training"]
CMD ["--help"]

FROM runtime AS service
WORKDIR /atelier
COPY models models
ENV ATELIER_HOST=0.0.0.0 ATELIER_LOG_FORMAT=json ATELIER_DRAIN_DELAY_S=5
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('ATELIER_PORT', 8000)}/v2/health/ready\", timeout=2)"]
ENTRYPOINT ["atelier"]
CMD ["serve"]

FROM service AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=built-gpu /opt/atelier /opt/atelier

FROM service AS cpu-remote
COPY --from=built-cpu-remote /opt/atelier /opt/atelier

FROM service AS cpu-savedmodel
COPY --from=built-cpu-savedmodel /opt/atelier /opt/atelier

FROM service AS cpu
COPY --from=built-cpu /opt/atelier /opt/atelier
