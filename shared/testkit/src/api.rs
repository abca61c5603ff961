//! The cloud's HTTP API, used over the network.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::typestate::WithBody;

use keepsake_provision::process::eventually;

type Answer = ureq::http::Response<ureq::Body>;

/// The owner of every cloud under test.
pub const OWNER_NAME: &str = "ada";
pub const OWNER_PASSWORD: &str = "correct horse battery";

/// The API of one cloud.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
    /// The authorization header, once there is a token.
    token: Option<String>,
}

impl Api {
    /// `address`: host and port of the HTTP listener.
    pub fn new(address: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .build()
            .into();
        Self { base: format!("http://{address}"), agent, token: None }
    }

    /// Returns the same API with an API token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(format!("Bearer {token}"));
        self
    }

    /// Creates the owner of a new cloud with the link from its ready line, and returns an API token of the owner.
    pub fn set_up(&self, link: &str) -> String {
        let (_, code) = link.split_once("code=").expect("the link has the code");
        let owner = json!({"code": code, "name": OWNER_NAME, "password": OWNER_PASSWORD});
        let answer = send(self.agent.post(format!("{}/setup", self.base)), &owner, 201);
        let cookie = answer.headers().get("set-cookie").expect("a session");
        let cookie = cookie.to_str().expect("a cookie is a text");
        let request = self.agent.post(format!("{}/api/v1/tokens", self.base));
        let request = request
            .header("cookie", cookie.split(';').next().unwrap_or(cookie))
            .header("origin", &self.base);
        token_in(&json_of(send(request, &json!({"name": "tests", "role": "owner"}), 201)))
    }

    /// Returns the status and the body of a GET.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let mut answer = request.call().map_err(|error| format!("GET {path}: {error}"))?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(128 * 1024 * 1024)
            .read_to_vec()
            .map_err(|error| format!("GET {path}: {error}"))?;
        Ok((answer.status().as_u16(), body))
    }

    /// Returns the JSON of a GET that must succeed.
    pub fn json(&self, path: &str) -> Value {
        self.try_json(path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_json(&self, path: &str) -> Result<Value, String> {
        let (status, body) = self.get(path)?;
        if status != 200 {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("GET {path}: {status} {text}"));
        }
        serde_json::from_slice(&body).map_err(|error| format!("GET {path}: {error}"))
    }

    pub fn device(&self, device: &str) -> Option<Value> {
        self.try_device(device).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_device(&self, device: &str) -> Result<Option<Value>, String> {
        let all = self.try_json("/api/v1/devices")?;
        let all = all["devices"].as_array().expect("a list of devices");
        Ok(all.iter().find(|one| one["id"] == device).cloned())
    }

    /// Returns every picture of a device, oldest arrival first, page by page.
    pub fn pictures(&self, device: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let mut after = "0".to_owned();
        loop {
            let page = self.json(&format!("/api/v1/pictures?arrived_after={after}&limit=500"));
            let pictures = page["pictures"].as_array().expect("a list of pictures");
            all.extend(pictures.iter().filter(|one| one["device"] == device).cloned());
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => return all,
            }
        }
    }

    /// Returns the bytes of a picture.
    pub fn image(&self, id: &str) -> Vec<u8> {
        let (status, body) = self
            .get(&format!("/api/v1/pictures/{id}/image"))
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status, 200, "image of {id}");
        body
    }

    pub fn delete_picture(&self, id: &str) {
        let mut request = self.agent.delete(format!("{}/api/v1/pictures/{id}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let status = request.call().expect("an answer to DELETE").status();
        assert_eq!(status.as_u16(), 204, "delete {id}");
    }

    /// Creates a token with which a camera of this name can upload over HTTP, and nothing else.
    pub fn camera_token(&self, device: &str) -> String {
        let request = json!({"name": device, "role": "camera", "device": device});
        token_in(&self.send(ureq::Agent::post, "/api/v1/tokens", &request, 201))
    }

    pub fn snap(&self, device: &str) -> Value {
        self.send_command(device, "snap")
    }

    /// Sends a command to a camera, and returns the command.
    pub fn send_command(&self, device: &str, command: &str) -> Value {
        let path = format!("/api/v1/devices/{device}/commands");
        self.send(ureq::Agent::post, &path, &json!({"command": command}), 202)
    }

    /// Sends JSON and returns the answer, which must have this status.
    fn send(
        &self,
        method: impl Fn(&ureq::Agent, String) -> ureq::RequestBuilder<WithBody>,
        path: &str,
        body: &Value,
        expected: u16,
    ) -> Value {
        let mut request = method(&self.agent, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        json_of(send(request, body, expected))
    }

    /// Waits until a command has reached this stage, and returns it.
    pub fn wait_for_command(&self, device: &str, id: &str, stage: &str, within: Duration) -> Value {
        let command = || {
            let all = self.try_json(&format!("/api/v1/devices/{device}/commands"))?;
            let found = all["commands"].as_array().and_then(|all| all.iter().find(|one| one["id"] == id).cloned());
            Ok(found.unwrap_or_default())
        };
        poll(within, command, |command| command["stage"] == stage)
    }

    /// Changes these settings of a camera, on top of its current version.
    pub fn set_settings(&self, device: &str, values: &Value) -> Value {
        let path = format!("/api/v1/devices/{device}/settings");
        let version = self.json(&path)["version"].clone();
        self.send(ureq::Agent::put, &path, &json!({"version": version, "values": values}), 200)
    }

    /// Waits until the settings of a camera have this state, and returns them.
    pub fn wait_for_settings(&self, device: &str, state: &str, within: Duration) -> Value {
        let path = format!("/api/v1/devices/{device}/settings");
        poll(within, || self.try_json(&path), |settings| settings["state"] == state)
    }

    /// Waits until a device meets a condition, and returns the device. Also waits while the database is away and the
    /// cloud has no counters.
    pub fn wait_for_device(&self, device: &str, within: Duration, condition: impl Fn(&Value) -> bool) -> Value {
        let found = || self.try_device(device).map(Option::unwrap_or_default);
        poll(within, found, |device| !device.is_null() && condition(device))
    }

    /// Waits until the API answers.
    pub fn wait_until_up(&self, within: Duration) {
        eventually("an answer on /healthz", within, || {
            self.get("/healthz").ok().filter(|(status, _)| *status == 200)
        });
    }
}

/// Sends JSON and returns the answer, which must have this status.
fn send(request: ureq::RequestBuilder<WithBody>, body: &Value, expected: u16) -> Answer {
    let url = request.uri_ref().map(ToString::to_string).unwrap_or_default();
    let mut answer = request.send_json(body).unwrap_or_else(|error| panic!("{url}: {error}"));
    if answer.status().as_u16() != expected {
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        panic!("{url}: {} instead of {expected}: {text}", answer.status());
    }
    answer
}

fn json_of(mut answer: Answer) -> Value {
    answer.body_mut().read_json().expect("an answer in JSON")
}

fn token_in(created: &Value) -> String {
    created["token"].as_str().expect("the text of the token").to_owned()
}

/// Asks until an answer meets the condition, and returns it; an error is an answer that does not.
fn poll(within: Duration, ask: impl Fn() -> Result<Value, String>, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        match &answer {
            Ok(value) if condition(value) => return value.clone(),
            Ok(_) | Err(_) => assert!(Instant::now() < deadline, "not within {within:?}: {answer:#?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}
