# The service on the CPU, with the models of this checkout.
#   docker build -t atelier .
#   docker run -p 8000:8000 atelier
FROM python:3.12-slim

WORKDIR /atelier
COPY requirements/serve.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/serve.txt

COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY training/__init__.py training/
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
COPY models models

RUN useradd --no-create-home atelier
USER atelier
ENV ATELIER_HOST=0.0.0.0 ATELIER_LOG_FORMAT=json ATELIER_DRAIN_DELAY_S=5 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=2s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready')"]
ENTRYPOINT ["python", "-m", "app", "serve"]
