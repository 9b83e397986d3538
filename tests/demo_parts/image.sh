# The image: what is in it, what it may do, how fast it stops. Read by tests/demo.
say "the image"
mkdir "$work/context"
cp "$pillarbox" "$work/context/pillarbox"
cp config/container.toml "$work/context/pillarbox.toml"
docker build -q --label "$tag" -f packaging/docker/Dockerfile.prebuilt -t "$DEMO_IMAGE" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" "$work/context" \
    >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; die "the image was not built"; }
docker build -q --build-arg "BASE=$base" -t "$DEMO_CLIENTS_IMAGE" demo >"$work/build.log" 2>&1 ||
    { cat "$work/build.log" >&2; die "the image of the clients was not built"; }

of_image() { docker image inspect -f "$1" "$DEMO_IMAGE"; }
octets="$(of_image '{{.Size}}')"
[ "$octets" -lt 15000000 ] || die "the image has $octets octets; it is to stay below 15 MB"
told="$(sed -nE 's/.*The image has ([0-9]+\.[0-9]) MB.*/\1/p' README.md)"
python3 -c "import sys; sys.exit(abs($octets / 1e6 - ${told:-0}) > 0.5)" ||
    die "README.md says ${told:-nothing} MB, and the image has $octets octets"
holds "it has $octets octets, as README.md says"
[ "$(of_image '{{.Config.User}} {{.Config.StopSignal}} {{.Config.Volumes}}')" = \
    "10001:10001 SIGTERM map[/data:{}]" ] || die "user, signal or volume of the image are others"
[ "$(of_image '{{index .Config.Labels "org.opencontainers.image.licenses"}}')" = "MIT OR Apache-2.0" ] ||
    die "the image has no labels"
date -d "$(of_image '{{index .Config.Labels "org.opencontainers.image.created"}}')" >/dev/null ||
    die "the image does not say when it was made"
docker create --name "$tag-one" "$DEMO_IMAGE" >/dev/null
docker export "$tag-one" | tar -tf - | grep -v '/$' | sort >"$work/files"
docker rm -v "$tag-one" >/dev/null
# What Docker itself puts into every container, apart from.
grep -vE '^(\.dockerenv|dev/console|etc/(hostname|hosts|resolv\.conf|mtab))$' "$work/files" >"$work/own"
[ "$(paste -sd ' ' "$work/own")" = "etc/pillarbox/pillarbox.toml usr/local/bin/pillarbox" ] ||
    { cat "$work/own" >&2; die "the image holds other files"; }
holds "it holds the program and its configuration, and nothing else"

confined=(--read-only --cap-drop ALL --security-opt no-new-privileges --user 10001:10001)
# Runs the image as Kubernetes' profile "restricted" does: fsGroup gives a volume to a group.
mkdir -m 2775 "$work/volume"
chown 0:10001 "$work/volume"
chmod 2775 "$work/volume"
docker run -d --name "$tag-one" "${confined[@]}" -v "$work/volume:/data" "$DEMO_IMAGE" >/dev/null
docker exec "$tag-one" pillarbox ready --wait 20s >/dev/null || { docker logs "$tag-one"; die "not ready"; }
holds "it runs read-only, without capabilities, as a user that is only a number, on a volume of its group"
# A client that only listens must not hold the end up.
address="$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$tag-one")"
exec 3<>"/dev/tcp/$address/1025"
read -r -t 10 <&3 || die "no greeting at $address:1025"
docker kill -s TERM "$tag-one" >/dev/null
[ "$(docker wait "$tag-one")" = 0 ] || die "SIGTERM does not end it well"
docker logs -t "$tag-one" >"$work/stopped.log" 2>&1
told_at="$(grep -m 1 "stopping on SIGTERM" "$work/stopped.log" | cut -d' ' -f1)"
ended_at="$(docker inspect -f '{{.State.FinishedAt}}' "$tag-one")"
took=$((($(date -d "$ended_at" +%s%N) - $(date -d "$told_at" +%s%N)) / 1000000))
[ "$took" -lt 1000 ] || die "it took $took ms to stop"
holds "it stops $took ms after SIGTERM, with a client connected, and exits 0"
exec 3>&-
docker rm -v "$tag-one" >/dev/null
/usr/bin/python3 tests/demo_parts/restricted.py docs/kubernetes.md ||
    die "the manifest in docs/kubernetes.md is not of the profile restricted"
holds "the manifest in docs/kubernetes.md asks for what the profile restricted wants"
