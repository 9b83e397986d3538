# `docker compose up`, as a newcomer sees it: twice, with a look from the host. Read by tests/demo.
say "docker compose up"
DEMO_SMTP_PORT="$(free_port)"
DEMO_POP3_PORT="$(free_port)"
export DEMO_SMTP_PORT DEMO_POP3_PORT

# Brings a file's services up in the foreground, as people do, with the log in a file; returns once the reader
# is done. The log goes on until `down`.
bring_up() {
    local log="$1"
    shift
    : >"$log"
    started="$(milliseconds)"
    docker compose "$@" up --no-color >"$log" 2>&1 &
    up=$!
    # grep ends at the line that it waits for, and tail with the process that writes the log.
    timeout 120 grep -q -m 1 -E "reader.* exited with code" <(tail -n +1 -f --pid="$up" "$log") ||
        { cat "$log" >&2; die "the reader did not finish"; }
    grep -qE "reader.* exited with code 0" "$log" || { cat "$log" >&2; die "the reader failed"; }
}
bring_down() {
    docker compose "$@" down >/dev/null 2>&1
    wait "$up" || true
}
from_host() { curl -sS --max-time 30 -u "$1:any" "pop3://127.0.0.1:$DEMO_POP3_PORT/$2"; }

bring_up "$work/first.log"
docker logs -t "$(docker compose ps -q reader)" >"$work/reader.log" 2>&1
cat "$work/first.log"
for line in 'sender.*plain text +to bob@example.org +250 2.0.0 queued as' 'Subject: Grüße aus Zürich ✉' \
    'Schöne Grüße — 日本語 — ✓' 'Content-Disposition: attachment; filename="bill.csv"' \
    'sender.*one for two people +to bob@example.org,alice@example.org' \
    'pillarbox.*session ended retrieved=3 deleted=3 reason="quit"' \
    'Left in the mailboxes: alice 1, bob 0, carol 1\.'; do
    tells "$work/first.log" "$line"
done
holds "three kinds of mail went in, and out by mpop and curl"
first_mail="$(grep -m 1 'It has left' "$work/reader.log" | cut -d' ' -f1)"
printf '   first mail read %d ms after docker compose up\n' \
    $(($(date -d "$first_mail" +%s%N) / 1000000 - started))

docker compose ps -q pillarbox | xargs docker port >"$work/ports"
[ "$(grep -vc '127\.0\.0\.1:' "$work/ports" || true)" = 0 ] || die "a port is open to other machines"
swaks --server "127.0.0.1:$DEMO_SMTP_PORT" --from you@example.com --to dave@example.org \
    --body "From the host." --silent 2
from_host dave@example.org 1 >"$work/dave.before"
tells "$work/dave.before" "From the host"
holds "the ports are on this machine alone, and one can send and read from it"

bring_down
bring_up "$work/second.log"
tells "$work/second.log" 'Left in the mailboxes: alice 2, bob 0, carol 2\.'
from_host dave@example.org 1 >"$work/dave.after"
cmp "$work/dave.before" "$work/dave.after" || die "the mail changed over down and up"
docker compose restart pillarbox >/dev/null 2>&1
docker compose exec -T pillarbox pillarbox ready --wait 20s >/dev/null
from_host dave@example.org 1 | cmp "$work/dave.before" || die "the mail changed over a restart"
holds "what was not deleted is still there after down and up, and after a restart"
docker compose down -v >/dev/null 2>&1
wait "$up" || true
