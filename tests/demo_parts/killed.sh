# `docker kill` in the middle of deliveries, and what is there afterwards. Read by tests/demo.
say "docker kill in the middle of deliveries"
port_of() { docker port "$tag-one" "$1" | head -n 1 | sed 's/.*://'; }
docker run -d --name "$tag-one" "${confined[@]}" -v "$tag-kept:/data" \
    -p 127.0.0.1::1025 -p 127.0.0.1::1110 "$DEMO_IMAGE" >/dev/null
docker exec "$tag-one" pillarbox ready --wait 20s >/dev/null
python3 tests/demo_parts/kill.py send "$(port_of 1025)" "$work/note" docker kill "$tag-one"
docker start "$tag-one" >/dev/null
docker exec "$tag-one" pillarbox ready --wait 20s >/dev/null
docker exec "$tag-one" pillarbox verify
holds "the store is whole after docker kill"
python3 tests/demo_parts/kill.py read "$(port_of 1110)" "$work/note"
holds "what was acknowledged is there after docker kill, and nothing is there in part"
docker rm -f -v "$tag-one" >/dev/null
