//! What only shows when several keys are looked at together.

use super::Mode;
use super::check::Check;
use super::doors::Doors;
use super::fault::Fault;
use super::keys;
use super::place::{At, Place};
use crate::wire::access::PlaintextAuth;

impl Check<'_> {
    /// All checks across keys, on what is sound of each.
    pub(super) fn across(&mut self, mode: Option<&At<Mode>>, doors: &Doors, plaintext: PlaintextAuth) {
        self.places(doors);
        self.encryption(doors);
        match mode {
            Some(At { value: Mode::Open, .. }) => self.open_mode(doors),
            Some(At { value: Mode::Closed, place }) => self.closed_mode(place, doors, plaintext),
            None => {}
        }
    }

    /// At least one listener, and each place once.
    fn places(&mut self, doors: &Doors) {
        if doors.kinds().iter().all(|(key, _)| self.list(key).is_empty()) {
            let place = self.raw.value(&keys::SMTP).map_or(Place::Default, |written| written.place);
            let wrong = "is empty, and so is every other list below [listen]: the server would do nothing";
            self.fault::<()>(&place, &keys::SMTP, wrong);
        }
        let all: Vec<_> = doors.all().collect();
        for (i, (key, bind)) in all.iter().enumerate() {
            let earlier = all.iter().take(i).find(|(_, other)| other.value.clashes_with(&bind.value));
            if let Some((other_key, other)) = earlier {
                let wrong = format!("{} is taken by {} of {}", bind.value, other.value, other_key.path);
                let instead = "write another port, or remove one of the two";
                self.faults.push(Fault::new(&bind.place, key, wrong, instead));
            }
        }
    }

    /// Whether anything is written about TLS; whether it is sound is told elsewhere.
    fn has_tls(&self) -> bool {
        [&keys::CERTIFICATE, &keys::PRIVATE_KEY]
            .into_iter()
            .any(|key| self.text(key).is_some_and(|At { value, .. }| !value.is_empty()))
    }

    fn encryption(&mut self, doors: &Doors) {
        if self.has_tls() {
            return;
        }
        for (key, binds) in [(&keys::SUBMISSIONS, &doors.submissions), (&keys::POP3S, &doors.pop3s)] {
            if let Some(At { place, .. }) = binds.first() {
                let wrong = "begins with TLS, and there is no certificate";
                self.faults.push(Fault::new(place, key, wrong, certificate_wanted(place)));
            }
        }
    }

    fn open_mode(&mut self, doors: &Doors) {
        if self.flag(&keys::ALLOW_OPEN) {
            return;
        }
        for (key, bind) in doors.all().filter(|(_, bind)| !bind.value.is_local()) {
            let wrong = format!(
                "{} can be reached from other hosts, and in open mode whoever reaches it reads all mail",
                bind.value,
            );
            let instead = match &bind.place {
                Place::Environment(_) => format!(
                    "write 127.0.0.1, or set {}=closed, or {}=true if you mean it",
                    keys::MODE.variable(),
                    keys::ALLOW_OPEN.variable(),
                ),
                _ => "write 127.0.0.1, or below [accounts] mode = \"closed\", or there \
                      allow_open_on_network = true if you mean it"
                    .to_owned(),
            };
            self.faults.push(Fault::new(&bind.place, key, wrong, instead));
        }
    }

    fn closed_mode(&mut self, mode: &Place, doors: &Doors, plaintext: PlaintextAuth) {
        if self.list(&keys::DOMAINS).is_empty() {
            let place = self.raw.written(&keys::DOMAINS).map_or(mode, |written| &written.place);
            let like = match place {
                Place::Environment(_) => Place::Environment(keys::DOMAINS.variable()),
                _ => Place::Default,
            };
            let wrong = "is empty, so that closed mode would accept no mail";
            let instead = format!("write {}", keys::DOMAINS.assignment(&like, &keys::DOMAINS.example));
            self.faults.push(Fault::new(place, &keys::DOMAINS, wrong, instead));
        }
        if let Some(At { value, place }) = self.text(&keys::BARE_NEWLINE)
            && value == "normalise"
        {
            let wrong = "\"normalise\" is for open mode only";
            self.fault::<()>(&place, &keys::BARE_NEWLINE, wrong);
        }
        let named = self.text(&keys::HOSTNAME).is_some_and(|At { value, .. }| value != "localhost");
        if !named && doors.smtp.iter().any(|bind| !bind.value.is_local()) {
            let warning = "hostname: other servers are greeted as \"localhost\"; write the name of this host";
            self.warnings.push(warning.to_owned());
        }
        for bind in doors.lmtp.iter().filter(|bind| !bind.value.is_local()) {
            self.warnings.push(format!(
                "{}: whoever reaches {} hands mail over as a server of yours; a firewall should know them",
                keys::LMTP.path,
                bind.value,
            ));
        }
        if plaintext == PlaintextAuth::LocalOnly && !self.has_tls() {
            self.clear_passwords(doors);
        }
    }

    /// Without TLS nobody could log in from the network, and clients would try to in the clear.
    fn clear_passwords(&mut self, doors: &Doors) {
        for (key, binds) in [(&keys::SUBMISSION, &doors.submission), (&keys::POP3, &doors.pop3)] {
            for bind in binds.iter().filter(|bind| !bind.value.is_local()) {
                let wrong = format!("{} would let passwords cross the network in the clear", bind.value);
                let allow = match &bind.place {
                    Place::Environment(_) => format!("set {}=true", keys::ALLOW_PLAINTEXT_AUTH.variable()),
                    _ => "there allow_plaintext_auth = true".to_owned(),
                };
                let instead = format!("{}, or {allow} if you mean it", certificate_wanted(&bind.place));
                self.faults.push(Fault::new(&bind.place, key, wrong, instead));
            }
        }
    }
}

/// What to write for TLS, in the manner of whoever wrote at `place`.
fn certificate_wanted(place: &Place) -> String {
    match place {
        Place::Environment(_) => {
            format!("set {} and {}", keys::CERTIFICATE.variable(), keys::PRIVATE_KEY.variable())
        }
        _ => "below [tls] write certificate and private_key (for a trial `pillarbox tls dev` makes both)"
            .to_owned(),
    }
}
