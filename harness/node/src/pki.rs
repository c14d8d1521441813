//! The credentials of one run: an authority of its own, and what it signs. Nothing is kept after the run.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long credentials last: longer than any run, short enough to be worthless afterwards.
const LIFETIME: Duration = Duration::hours(24);
/// How far back they begin, for clocks that differ between a machine and its engine.
const SLACK: Duration = Duration::minutes(5);

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

/// The certificate authority of one run.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What can go wrong in making credentials.
#[derive(Debug, thiserror::Error)]
#[error("making the run's certificates: {0}")]
pub struct PkiError(#[from] rcgen::Error);

impl Authority {
    /// A fresh authority (ECDSA P-256).
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(run: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = parameters(&format!("plimsoll {run}"), None);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(parameters, key) })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Credentials of a client: Kubernetes reads the user from `name` and the group from `group`.
    ///
    /// # Errors
    /// When they can not be made.
    pub fn client(&self, name: &str, group: &str) -> Result<Credentials, PkiError> {
        let mut parameters = parameters(name, Some(group));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(parameters)
    }

    /// Credentials of a server that is reached by these addresses and names.
    ///
    /// # Errors
    /// When they can not be made, or a name is not one.
    pub fn server(&self, name: &str, addresses: &[IpAddr], names: &[&str]) -> Result<Credentials, PkiError> {
        let mut parameters = parameters(name, None);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in addresses {
            parameters.subject_alt_names.push(SanType::IpAddress(*address));
        }
        for name in names {
            parameters.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        self.sign(parameters)
    }

    fn sign(&self, mut parameters: CertificateParams) -> Result<Credentials, PkiError> {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Credentials { certificate, key: key.serialize_pem() })
    }
}

/// A key for signing service account tokens: private and public, PEM.
///
/// # Errors
/// When no key can be made.
pub fn signing_key() -> Result<(String, String), PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn parameters(name: &str, group: Option<&str>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        parameters.distinguished_name.push(DnType::OrganizationName, group);
    }
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - SLACK;
    parameters.not_after = now + LIFETIME;
    parameters
}
