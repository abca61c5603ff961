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

/// Returns the answer to curl, which trusts this one certificate: head and body, and the version of HTTP.
async fn curl(to: SocketAddr, cert: &Path, path: &str, more: &[&str]) -> Result<String, String> {
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
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// A cloud with a certificate in this folder, and the certificate; nothing if there is no curl to ask it.
async fn with_certificate(folder: &Path, more: &[&str]) -> Option<(Cloud, PathBuf, PathBuf)> {
    if Command::new("curl").arg("--version").output().is_err() {
        keepsake_testkit::skip::not_run("pages over https", "there is no curl", "apt install curl");
        return None;
    }
    let (cert, key) = certificate(folder);
    let flags = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let cloud = Cloud::start_unowned(tempfile::tempdir().unwrap(), &[&flags, more].concat()).await;
    Some((cloud, cert, key))
}

#[tokio::test(flavor = "multi_thread")]
async fn https_speaks_http_2_and_its_cookies_are_for_https_alone() {
    let folder = tempfile::tempdir().unwrap();
    let Some((cloud, cert, _)) = with_certificate(folder.path(), &["--hsts-days", "30"]).await else {
        return;
    };
    let to = cloud.ready.http;
    let link = cloud.ready.setup.clone().unwrap();
    assert!(link.starts_with("https://"), "{link}");
    let answer = curl(to, &cert, "/setup", &[]).await.unwrap();
    assert!(answer.contains("HTTP/2 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=2592000"), "{answer}");
    let answer = curl(to, &cert, "/setup", &["--http1.1"]).await.unwrap();
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");

    let code = link.split_once("code=").unwrap().1;
    let owner = serde_json::json!({"code": code, "name": "ada", "password": PASSWORD}).to_string();
    let json = ["--header", "content-type: application/json", "--data"];
    let answer = curl(to, &cert, "/setup", &[&json[..], &[&owner]].concat()).await.unwrap();
    assert!(answer.contains("HTTP/2 201"), "{answer}");
    let (_, set) = answer.split_once("set-cookie: ").unwrap();
    let set = set.lines().next().unwrap();
    assert!(
        set.starts_with("__Host-keepsake-") && set.split("; ").any(|part| part == "Secure"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap();
    let answer = curl(to, &cert, "/api/v1/me", &["--cookie", cookie]).await.unwrap();
    assert!(answer.contains("\"name\":\"ada\""), "{answer}");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let Some((cloud, cert, key)) = with_certificate(folder.path(), &[]).await else {
        return;
    };
    let to = cloud.ready.http;
    curl(to, &cert, "/healthz", &[]).await.unwrap();
    // Half of a change: the old pair holds.
    std::fs::write(&cert, "-----BEGIN").unwrap();
    let new = folder.path().join("new");
    std::fs::create_dir_all(&new).unwrap();
    let (new_cert, new_key) = certificate(&new);
    std::fs::copy(&new_key, &key).unwrap();
    std::fs::copy(&new_cert, &cert).unwrap();
    let deadline = std::time::Instant::now() + harness::WAIT;
    while curl(to, &new_cert, "/healthz", &[]).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the old one is still in use");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    cloud.stop().await;
}
