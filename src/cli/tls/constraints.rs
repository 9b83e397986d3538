//! What an authority of `tls dev` may vouch for (RFC 5280 §4.2.1.10): the names that it was made for,
//! and those that no site of the world has. Whoever gets at its key can then not pretend to be a
//! bank to a browser that was told to trust it.

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Domains that are reserved for tests and for networks of one's own.
const DOMAINS: [&str; 7] = ["localhost", "test", "example", "invalid", "internal", "local", "home.arpa"];

/// Networks of one's own: loopback, private, link-local.
const NETWORKS: [(&str, u8); 8] = [
    ("127.0.0.0", 8),
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("169.254.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
    ("fe80::", 10),
];

/// The constraints of a new authority for `names`.
pub(super) fn of(names: &[String]) -> NameConstraints {
    let domains = DOMAINS.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned()));
    let networks = NETWORKS.iter().filter_map(|(address, bits)| Some(subnet(address.parse().ok()?, *bits)));
    let given = names.iter().map(|name| match name.parse::<IpAddr>() {
        Ok(address) => subnet(address, if address.is_ipv4() { 32 } else { 128 }),
        Err(_) => GeneralSubtree::DnsName(domain(name).to_owned()),
    });
    // RFC 5280 §4.2.1.10: what is not permitted of a kind that is named here, clients refuse.
    NameConstraints {
        permitted_subtrees: domains.chain(networks).chain(given).collect(),
        excluded_subtrees: Vec::new(),
    }
}

/// The domain of a name; `*` stands for any name below it.
fn domain(name: &str) -> &str {
    name.strip_prefix("*.").unwrap_or(name)
}

fn subnet(address: IpAddr, bits: u8) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
}

/// The first of `names` that an authority, as DER, may not vouch for. One without constraints may
/// vouch for everything.
pub(super) fn first_refused<'a>(authority: &[u8], names: &'a [String]) -> Option<&'a String> {
    let (_, authority) = X509Certificate::from_der(authority).ok()?;
    let constraints = authority.name_constraints().ok()??;
    let permitted = constraints.value.permitted_subtrees.as_ref()?;
    names.iter().find(|name| !permitted.iter().any(|subtree| covers(&subtree.base, name)))
}

fn covers(base: &GeneralName<'_>, name: &str) -> bool {
    match (base, name.parse::<IpAddr>()) {
        (GeneralName::IPAddress(octets), Ok(IpAddr::V4(address))) => within(octets, &address.octets()),
        (GeneralName::IPAddress(octets), Ok(IpAddr::V6(address))) => within(octets, &address.octets()),
        (GeneralName::DNSName(base), Err(_)) => {
            let above = domain(name).strip_suffix(base);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        }
        _ => false,
    }
}

/// Whether an address is in a network, which stands as its address and its mask.
fn within(network: &[u8], address: &[u8]) -> bool {
    if network.len() != 2 * address.len() {
        return false;
    }
    let (base, mask) = network.split_at(address.len());
    address.iter().zip(base).zip(mask).all(|((octet, base), mask)| octet & mask == base & mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn authority(constraints: Option<NameConstraints>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.name_constraints = constraints;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    // proves: RFC 5280 §4.2.1.10
    #[test]
    fn an_authority_vouches_for_its_names_and_those_that_nobody_else_has() {
        let names = ["mail.example.org", "*.wild.example.net", "192.0.2.7", "2001:db8::7"].map(str::to_owned);
        let authority = authority(Some(of(&names)));
        for (name, may) in [
            ("mail.example.org", true),
            ("a.mail.example.org", true),
            ("example.org", false),
            ("notmail.example.org", false),
            ("*.wild.example.net", true),
            ("*.example.net", false),
            ("localhost", true),
            ("mx.test", true),
            ("*.test", true),
            ("atest", false),
            ("127.0.0.9", true),
            ("192.168.7.7", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::1", true),
            ("fd00::1", true),
            ("2001:db8::7", true),
            ("2001:db8::8", false),
        ] {
            assert_eq!(first_refused(&authority, &[name.to_owned()]).is_none(), may, "{name}");
        }
    }

    #[test]
    fn an_authority_from_before_there_were_constraints_vouches_for_everything() {
        assert_eq!(first_refused(&authority(None), &["example.com".to_owned()]), None);
    }
}
