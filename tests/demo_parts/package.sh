# The Debian package under a real systemd: installed, configured, run, removed, purged. Read by tests/demo.
say "the Debian package"
cargo deb --quiet --no-build --fast --profile dist --target "$triple" -o "$work/pillarbox.deb" >/dev/null
dpkg-deb -c "$work/pillarbox.deb" | awk '{ print $1, $3, $6 }' | grep -v '/$'

in_host() { docker exec "$tag-host" "$@"; }
bob() { in_host curl -sS --max-time 30 -u "bob@example.org:a word of bob" "pop3://127.0.0.1:1110/$1"; }
docker run -d --name "$tag-host" -u 0 "$DEMO_CLIENTS_IMAGE" bash -c 'exec tail -f /dev/null' >/dev/null
in_host sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends systemd procps' \
    >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; die "systemd cannot be installed in a container"; }
docker commit -c 'CMD ["/lib/systemd/systemd"]' "$tag-host" "$tag:host" >/dev/null
docker rm -f "$tag-host" >/dev/null
# systemd wants a place among the control groups: of its own kind where the kernel has the old hierarchy.
groups=(-v /sys/fs/cgroup:/sys/fs/cgroup:ro)
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || groups=(--cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw)
docker run -d --name "$tag-host" -u 0 --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
    --security-opt apparmor=unconfined --tmpfs /run --tmpfs /run/lock "${groups[@]}" \
    -e DEBIAN_FRONTEND=noninteractive "$tag:host" >/dev/null
docker cp "$work/pillarbox.deb" "$tag-host:/pillarbox.deb" >/dev/null 2>&1
# Before it listens it cannot be asked to wait.
in_host timeout 60 sh -c 'until systemctl is-system-running --wait 2>/dev/null | grep -qE "running|degraded"
    do sleep 0.1; done' || die "systemd does not come up in a container"
install_package() {
    in_host apt-get install -q -y --no-install-recommends /pillarbox.deb >"$work/apt.log" 2>&1 ||
        { cat "$work/apt.log" >&2; die "the package cannot be installed"; }
}

install_package
[ "$(in_host systemctl is-enabled pillarbox.service || true)" = disabled ] || die "enabled unasked"
[ "$(in_host systemctl is-active pillarbox.service || true)" = inactive ] || die "started unasked"
[ "$(in_host stat -c '%a %U:%G' /etc/pillarbox/pillarbox.toml)" = "640 root:pillarbox" ] || die "wrong mode"
[ "$(in_host stat -c '%a %U:%G' /var/lib/pillarbox)" = "700 pillarbox:pillarbox" ] || die "wrong mode"
[ "$(in_host systemctl is-enabled pillarbox-backup.timer || true)" = disabled ] || die "a timer is enabled unasked"
in_host test -s /usr/share/doc/pillarbox/docs/keep.md || die "README.md of the package links to nothing"
! in_host systemctl start pillarbox 2>/dev/null || die "it starts without a domain"
in_host journalctl -q --no-pager -u pillarbox >"$work/journal"
tells "$work/journal" 'accounts.domains: is empty'
holds "installed, it is neither enabled nor started, and without a domain it says what is missing"

in_host sed -i -e 's/^hostname = .*/hostname = "mail.example.org"/' -e 's/^domains = .*/domains = ["example.org"]/' \
    -e 's/^pop3 = .*/pop3 = ["127.0.0.1:1110"]/' /etc/pillarbox/pillarbox.toml
in_host runuser -u pillarbox -- pillarbox check >/dev/null
in_host sh -c 'echo "a word of bob" |
    runuser -u pillarbox -- pillarbox account add bob@example.org --password-stdin' >/dev/null
in_host systemctl reset-failed pillarbox
in_host systemctl enable --now pillarbox 2>/dev/null ||
    { in_host journalctl -q --no-pager -u pillarbox; die "it does not start"; }
send_to_bob() {
    in_host swaks --server 127.0.0.1:25 --from a@example.com --to bob@example.org --body "$1" --silent 2
}
send_to_bob "through port 25"
bob 1 >"$work/bob.before"
tells "$work/bob.before" "through port 25"
[ "$(in_host systemctl show -P User pillarbox)" = pillarbox ] || die "it runs as another user"
in_host systemctl reload pillarbox || die "it cannot be reloaded"
in_host systemctl start pillarbox-backup || die "no backup can be made"
in_host systemctl stop pillarbox
in_host sh -c 'mkdir /var/lib/pillarbox/before && mv /var/lib/pillarbox/pillarbox.* /var/lib/pillarbox/before/ &&
    pillarbox restore /var/lib/pillarbox-backup/pillarbox-*.db' || die "the backup cannot be restored"
in_host systemctl start pillarbox
bob 1 | cmp "$work/bob.before" || die "the mail changed over a backup and its restore"
holds "the timer's backup, restored by root, is the mail of the server again"
in_host systemctl stop pillarbox
in_host systemctl enable --now pillarbox-smtp.socket 2>/dev/null
# The first connection starts the server.
send_to_bob "through a socket of systemd"
[ "$(bob '' | grep -c '^[0-9]')" = 2 ] || die "the socket of systemd brought no mail"
holds "the unit runs the server in its confines, on port 25 and through a socket of systemd"

in_host apt-get remove -q -y pillarbox >"$work/apt.log" 2>&1
[ "$(in_host systemctl is-active pillarbox.service || true)" = inactive ] || die "it runs on after its removal"
in_host test ! -e /usr/bin/pillarbox || die "the program is still there"
in_host test -e /var/lib/pillarbox/pillarbox.db || die "the removal took the mail away"
in_host test -e /etc/pillarbox/pillarbox.toml || die "the removal took the configuration away"
install_package
in_host systemctl start pillarbox
bob 1 | cmp "$work/bob.before" || die "the mail changed over removal and installation"
holds "removed, the mail stays, and a new installation finds it"

in_host apt-get purge -q -y pillarbox >"$work/apt.log" 2>&1
in_host test ! -e /etc/pillarbox/pillarbox.toml || die "the purge left the configuration"
in_host test -e /var/lib/pillarbox/pillarbox.db || die "the purge took the mail away without having asked"
tells "$work/apt.log" 'the mail stays in /var/lib/pillarbox'
install_package
in_host sh -c 'echo "pillarbox pillarbox/remove-mail boolean true" | debconf-set-selections'
in_host apt-get purge -q -y pillarbox >"$work/apt.log" 2>&1
in_host test ! -e /var/lib/pillarbox || die "the mail is there though its removal was asked for"
holds "purged, the mail stays unless the question is answered with yes"
