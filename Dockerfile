# The rosetta CLI with the interpreters that today's and the historic environments need.
#
#   docker build -t rosetta .
#   docker run --rm --hostname "$(hostname)" -v rosetta-cache:/cache -v "$PWD/runs:/project/results/runs" rosetta run
#   (without --hostname or -e ROSETTA_MACHINE=NAME every container is another machine to the tables)
#   docker run --rm --gpus all … rosetta run --device cuda     (with the NVIDIA container toolkit)
FROM rust:1.95-bookworm AS build
WORKDIR /project
COPY . .
RUN cargo build --release --locked

# Rust harnesses are compiled where they run, so the toolchain stays.
FROM rust:1.95-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ gcc git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv
# CPython 3.6 has no managed build: CNTK is skipped in this image, with the reason.
RUN uv python install --no-bin 3.8 3.12
WORKDIR /project
COPY . .
COPY --from=build /project/target/release/rosetta /usr/local/bin/rosetta
ENV ROSETTA_HOME=/cache ROSETTA_PROJECT=/project
VOLUME /cache
ENTRYPOINT ["rosetta"]
CMD ["--help"]
