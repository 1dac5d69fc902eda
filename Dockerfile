# Lookalike for the CPU: serves, indexes and searches; `--build-arg EXTRAS=train` also trains.
#   docker build -t lookalike .                                   GPU: --target gpu
#   docker run -p 8000:8000 -v lookalike:/data -v ~/Pictures:/pictures:ro lookalike
FROM python:3.11-slim AS build
ARG EXTRAS=""
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY train train
COPY export export
COPY index_data index_data
COPY search_server search_server
RUN python -m venv /opt/lookalike \
    # The wheel for GPUs is four times as large, and computes the same on a CPU.
    && sed -i '/onnxruntime-gpu>=/d; s/"onnxruntime>=\([^;]*\);.*"/"onnxruntime>=\1"/' pyproject.toml \
    && /opt/lookalike/bin/pip install --no-cache-dir --no-compile ".${EXTRAS:+[$EXTRAS]}"

FROM python:3.11-slim AS serving
RUN groupadd --gid 10001 lookalike \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data lookalike \
    && install -d -o lookalike -g lookalike /data
COPY deployment/entrypoint.sh /usr/local/bin/entrypoint
ENV PATH=/opt/lookalike/bin:$PATH \
    LOOKALIKE_HOME=/data \
    LOOKALIKE_SERVE_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /data
VOLUME /data
EXPOSE 8000
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["/usr/local/bin/entrypoint"]
CMD ["serve"]

FROM serving AS gpu
# CUDA's libraries come from the packages of `lookalike[cuda]`: the host needs a driver and the NVIDIA container toolkit.
USER root
COPY pyproject.toml README.md LICENSE CHANGELOG.md /source/
COPY train /source/train
COPY export /source/export
COPY index_data /source/index_data
COPY search_server /source/search_server
RUN python -m venv /opt/lookalike \
    && /opt/lookalike/bin/pip install --no-cache-dir --no-compile "/source[cuda]" \
    && rm -rf /source
USER 10001:10001
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM serving AS cpu
COPY --from=build /opt/lookalike /opt/lookalike
