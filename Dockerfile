# Everything the rules need in one image, for a CPU or for an NVIDIA card:
#   docker build --build-arg DEVICE=cpu --build-arg CPU_WHEELS=URL -t megaport:cpu .
#   docker build --build-arg DEVICE=cuda -t megaport:cuda .
# CPU_WHEELS is torch's own index of CPU builds: the package index has only CUDA builds for Linux.
ARG PYTHON=3.11-slim-bookworm
FROM python:${PYTHON}

ARG DEVICE=cpu
ARG CPU_WHEELS=""
COPY locks/base.lock locks/${DEVICE}.lock /locks/
RUN python -m pip install --no-cache-dir --require-hashes ${CPU_WHEELS:+--extra-index-url "${CPU_WHEELS}"} \
    -r /locks/base.lock -r "/locks/${DEVICE}.lock"

# Any user may run it (docker run --user), and make .snakemake beside the workflow.
RUN useradd --create-home --uid 1000 megaport && mkdir /megaport && chmod 1777 /megaport
ENV HOME=/tmp
WORKDIR /megaport
COPY --chown=megaport:megaport Snakefile config.yaml LICENSE ./
COPY --chown=megaport:megaport workflow workflow
COPY --chown=megaport:megaport profiles profiles
COPY --chown=megaport:megaport resources resources
COPY --chown=megaport:megaport envs envs
USER megaport
ENTRYPOINT ["snakemake"]
CMD ["-c1", "generate"]
