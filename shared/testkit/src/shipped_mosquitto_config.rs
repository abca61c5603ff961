//! mosquitto exactly as `cloud/deploy/mosquitto` configures it, with only ports and directories changed: the tests run
//! what the documentation tells users to do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::appliance::Appliance;
use crate::cloud::Cloud;
use crate::test_ca::{IssuedCertificate, TestCa, Validity};
use keepsake_provision::process::free_port;
use keepsake_provision::servers::mosquitto::{Mosquitto, Release};
use keepsake_provision::skip::not_run;

/// A mosquitto with TLS, passwords and the ACL.
pub struct ShippedMosquitto {
    pub broker: Mosquitto,
    pub ca: TestCa,
    /// The port with TLS, user name and password.
    pub password_port: u16,
    /// The port with TLS and client certificates.
    pub certificate_port: u16,
    /// The port without TLS, with user name and password, for a cloud on the same computer.
    pub plain_port: u16,
    /// The port for a cloud on another computer, and its certificate.
    pub cloud_port: u16,
    pub cloud_certificate: IssuedCertificate,
    folder: PathBuf,
}

/// Returns a file as it is shipped.
pub fn shipped_file(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud/deploy/mosquitto").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

impl ShippedMosquitto {
    fn new(folder: &Path, release: Release) -> anyhow::Result<Self> {
        let [password_port, certificate_port, plain_port, cloud_port] = [(); 4].map(|()| free_port());
        let configuration = |own: &Path| {
            let own = own.display();
            let text = shipped_file("keepsake.conf");
            let (text, for_cloud) = text.split_once("#listener 8885\n").expect("the listener of a cloud elsewhere");
            let for_cloud = for_cloud.replace('#', "");
            let mut text = format!("{text}listener {cloud_port} 127.0.0.1\n{for_cloud}");
            for (from, to) in [
                ("listener 8883\n", format!("listener {password_port} 127.0.0.1\n")),
                ("listener 8884\n", format!("listener {certificate_port} 127.0.0.1\n")),
                ("listener 1883 127.0.0.1\n", format!("listener {plain_port} 127.0.0.1\n")),
                ("/etc/mosquitto/", format!("{own}/")),
            ] {
                assert!(text.contains(from), "the shipped file has no {from:?}");
                text = text.replace(from, &to);
            }
            // Debian's mosquitto.conf, which is read before, has these lines; twice would be an error.
            format!("persistence true\npersistence_location {own}/\n{text}")
        };
        let broker = Mosquitto::configured(folder, release, plain_port, configuration)?;
        let folder = folder.join("mosquitto");
        let ca = TestCa::new(&folder.join("certs"), "Keepsake CA");
        ca.server("server", &["localhost", "127.0.0.1"], Validity::Now);
        let cloud_certificate = ca.self_signed_client("cloud");
        fs::write(folder.join("keepsake.acl"), shipped_file("keepsake.acl"))
            .expect("write a file in the folder of the test");
        Ok(Self {
            broker,
            ca,
            password_port,
            certificate_port,
            plain_port,
            cloud_port,
            cloud_certificate,
            folder,
        })
    }

    /// Returns a broker, not started, without any users, or `None` after reporting that the test `what` is skipped.
    pub fn or_skip(what: &str, folder: &Path, release: Release) -> Option<Self> {
        Self::new(folder, release)
            .inspect_err(|why| not_run(what, why, "install mosquitto 2"))
            .ok()
    }

    /// Returns a cloud on the same computer, with its password in this file.
    pub fn local_cloud(&self, folder: &Path, password_file: &Path) -> Cloud {
        Cloud::new(folder)
            .flag(&format!("--mqtt-broker-url=mqtt://cloud@127.0.0.1:{}", self.plain_port))
            .flag(&format!("--mqtt-password-file={}", password_file.display()))
    }

    /// Returns a camera that authenticates with its name and the password in this file.
    pub fn password_camera(&self, folder: &Path, device: &str, password_file: &Path) -> Appliance {
        Appliance::new(folder, device, &format!("mqtts://localhost:{}", self.password_port))
            .set(&format!("cloud.ca_file={}", self.ca.certificate().display()))
            .set(&format!("cloud.user={device}"))
            .set(&format!("cloud.password_file={}", password_file.display()))
    }

    /// Adds a user and writes the password into a file for programs. Call it before the start.
    pub fn add_user(&self, user: &str, password: &str) -> PathBuf {
        self.broker.add_user(&self.folder.join("keepsake.passwd"), user, password);
        let file = self.folder.join(format!("{user}.password"));
        fs::write(&file, format!("{password}\n")).expect("write a file in the folder of the test");
        file
    }

    /// Replaces the server's certificate. Call it before the start.
    pub fn replace_certificate(&self, signed: &IssuedCertificate) {
        for (from, to) in [(&signed.certificate, "server.crt"), (&signed.key, "server.key")] {
            fs::copy(from, self.folder.join("certs").join(to)).expect("copy a certificate");
        }
    }
}
