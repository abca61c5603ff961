//! The TLS client of camera and cloud: turns files into a rustls configuration, and errors into sentences that say what
//! to do.
//!
//! It opens no sockets and does not retry. Callers read the files for every connection, so a renewed certificate needs
//! no restart. The cryptography is ring, which builds for every Pi.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
pub use rustls::time_provider::DefaultTimeProvider;
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

/// The files of a TLS client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with trusted CA certificates; absent = the system's CA store.
    pub ca: Option<PathBuf>,
    /// The client certificate.
    pub identity: Option<Identity>,
}

/// A client certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM file with the certificate and any intermediate certificates.
    pub certificate: PathBuf,
    /// PEM file with the private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// The error for a file that cannot be used, or an empty CA store.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("read {what} {path}")]
    Read {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} contains no {what} in PEM format")]
    Empty { what: &'static str, path: PathBuf },
    #[error("{path} is damaged: it contains no valid {what}")]
    Damaged { what: &'static str, path: PathBuf },
    #[error("the key {key} does not match the certificate {certificate}, or its type is not supported")]
    Pair { certificate: PathBuf, key: PathBuf },
    #[error("the system's CA store is empty; name a file with trusted CA certificates")]
    NoAuthorities,
}

/// Reads the files and returns a configuration that trusts only their CAs, at the time of `now`.
///
/// Blocks while it reads a few small files.
///
/// # Errors
/// [`FileError`] if a file is missing or damaged; it names the file. Fix the file and connect again.
pub fn client(files: &TlsFiles, now: Arc<dyn TimeProvider>) -> Result<Arc<ClientConfig>, FileError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(files)?), provider.clone())
        .build()
        .map_err(|_| FileError::NoAuthorities)?;
    let config = ClientConfig::builder_with_details(provider, now)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .with_webpki_verifier(verifier);
    let Some(identity) = &files.identity else {
        return Ok(Arc::new(config.with_no_client_auth()));
    };
    let certificates = certificates("the certificate", &identity.certificate)?;
    let key = read("the key", &identity.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            FileError::Empty { what: "private key", path: identity.key.clone() }
        }
        _ => FileError::Damaged { what: "private key", path: identity.key.clone() },
    })?;
    config
        .with_client_auth_cert(certificates, key)
        .map(Arc::new)
        .map_err(|_| FileError::Pair {
            certificate: identity.certificate.clone(),
            key: identity.key.clone(),
        })
}

/// Returns a configuration that trusts no server, for client libraries that require one even without TLS.
pub fn trusting_nobody() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .with_root_certificates(RootCertStore::empty());
    Arc::new(config.with_no_client_auth())
}

fn authorities(files: &TlsFiles) -> Result<RootCertStore, FileError> {
    let mut store = RootCertStore::empty();
    let Some(path) = &files.ca else {
        let (known, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if known == 0 {
            Err(FileError::NoAuthorities)
        } else {
            Ok(store)
        };
    };
    for certificate in certificates("the authorities", path)? {
        store
            .add(certificate)
            .map_err(|_| FileError::Damaged { what: "authority", path: path.clone() })?;
    }
    Ok(store)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(what, path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| FileError::Damaged { what: "certificate", path: path.to_owned() })?;
    if certificates.is_empty() {
        return Err(FileError::Empty { what: "certificate", path: path.to_owned() });
    }
    Ok(certificates)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Read { what, path: path.to_owned(), source })
}

/// The wall clock with a lower bound. A Pi has no battery-backed clock and can start with a date before the
/// certificates were issued; it would then trust no server, not even a time server.
#[derive(Debug, Clone)]
pub struct ClockFloor(Arc<AtomicU64>);

