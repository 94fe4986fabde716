# The image every component runs in on Kubeflow, and Beam workers elsewhere. docs/deploy.md has the commands.
#
#   CPU:  docker build -t REGISTRY/mdenas .
#   GPU:  docker build -t REGISTRY/mdenas:gpu --build-arg BASE_IMAGE=nvidia/cuda:12.3.1-cudnn8-runtime-ubuntu22.04 .
#
# The base needs apt and a Python 3.10, its own or Ubuntu 22.04's. Pin it: a tag can be moved, NAME:TAG@sha256:DIGEST
# cannot. `docker buildx imagetools inspect NAME:TAG` prints the digest.
ARG BASE_IMAGE=python:3.10-slim-bookworm

# The tag is in the argument.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS base
ENV DEBIAN_FRONTEND=noninteractive
# Distributions drop old versions of a package, so pinning them here would break the build within weeks.
# hadolint ignore=DL3008
RUN if ! command -v python3.10 >/dev/null; then \
      apt-get update \
      && apt-get install --yes --no-install-recommends python3.10 python3.10-venv \
      && rm -rf /var/lib/apt/lists/*; \
    fi

# Several of TFX's dependencies come as source and need a compiler, which the image itself does not.
FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && if [ -x /usr/bin/python3.10 ]; then apt-get install --yes --no-install-recommends python3.10-dev; fi \
    && rm -rf /var/lib/apt/lists/*
RUN python3.10 -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.txt

FROM base
# Nothing here needs to be root. The launcher of Kubeflow Pipelines, which runs as the same user, keeps its copies of
# artifacts in the three folders.
RUN useradd --uid 10001 --create-home mdenas \
    && install --directory --owner=mdenas /gcs /s3 /minio
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
# What Beam's workers need, as options of a run on Flink or Spark name it.
COPY requirements.txt requirements.txt
COPY components components
COPY models models
COPY pipeline pipeline
# TF_USE_LEGACY_KERAS: TFX's own images set it to 1, and tensorflow-transform does so where it is not set; then KerasTuner
# and Keras 3 do not work.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_CPP_MIN_LOG_LEVEL=2 \
    TF_USE_LEGACY_KERAS=0
RUN python -m compileall -q /app
USER 10001
# Kubeflow gives each component's command, and a worker of Flink or Spark has beside it
#   python -m pipeline.worker_pool --port=50000
# Started by hand, the image says what it can do.
CMD ["python", "-m", "pipeline.local_runner", "--help"]
