# Manual pages, completions, and the figure of the unit. Read by tests/demo.
say "manual pages, completions, unit"
packaging/debian/build-pages "$pillarbox" >/dev/null
for page in target/pages/man1/*.1 target/pages/man5/*.5; do
    LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings=w -l "$page" >"$work/page" 2>"$work/warnings"
    [ ! -s "$work/warnings" ] || { cat "$work/warnings" >&2; die "$page has faults"; }
    [ -s "$work/page" ] || die "$page is empty"
    mandoc -T lint -W warning "$page" >"$work/warnings" || { cat "$work/warnings" >&2; die "$page has faults"; }
    ! grep -nE ' $' "$page" >&2 || die "$page has blanks at the end of a line"
done
"$pillarbox" --help | sed -nE '/^Commands:/,/^$/ s/^  ([a-z]+) .*/\1/p' | grep -v help >"$work/commands"
while read -r command; do
    [ -s "target/pages/man1/pillarbox-$command.1" ] || die "pillarbox $command has no manual page"
done <"$work/commands"
! grep -rq 'pillarbox.pages' target/pages || die "the command that nobody is told of is told of"
holds "$(wc -l <"$work/commands") commands and the configuration have manual pages without a fault"
complete='. target/pages/completions/pillarbox.bash; COMP_WORDS=(pillarbox acc); COMP_CWORD=1
    _pillarbox pillarbox acc pillarbox; echo "${COMPREPLY[*]}"'
[ "$(bash -c "$complete")" = account ] || die "bash does not complete pillarbox acc"
[ "$(fish -c 'source target/pages/completions/pillarbox.fish; complete -C "pillarbox acc"' | cut -f1)" = account ] ||
    die "fish does not complete pillarbox acc"
zsh -n target/pages/completions/_pillarbox || die "zsh cannot read its completions"
holds "bash and fish complete a command, and zsh reads its file"
figure="$(systemd-analyze security --offline=true config/pillarbox.service 2>/dev/null |
    sed -nE 's/.*Overall exposure level.*: ([0-9.]+) .*/\1/p')"
grep -qF "exposure level $figure" docs/host.md || die "docs/host.md does not tell the exposure level $figure"
holds "systemd-analyze security says $figure, as docs/host.md does"
