# The image of Pillarbox, built from source: `docker build -t pillarbox .`
#
# It holds one static program, one configuration file and an empty /data, and nothing else: no shell, no
# libraries, no users. The builder stage makes a program for the machine it runs on, so amd64 makes an
# amd64 image and arm64 an arm64 one; `docker buildx build --platform linux/amd64,linux/arm64` makes both.
# REVISION, CREATED, URL and SOURCE are for the labels, such as `--build-arg REVISION=$(git rev-parse HEAD)
# --build-arg CREATED=$(date -u +%FT%TZ)`; whoever publishes the image says where it comes from.
# packaging/docker/Dockerfile.prebuilt does the same from a program that is built already.

ARG RUST=rust:1.95-slim-bookworm
FROM ${RUST} AS built
WORKDIR /src
COPY . .
RUN built="$(packaging/static --bin pillarbox)" \
 && install -D "$built/pillarbox" /out/pillarbox \
 && install -D -m 0644 config/container.toml /out/pillarbox.toml \
 && install -d /out/data

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
# That of the version, unless whoever builds says when: the same source makes the same image.
ARG CREATED=2026-11-24T12:00:00Z
ARG URL=https://pillarbox.invalid
ARG SOURCE=https://pillarbox.invalid/pillarbox.git
LABEL org.opencontainers.image.title="Pillarbox" \
      org.opencontainers.image.description="A mail server in one binary: in over SMTP, out over POP3" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.url="${URL}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=built /out/pillarbox /usr/local/bin/pillarbox
COPY --from=built /out/pillarbox.toml /etc/pillarbox/pillarbox.toml
# A fresh volume takes its owner from here.
COPY --from=built --chown=10001:10001 /out/data /data
ENV PILLARBOX_DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 1025 1110
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --retries=3 CMD ["/usr/local/bin/pillarbox", "ready"]
ENTRYPOINT ["/usr/local/bin/pillarbox"]
CMD ["serve"]
