//! Pages over https: a certificate from files, HTTP/2 by agreement, cookies that never travel unprotected.

mod harness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Cloud, PASSWORD};

/// A certificate for `localhost`, and its key.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let files = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&files.0, cert.pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

/// What curl, which trusts this one certificate, is answered: head and body, and the version of HTTP.
async fn curl(to: SocketAddr, cert: &Path, path: &str, more: &[&str]) -> String {
    let url = format!("https://localhost:{}{path}", to.port());
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--include", "--max-time", "20"])
        .args(["--write-out", "\nspoken over HTTP/%{http_version}"])
        .arg("--resolve")
        .arg(format!("localhost:{}:127.0.0.1", to.port()))
        .arg("--cacert")
        .arg(cert)
        .args(more)
        .arg(url);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ended = ended.await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_speaks_http_2_and_its_cookies_are_for_https_alone() {
    if Command::new("curl").arg("--version").output().is_err() {
        keepsake_testkit::skip::not_run("pages over https", "there is no curl", "apt install curl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let (cert_flag, key_flag) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let flags = ["--tls-cert", cert_flag, "--tls-key", key_flag, "--hsts-days", "30"];
    let cloud = Cloud::start_unowned(tempfile::tempdir().unwrap(), &flags).await;
    let to = cloud.ready.http;
    let link = cloud.ready.setup.clone().unwrap();
    assert!(link.starts_with("https://"), "{link}");
    let answer = curl(to, &cert, "/setup", &[]).await;
    assert!(answer.contains("HTTP/2 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=2592000"), "{answer}");
    let answer = curl(to, &cert, "/setup", &["--http1.1"]).await;
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");

    let code = link.split_once("code=").unwrap().1;
    let owner = serde_json::json!({"code": code, "name": "ada", "password": PASSWORD}).to_string();
    let json = ["--header", "content-type: application/json", "--data"];
    let answer = curl(to, &cert, "/setup", &[&json[..], &[&owner]].concat()).await;
    assert!(answer.contains("HTTP/2 201"), "{answer}");
    let (_, set) = answer.split_once("set-cookie: ").unwrap();
    let set = set.lines().next().unwrap();
    assert!(
        set.starts_with("__Host-keepsake-") && set.split("; ").any(|part| part == "Secure"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap();
    let answer = curl(to, &cert, "/api/v1/me", &["--cookie", cookie]).await;
    assert!(answer.contains("\"name\":\"ada\""), "{answer}");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart() {
    if Command::new("curl").arg("--version").output().is_err() {
        keepsake_testkit::skip::not_run("a new certificate", "there is no curl", "apt install curl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let (cert_flag, key_flag) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let flags = ["--tls-cert", cert_flag, "--tls-key", key_flag];
    let cloud = Cloud::start_unowned(tempfile::tempdir().unwrap(), &flags).await;
    let to = cloud.ready.http;
    curl(to, &cert, "/healthz", &[]).await;
    // Half of a change: the old pair holds.
    std::fs::write(&cert, "-----BEGIN").unwrap();
    let new = folder.path().join("new");
    std::fs::create_dir_all(&new).unwrap();
    let (new_cert, new_key) = certificate(&new);
    std::fs::copy(&new_key, &key).unwrap();
    std::fs::copy(&new_cert, &cert).unwrap();
    let deadline = std::time::Instant::now() + harness::WAIT;
    let url = format!("https://localhost:{}/healthz", to.port());
    loop {
        let trusted = Command::new("curl")
            .args(["--silent", "--max-time", "5", "--resolve"])
            .arg(format!("localhost:{}:127.0.0.1", to.port()))
            .arg("--cacert")
            .arg(&new_cert)
            .arg(&url)
            .status()
            .unwrap();
        if trusted.success() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the old one is still in use");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    cloud.stop().await;
}
