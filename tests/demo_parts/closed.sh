# compose.closed.yaml: accounts, passwords, TLS with a verified certificate. Read by tests/demo.
say "docker compose -f compose.closed.yaml up"
DEMO_SUBMISSION_PORT="$(free_port)"
DEMO_SUBMISSIONS_PORT="$(free_port)"
DEMO_POP3S_PORT="$(free_port)"
export DEMO_SUBMISSION_PORT DEMO_SUBMISSIONS_PORT DEMO_POP3S_PORT
bring_up "$work/closed.log" -f compose.closed.yaml
cat "$work/closed.log"
for line in '/certs/tls/cert.pem' 'added alice@example.org' 'added bob@example.org' \
    'submission with STARTTLS and AUTH: +250 2.0.0' 'submission with TLS from the first byte: +250 2.0.0' \
    'mail from another server: +250 2.0.0' 'a stranger who wants to send elsewhere: +550 5.7.1' \
    'a wrong password: +535 5.7.8' 'Without the authority curl goes no further: curl: \(60\)' \
    'pillarbox.*session ended retrieved=3 deleted=3 reason="quit"'; do
    tells "$work/closed.log" "$line"
done
holds "accounts submit and read over verified TLS; strangers and guessers are refused"
bring_down -f compose.closed.yaml
bring_up "$work/closed.log" -f compose.closed.yaml
tells "$work/closed.log" 'alice@example.org is an account already and stays as it is'
docker compose -f compose.closed.yaml down -v >/dev/null 2>&1
wait "$up" || true
holds "it comes up again on the accounts and the authority that are there"
