# The filter for fail2ban, on lines that the server has just written. Read by tests/demo.
say "fail2ban"
for format in text json; do
    home="$work/logs-$format"
    mkdir "$home"
    printf '[listen]\nsmtp = []\npop3 = ["127.0.0.1:0"]\n[accounts]\nmode = "closed"\ndomains = ["example.org"]\n%s' \
        "[log]
format = \"$format\"" >"$home/pillarbox.toml"
    coproc SERVER { cd "$home" && exec "$pillarbox" serve 2>log; }
    server=$SERVER_PID
    read -r _ pop3 <&"${SERVER[0]}" || { cat "$home/log" >&2; die "the server did not start"; }
    guesses="$(python3 tests/demo_parts/guess.py "${pop3##*:}")"
    kill "$server"
    wait "$server" || true
    fail2ban-regex --out ip "$home/log" config/fail2ban/filter.d/pillarbox.conf | sort | uniq -c >"$home/addresses"
    [ "$(xargs <"$home/addresses")" = "$guesses 127.0.0.1" ] || {
        cat "$home/log" "$home/addresses" >&2
        die "fail2ban does not see $guesses failed logins from 127.0.0.1 and no others"
    }
    holds "fail2ban sees $guesses failed logins in the $format log, and takes no forged address"
done
