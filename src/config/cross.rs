//! What only shows when several keys are looked at together.

use super::Mode;
use super::bind::Bind;
use super::check::{At, Check};
use super::fault::{Fault, Place};
use super::keys;

impl Check<'_> {
    /// All checks across keys, on what is sound of each.
    pub(super) fn across(&mut self, mode: Option<&At<Mode>>, smtp: &[At<Bind>], pop3: &[At<Bind>]) {
        self.places(smtp, pop3);
        match mode {
            Some(At { value: Mode::Open, .. }) => self.open_mode(smtp, pop3),
            Some(At { value: Mode::Closed, place }) => self.closed_mode(place, smtp, pop3),
            None => {}
        }
    }

    /// At least one listener, and each place once.
    fn places(&mut self, smtp: &[At<Bind>], pop3: &[At<Bind>]) {
        if self.list(&keys::SMTP).is_empty() && self.list(&keys::POP3).is_empty() {
            let place = self.raw.value(&keys::SMTP).map_or(Place::Default, |written| written.place);
            let wrong = "is empty, and so is listen.pop3: the server would do nothing";
            self.fault::<()>(&place, &keys::SMTP, wrong);
        }
        let all: Vec<_> = smtp
            .iter()
            .map(|bind| (&keys::SMTP, bind))
            .chain(pop3.iter().map(|bind| (&keys::POP3, bind)))
            .collect();
        for (i, (key, bind)) in all.iter().enumerate() {
            let earlier = all.iter().take(i).find(|(_, other)| other.value.clashes_with(&bind.value));
            if let Some((other_key, other)) = earlier {
                let wrong = format!("{} is taken by {} of {}", bind.value, other.value, other_key.path);
                let instead = "write another port, or remove one of the two";
                self.faults.push(Fault::new(&bind.place, key, wrong, instead));
            }
        }
    }

    fn open_mode(&mut self, smtp: &[At<Bind>], pop3: &[At<Bind>]) {
        if self.flag(&keys::ALLOW_OPEN) {
            return;
        }
        for (key, binds) in [(&keys::SMTP, smtp), (&keys::POP3, pop3)] {
            for bind in binds.iter().filter(|bind| !bind.value.is_local()) {
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
    }

    fn closed_mode(&mut self, mode: &Place, smtp: &[At<Bind>], pop3: &[At<Bind>]) {
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
        if !named && smtp.iter().any(|bind| !bind.value.is_local()) {
            let warning = "hostname: other servers are greeted as \"localhost\"; write the name of this host";
            self.warnings.push(warning.to_owned());
        }
        for bind in pop3.iter().filter(|bind| !bind.value.is_local()) {
            let wrong = format!(
                "{} would let passwords cross the network in the clear: TLS is not in this version yet",
                bind.value,
            );
            let instead = "write 127.0.0.1:1110, behind a proxy that does TLS".to_owned();
            self.faults.push(Fault::new(&bind.place, &keys::POP3, wrong, instead));
        }
    }
}