impl ClockFloor {
    /// `seconds`: UTC since 1970, such as the time of the build.
    pub fn new(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    /// Raises the lower bound; an earlier time changes nothing.
    pub fn raise(&self, seconds: u64) {
        self.0.fetch_max(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for ClockFloor {
    fn current_time(&self) -> Option<UnixTime> {
        let floor = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Some(UnixTime::since_unix_epoch(floor.max(Duration::from_secs(UnixTime::now().as_secs()))))
    }
}

/// The reason why a TLS handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// The server's certificate is not trusted.
    Untrusted(String),
    /// The server rejected the client certificate, or requires one.
    Refused(String),
    /// The handshake failed for another reason.
    Failed(String),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(text) | Self::Refused(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// Finds a TLS error in the chain of causes and explains it; returns `None` if there is none.
///
/// `error`: the error of the library that connected.
pub fn classify(error: &(dyn Error + 'static)) -> Option<TlsFailure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(sentence(error));
        }
        // `io::Error::source` skips the error that it wraps, so that one is looked at first.
        let inside = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

fn sentence(error: &rustls::Error) -> TlsFailure {
    match error {
        rustls::Error::InvalidCertificate(error) => TlsFailure::Untrusted(untrusted(error)),
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                TlsFailure::Refused("the server requires a client certificate, and none is configured".to_owned())
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                TlsFailure::Refused(format!("the server rejected the client certificate: {alert:?}"))
            }
            _ => TlsFailure::Failed(format!("the server aborted the TLS handshake: {alert:?}")),
        },
        rustls::Error::InvalidMessage(_) => {
            TlsFailure::Failed("the server does not use TLS; is this the plaintext port?".to_owned())
        }
        other => TlsFailure::Failed(format!("TLS: {other}")),
    }
}

fn untrusted(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an unknown CA; the CA file must contain the one that signed it".to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is signed by a CA with the name of a trusted one but another key; was the CA replaced?"
                .to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another host name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for {}",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            expected.to_str()
        ),
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired {} days ago, by the clock of this computer",
            days(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate will be valid in {} days, by the clock of this computer, which may be wrong",
            days(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        other => format!("its certificate cannot be used: {other:?}"),
    }
}

/// rustls writes a name as `DnsName("broker.lan")`.
fn bare(name: &str) -> &str {
    let mut pieces = name.split('"');
    pieces.nth(1).unwrap_or(name)
}

/// Rounds up to whole days.
fn days(seconds: u64) -> u64 {
    seconds.div_ceil(24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn made_for(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn refused(files: &TlsFiles) -> String {
        let error = client(files, Arc::new(DefaultTimeProvider)).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key) = made_for("camera");
        let (_, other_key) = made_for("another");
        let (good, nothing) = (write("good.pem", &certificate), write("nothing.pem", "hello"));
        let broken = write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let ca = |path: &Path| TlsFiles { ca: Some(path.to_owned()), identity: None };
        assert!(client(&ca(&good), Arc::new(DefaultTimeProvider)).is_ok());
        assert!(refused(&ca(&folder.path().join("gone.pem"))).contains("gone.pem"));
        assert!(refused(&ca(&nothing)).contains("nothing.pem contains no certificate"));
        assert!(refused(&ca(&broken)).contains("broken.pem is damaged"));

        let (key, other_key) = (write("key.pem", &key), write("other.pem", &other_key));
        let identity = |key: &Path| TlsFiles {
            ca: Some(good.clone()),
            identity: Some(Identity { certificate: good.clone(), key: key.to_owned() }),
        };
        assert!(client(&identity(&key), Arc::new(DefaultTimeProvider)).is_ok());
        assert!(refused(&identity(&other_key)).contains("does not match"));
        assert!(refused(&identity(&nothing)).contains("contains no private key"));
    }

    #[test]
    fn the_time_is_never_below_the_floor() {
        let far = UnixTime::now().as_secs() + 1_000_000;
        let now = ClockFloor::new(1);
        let says = |now: &ClockFloor| now.current_time().unwrap().as_secs();
        assert!(says(&now) < far && says(&now) > 1_700_000_000);
        now.raise(far);
        assert_eq!(says(&now), far);
        now.raise(2);
        assert_eq!(says(&now), far);
    }

    #[test]
    fn a_tls_error_is_found_at_any_depth() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        let Some(TlsFailure::Untrusted(text)) = classify(&error) else {
            panic!("not found");
        };
        assert!(text.contains("unknown CA"), "{text}");
        assert_eq!(classify(&io::Error::other("no TLS here")), None);
    }
}
