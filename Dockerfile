# One static binary in an empty image.
#
#   docker build -t switchback .
#   docker run -p 8080:8080 -v ./config:/etc/switchback:ro -v state:/var/lib/switchback switchback
#
# The config is /etc/switchback/switchback.yaml and says `state: { file: /var/lib/switchback }`.

# Alpine's own target is musl, so the binary is static on every platform without a word about it.
FROM rust:1.95.0-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
# The image's toolchain is the pinned one, only without rustfmt and clippy.
ENV RUSTUP_TOOLCHAIN=1.95.0
# Without symbols the image has a fifth of the size.
ENV CARGO_PROFILE_DIST_STRIP=symbols
RUN cargo build --profile dist --locked --bin switchback \
 && mkdir -p /out/state \
 && cp target/dist/switchback /out/switchback

FROM scratch
COPY --from=build /out/switchback /switchback
COPY --from=build --chown=65532:65532 /out/state /var/lib/switchback
COPY LICENSE /LICENSE
USER 65532:65532
VOLUME /var/lib/switchback
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["/switchback", "healthcheck"]
ENTRYPOINT ["/switchback"]
CMD ["serve", "-c", "/etc/switchback/switchback.yaml"]
