//! A certificate authority for one test: it signs valid certificates, and others that nothing should trust.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// A CA that keeps its certificate and those it signs as PEM files in one directory.
pub struct TestCa {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The validity period of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// Expired at the end of 2020.
    Past,
    /// Valid from 2090 on.
    Future,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TestCa {
    /// Creates a CA with this name and writes its certificate to `folder/ca.crt`.
    pub fn new(folder: &Path, name: &str) -> Self {
        fs::create_dir_all(folder).expect("create a folder for the test");
        let key = KeyPair::generate().expect("make a key");
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("sign one's own certificate");
        fs::write(folder.join("ca.crt"), certificate.pem()).expect("write the authority");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Signs a certificate for a server with these host names or addresses, as `{file}.crt` and `{file}.key`.
    pub fn server(&self, file: &str, names: &[&str], validity: Validity) -> IssuedCertificate {
        let mut params = params(file, names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(file, params, validity)
    }

    /// Signs a certificate for a client with this name, as `{name}.crt` and `{name}.key`.
    pub fn client(&self, name: &str) -> IssuedCertificate {
        let mut params = params(name, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params, Validity::Now)
    }

    /// Returns a client certificate that no CA has signed, for a server that trusts just this one.
    pub fn self_signed_client(&self, name: &str) -> IssuedCertificate {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.self_signed(&key).expect("sign a certificate");
        self.write(name, &certificate, &key)
    }

    fn sign(&self, file: &str, mut params: CertificateParams, validity: Validity) -> IssuedCertificate {
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (date_time_ymd(2021, 1, 1), date_time_ymd(2089, 12, 31)),
            Validity::Past => (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 12, 31)),
            Validity::Future => (date_time_ymd(2090, 1, 1), date_time_ymd(2099, 12, 31)),
        };
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("sign a certificate");
        self.write(file, &certificate, &key)
    }

    fn write(&self, file: &str, certificate: &Certificate, key: &KeyPair) -> IssuedCertificate {
        let signed = IssuedCertificate {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        fs::write(&signed.certificate, certificate.pem()).expect("write a certificate");
        fs::write(&signed.key, key.serialize_pem()).expect("write a key");
        signed
    }
}

fn params(common_name: &str, host_names: &[&str]) -> CertificateParams {
    let host_names: Vec<String> = host_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(host_names).expect("host names or addresses");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
