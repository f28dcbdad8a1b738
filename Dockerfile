# syntax=docker/dockerfile:1
# One image for every process of Corral:  docker build --target corral -t corral:local .
# The same with Claude Code in it:        docker build --target corral-claude -t corral:local .

FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# What we stand on changes less often than we do: a layer of its own. The image needs no pip.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/corral \
 && python -m pip --python /opt/corral/bin/python install --no-deps --require-hashes -r requirements.lock \
 && python -m pip install --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY api api
COPY cli cli
COPY migrations migrations
COPY shared shared
COPY workers workers
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && python -m pip --python /opt/corral/bin/python install --no-deps dist/*.whl

FROM python:3.13-slim-bookworm AS corral
LABEL org.opencontainers.image.title="Corral" \
      org.opencontainers.image.description="One HTTP API that runs a fleet of coding agents"
# git and openssh-client are the agents' tools; bubblewrap puts walls around them; tini hands signals on and reaps what
# nobody else does.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap ca-certificates git openssh-client tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 corral \
 && useradd --uid 10001 --gid 10001 --create-home corral \
 && install -d -o 10001 -g 10001 /var/lib/corral
COPY --from=build /opt/corral /opt/corral
ENV PATH=/opt/corral/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CORRAL_WORKSPACE_ROOT=/var/lib/corral
# Not the volume: corral reads .env where it starts, and agents may write what they like on their volume.
WORKDIR /opt/corral
VOLUME /var/lib/corral
EXPOSE 8420
USER 10001:10001
# Without -g: SIGTERM is for the worker alone, whose agents may finish their turn.
ENTRYPOINT ["tini", "--", "corral"]
CMD ["api"]
# Of the API, which runs where no command is given; compose and chart ask each process at its own port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["corral", "probe"]

FROM corral AS corral-claude
# hadolint ignore=DL3002
USER 0:0
COPY requirements-agents.lock /opt/agents/
# The wheel carries the `claude` program; its Python parts are not used, nor are the other agents of the lock.
RUN sed -n '/^claude-agent-sdk==/,/[^\\]$/p' /opt/agents/requirements-agents.lock > /opt/agents/claude.lock \
 && python -m pip install --no-cache-dir --no-deps --require-hashes --target /opt/agents/lib \
      -r /opt/agents/claude.lock \
 && ln -s /opt/agents/lib/claude_agent_sdk/_bundled/claude /usr/local/bin/claude
USER 10001:10001
