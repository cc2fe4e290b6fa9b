# The server over HTTP: built in one stage, run in another that holds no build tools.
FROM python:3.12-slim AS build
ARG EXTRAS=ops,clickhouse
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY prompts prompts
COPY src src
# pip byte-compiles what it installs: the image starts in half the time.
RUN python -m venv /app \
    && /app/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /app/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[$EXTRAS]" \
    && /app/bin/pip uninstall --yes pip

FROM python:3.12-slim
COPY --from=build /app /app
# HOME is where `demo:` keeps its data. Tokens are no ENV here: mount files, see docs/deploy.md.
ENV PATH=/app/bin:$PATH \
    HOME=/tmp \
    GATEWAY_METRICS_TRANSPORT=http \
    GATEWAY_METRICS_HOST=0.0.0.0 \
    GATEWAY_METRICS_PORT=8000 \
    GATEWAY_METRICS_LOG_LEVEL=INFO \
    GATEWAY_METRICS_LOG_FORMAT=json
EXPOSE 8000
USER 10001:10001
# http.client, since urllib would ask HTTP_PROXY for the way to this very machine.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", "\
import http.client, os; \
door = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_METRICS_PORT']), timeout=2); \
door.request('GET', '/livez'); \
raise SystemExit(door.getresponse().status != 200)"]
ENTRYPOINT ["gateway-metrics-mcp"]
