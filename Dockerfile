# The gateway as an image. Models are mounted, not copied:
#
#   docker build --tag torii .
#   docker run --init --stop-timeout 60 --publish 8000:8000 --volume "$PWD/model_repo:/models:ro" torii
#
# What follows the image's name are flags of `torii serve`. Settings are TORII_… variables, or a torii.toml mounted as
# /etc/torii/torii.toml.

ARG PYTHON_IMAGE=python:3.11-slim

# ── build: a virtual environment with Torii's wheel in it ───────────────────────────────────────────────────────
FROM ${PYTHON_IMAGE} AS build

# Which backends: extras of pyproject.toml, separated by commas. EXTRAS=onnx,tflite makes a small image.
ARG EXTRAS=all
# Plain torch would bring gigabytes of CUDA. Other values: cu128 and the like, where the image is to use a GPU.
ARG UV_TORCH_BACKEND=cpu
# Bytecode is compiled here: the user of the image cannot write it, and each worker would compile its imports anew.
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/torii

RUN pip install --no-cache-dir --disable-pip-version-check uv \
 && uv venv --python /usr/local/bin/python3 "$VIRTUAL_ENV"

WORKDIR /src
# The dependencies in a layer of their own: a change of the code does not install gigabytes again.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip install --constraint constraints.txt --requirements pyproject.toml \
      $(echo ",${EXTRAS}" | sed 's/,/ --extra /g')

COPY README.md ./
COPY adapters adapters
COPY gateway gateway
COPY loadtests loadtests
# The last line is a check: the gateway has to start with the chosen extras alone.
RUN --mount=type=cache,target=/var/cache/uv \
    uv build --wheel --out-dir /dist . \
 && uv pip install --no-deps /dist/*.whl \
 && cd / && /opt/torii/bin/python -c "import gateway.app"

# ── run: the same Python and the environment, no compilers ──────────────────────────────────────────────────────
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="Torii" \
      org.opencontainers.image.description="One gate to every model: four frameworks, one repository, one API"

# A fixed number: what is mounted can be given to it, and orchestrators can see that it is not root. Its home is /tmp,
# the one place where it may write.
RUN groupadd --gid 10001 torii \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin torii \
 && mkdir /etc/torii

COPY --from=build /opt/torii /opt/torii

# Inference on all interfaces of the container. Control stays on its loopback, since it has no authorization:
# `docker exec CONTAINER torii status` works. To expose it to the host, and to the host alone:
#   --env TORII_CONTROL_HOST=0.0.0.0 --publish 127.0.0.1:8002:8002
ENV PATH=/opt/torii/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TORII_HOST=0.0.0.0

WORKDIR /etc/torii
USER 10001:10001
EXPOSE 8000 8001

# Ready is: everything in the repository is loaded or has failed. Loading may take minutes with all backends.
# For another port set TORII_HTTP_PORT, not --http-port: this check reads the variable. A proxy is not for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "-I", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('TORII_HTTP_PORT', '8000') + '/v2/health/ready', timeout=4)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["torii", "serve", "/models"]
