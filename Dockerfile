# A small image in two stages: the first installs into a virtual environment, the second holds that environment and nothing to
# build with. For a release, give the base by digest: --build-arg BASE=python:3.13-slim-bookworm@sha256:...
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/autoscaler
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY autoscaler autoscaler
COPY plugins plugins
RUN /opt/autoscaler/bin/python -m pip install --constraint constraints.txt .

FROM ${BASE}
LABEL org.opencontainers.image.title="autoscaler" \
      org.opencontainers.image.description="An event-driven autoscaler and deployer for plain container hosts" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/autoscaler /opt/autoscaler
RUN install -d -o 10001 -g 10001 /var/lib/autoscaler
ENV PATH=/opt/autoscaler/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/autoscaler
USER 10001:10001
EXPOSE 9180
STOPSIGNAL SIGTERM
ENTRYPOINT ["autoscaler"]
CMD ["run"]
