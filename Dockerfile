# crossrec on the CPU: docker build --tag crossrec .
# docs/how-to/container.md shows how to run it.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# The index of torch for CPUs alone; from pip's own, torch brings CUDA, several gigabytes.
ARG TORCH="torch>=2.6"
ARG TORCH_INDEX
ARG EXTRAS=minilm,search,serve,database,excel
RUN python -m venv /opt/crossrec \
    && /opt/crossrec/bin/pip install --no-cache-dir "$TORCH" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY crossrec_cli ./crossrec_cli
RUN /opt/crossrec/bin/pip install --no-cache-dir ".[$EXTRAS]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/crossrec /opt/crossrec
# Whoever runs it may write here; caches too, so that they are kept where the folder is mounted.
RUN mkdir --mode=1777 /data
ENV PATH=/opt/crossrec/bin:$PATH HOME=/data USER=crossrec
WORKDIR /data
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["crossrec"]
CMD ["--help"]
