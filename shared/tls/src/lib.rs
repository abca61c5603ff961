//! TLS as camera and cloud both speak it to a broker or a server: files become a rustls configuration, and what goes
//! wrong becomes a sentence that says what to do.
//!
//! It opens no socket and decides nothing about trying again. Files are meant to be read anew for every connection, so
//! that a renewed certificate needs no restart. The cryptography is ring's, which builds for every Pi.

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
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

/// Whom to believe, and as whom to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities to believe, PEM; absent = those of this system.
    pub ca: Option<PathBuf>,
    /// What to show when the other side asks who one is.
    pub identity: Option<Identity>,
}

/// A client certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and any between it and the authority, PEM.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// A file that cannot be used, or a system that believes nobody.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("read {what} {path}")]
    Read {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no {what} in PEM form")]
    Empty { what: &'static str, path: PathBuf },
    #[error("{path} is damaged: no {what} can be made of it")]
    Damaged { what: &'static str, path: PathBuf },
    #[error(
        "the key {key} does not belong to the certificate {certificate}, or is of an unknown kind"
    )]
    Pair { certificate: PathBuf, key: PathBuf },
    #[error("this system has no certificates of authorities; name a file with those to believe")]
    NoAuthorities,
}

/// Reads the files and makes a configuration that believes only what they say, at the time `now` says.
///
/// Blocks for a few small files.
///
/// # Errors
/// [`FileError`] names the file.
pub fn client(
    files: &TlsFiles,
    now: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, FileError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(
        Arc::new(authorities(files)?),
        provider.clone(),
    )
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
        rustls::pki_types::pem::Error::NoItemsFound => FileError::Empty {
            what: "private key",
            path: identity.key.clone(),
        },
        _ => FileError::Damaged {
            what: "private key",
            path: identity.key.clone(),
        },
    })?;
    config
        .with_client_auth_cert(certificates, key)
        .map(Arc::new)
        .map_err(|_| FileError::Pair {
            certificate: identity.certificate.clone(),
            key: identity.key.clone(),
        })
}

/// A configuration that believes nobody, for clients that ask for one even where there is no TLS.
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
        let (known, _) =
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if known == 0 {
            Err(FileError::NoAuthorities)
        } else {
            Ok(store)
        };
    };
    for certificate in certificates("the authorities", path)? {
        store.add(certificate).map_err(|_| FileError::Damaged {
            what: "authority",
            path: path.clone(),
        })?;
    }
    Ok(store)
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(what, path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| FileError::Damaged {
            what: "certificate",
            path: path.to_owned(),
        })?;
    if certificates.is_empty() {
        return Err(FileError::Empty {
            what: "certificate",
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

/// The wall clock, but never earlier than a time that has certainly been: a Pi has no battery for its clock and wakes
/// with any date, and with one before the certificates were made it would believe nobody, not even who tells the time.
#[derive(Debug, Clone)]
pub struct ClockFloor(Arc<AtomicU64>);

impl ClockFloor {
    /// `seconds`: UTC since 1970, such as when the program was built.
    pub fn new(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    /// Another time that has certainly been; only a later one changes anything.
    pub fn raise(&self, seconds: u64) {
        self.0.fetch_max(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for ClockFloor {
    fn current_time(&self) -> Option<UnixTime> {
        let floor = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Some(UnixTime::since_unix_epoch(
            floor.max(Duration::from_secs(UnixTime::now().as_secs())),
        ))
    }
}

/// What went wrong between the two sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// The other side cannot prove who it is.
    Untrusted(String),
    /// The other side does not want our certificate, or wants one and got none.
    Refused(String),
    /// No TLS came about, for another reason.
    Failed(String),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(text) | Self::Refused(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// The sentence for what TLS has to do with an error, wherever in the chain of causes that is; `None` if nothing.
///
/// `error`: as the library that made the connection gave it.
pub fn classify(error: &(dyn Error + 'static)) -> Option<TlsFailure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(sentence(error));
        }
        // An I/O error with another inside calls the cause of that one its cause, and hides the one itself.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref());
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
            AlertDescription::CertificateRequired => TlsFailure::Refused(
                "the other side asks for a client certificate, and there is none".to_owned(),
            ),
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => TlsFailure::Refused(format!(
                "the other side does not take our client certificate: {alert:?}"
            )),
            _ => TlsFailure::Failed(format!("the other side ended TLS: {alert:?}")),
        },
        rustls::Error::InvalidMessage(_) => TlsFailure::Failed(
            "what answers there speaks no TLS; is it the port without TLS?".to_owned(),
        ),
        other => TlsFailure::Failed(format!("TLS: {other}")),
    }
}

fn untrusted(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate comes from an authority that is not believed here; the file of authorities must hold the one \
             that signed it"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate was signed by an authority of the same name as one that is believed here, but with another \
             key; was the authority made anew?"
                .to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another host name".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "its certificate is for {}, and not for {}",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            expected.to_str()
        ),
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate has expired {} days ago, by the clock of this computer",
            days(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is valid only in {} days, by the clock of this computer, which may be wrong",
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

/// Begun days count.
fn days(seconds: u64) -> u64 {
    seconds.div_ceil(24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::time_provider::DefaultTimeProvider;

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
        let (good, nothing) = (
            write("good.pem", &certificate),
            write("nothing.pem", "hello"),
        );
        let broken = write(
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        let ca = |path: &Path| TlsFiles {
            ca: Some(path.to_owned()),
            identity: None,
        };
        assert!(client(&ca(&good), Arc::new(DefaultTimeProvider)).is_ok());
        assert!(refused(&ca(&folder.path().join("gone.pem"))).contains("gone.pem"));
        assert!(refused(&ca(&nothing)).contains("nothing.pem holds no certificate"));
        assert!(refused(&ca(&broken)).contains("broken.pem is damaged"));

        let (key, other_key) = (write("key.pem", &key), write("other.pem", &other_key));
        let identity = |key: &Path| TlsFiles {
            ca: Some(good.clone()),
            identity: Some(Identity {
                certificate: good.clone(),
                key: key.to_owned(),
            }),
        };
        assert!(client(&identity(&key), Arc::new(DefaultTimeProvider)).is_ok());
        assert!(refused(&identity(&other_key)).contains("does not belong"));
        assert!(refused(&identity(&nothing)).contains("holds no private key"));
    }

    #[test]
    fn the_time_is_never_before_what_has_certainly_been() {
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
    fn an_error_is_found_however_deep_it_is() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        let Some(TlsFailure::Untrusted(text)) = classify(&error) else {
            panic!("not found");
        };
        assert!(text.contains("authority"), "{text}");
        assert_eq!(classify(&io::Error::other("no TLS here")), None);
    }
}
