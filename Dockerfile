# The rosetta CLI with the interpreters that today's and the historic environments need, for who has only Docker.
#
#   docker build -t rosetta .
#   docker run --rm --hostname "$(hostname)" -v rosetta-home:/home/rosetta/cache -v rosetta-results:/home/rosetta/results rosetta run
#   docker run --rm --gpus all … rosetta run --device cuda     (with the NVIDIA container toolkit)
#
# Without --hostname or -e ROSETTA_MACHINE=NAME every container is another machine to the tables. Results go into the second
# volume; a folder of yours in its place must be writable by user 1000, or by the one of --user.
#
# Build arguments, each a name by which `docker build --build-arg NAME=VALUE` takes another one:
#   BUILD_BASE  compiles rosetta; needs cargo and a C compiler
#   BASE        runs it. Historic CUDA environments want CUDA from the system: --build-arg BASE=nvidia/cuda:… for them;
#               today's bring their own CUDA, and need --gpus all only
#   PYTHONS     CPythons that uv fetches; 3.6 and 3.7 have no managed build and come with BASE, or their targets are skipped
#   GPU         `1` makes jobs of CUDA what `rosetta run` plans where a GPU is: tells NVIDIA's runtime what to bring in
ARG BUILD_BASE=rust:1.95-bookworm
ARG BASE=rust:1.95-slim-bookworm
FROM ${BUILD_BASE} AS build
WORKDIR /project
COPY . .
RUN cargo build --release --locked

# Rust harnesses are compiled where they run, so the toolchain stays.
FROM ${BASE}
ARG PYTHONS="3.8 3.12"
ARG GPU=
# Read by NVIDIA's container runtime; empty for one without.
ENV NVIDIA_VISIBLE_DEVICES=${GPU:+all} NVIDIA_DRIVER_CAPABILITIES=${GPU:+compute,utility}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ gcc git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 rosetta && useradd --uid 1000 --gid 1000 --create-home rosetta
WORKDIR /project
COPY --from=build /project/target/release/rosetta /usr/local/bin/rosetta
COPY . .
# uv from its wheel, by the pins that rosetta itself has.
RUN echo uv==0.13.9 --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19 \
    --hash=sha256:5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe > /tmp/uv.txt \
    && python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/uv.txt \
    && ln -s /opt/uv/bin/uv /usr/local/bin/uv
ENV UV_PYTHON_INSTALL_DIR=/opt/python
RUN if [ -n "${PYTHONS}" ]; then uv python install --no-bin ${PYTHONS}; fi
RUN mkdir -p /home/rosetta/cache /home/rosetta/results && chown -R rosetta:rosetta /home/rosetta
ENV HOME=/home/rosetta ROSETTA_HOME=/home/rosetta/cache ROSETTA_RESULTS=/home/rosetta/results ROSETTA_PROJECT=/project \
    CARGO_HOME=/home/rosetta/cargo
USER rosetta
VOLUME ["/home/rosetta/cache", "/home/rosetta/results"]
ENTRYPOINT ["rosetta"]
CMD ["--help"]
