# One image for every service; the command decides which one it is.

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md deploy/requirements.lock ./
COPY schemas schemas
COPY producers producers
COPY consumers consumers
COPY streams streams
COPY analytics analytics
COPY millstream millstream
RUN python -m venv /opt/millstream \
 && /opt/millstream/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/millstream/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home millstream
COPY --from=build /opt/millstream /opt/millstream
ENV PATH=/opt/millstream/bin:$PATH PYTHONUNBUFFERED=1 MILLSTREAM_LOG_FORMAT=json
# Modules with handlers are mounted or copied here.
WORKDIR /app
USER millstream
ENTRYPOINT ["millstream"]
CMD ["--help"]
# docker-compose.yml and deploy/kubernetes have the health check of each service.
