//! The cloud's HTTP API, used over the network.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::typestate::WithBody;

use keepsake_provision::process::eventually;

/// The owner of every cloud under test.
pub const OWNER_NAME: &str = "ada";
pub const OWNER_PASSWORD: &str = "correct horse battery";

/// The API of one cloud.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
    /// The authorization header, once there is a token.
    key: Option<String>,
}

impl Api {
    /// `address`: host and port of the HTTP listener.
    pub fn new(address: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .build()
            .into();
        Self { base: format!("http://{address}"), agent, key: None }
    }

    /// Returns the same API with an API token.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(format!("Bearer {key}"));
        self
    }

    /// Creates the owner of a new cloud with the link from its ready line, and returns an API token of the owner.
    pub fn set_up(&self, link: &str) -> String {
        let (_, code) = link.split_once("code=").expect("the link has the code");
        let answer = self
            .agent
            .post(format!("{}/setup", self.base))
            .send_json(json!({"code": code, "name": OWNER_NAME, "password": OWNER_PASSWORD}))
            .unwrap_or_else(|error| panic!("POST /setup: {error}"));
        assert_eq!(answer.status().as_u16(), 201, "POST /setup");
        let cookie = answer.headers().get("set-cookie").expect("a session");
        let cookie = cookie.to_str().expect("a cookie is a text");
        let mut answer = self
            .agent
            .post(format!("{}/api/v1/tokens", self.base))
            .header("cookie", cookie.split(';').next().unwrap_or(cookie))
            .header("origin", &self.base)
            .send_json(json!({"name": "tests", "role": "owner"}))
            .unwrap_or_else(|error| panic!("POST /api/v1/tokens: {error}"));
        assert_eq!(answer.status().as_u16(), 201, "POST /api/v1/tokens");
        let made: Value = answer.body_mut().read_json().expect("a key as JSON");
        made["token"].as_str().expect("the text of the token").to_owned()
    }

    /// Returns the status and the body of a GET.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let mut asked = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            asked = asked.header("authorization", key);
        }
        let mut answer = asked.call().map_err(|error| format!("GET {path}: {error}"))?;
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

    /// Creates a token with which a camera of this name can upload over HTTP, and nothing else.
    pub fn camera_key(&self, device: &str) -> String {
        let token = json!({"name": device, "role": "camera", "device": device});
        let made = self.send(ureq::Agent::post, "/api/v1/tokens", &token, 201);
        made["token"].as_str().expect("the text of the token").to_owned()
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
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        let mut answer = request.send_json(body).unwrap_or_else(|error| panic!("{path}: {error}"));
        let json: Value = answer.body_mut().read_json().expect("an answer in JSON");
        assert_eq!(answer.status().as_u16(), expected, "{path}: {json}");
        json
    }

    /// Waits until a command has reached this stage, and returns it.
    pub fn wait_for_command(&self, device: &str, id: &str, stage: &str, within: Duration) -> Value {
        let path = format!("/api/v1/devices/{device}/commands");
        eventually(&format!("command {id} {stage}"), within, || {
            let all = self.try_json(&path).ok()?;
            let all = all["commands"].as_array()?;
            let found = all.iter().find(|one| one["id"] == id)?;
            (found["stage"] == stage).then(|| found.clone())
        })
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
        let mut last = Value::Null;
        eventually_or(within, || {
            last = self.try_json(&path).ok()?;
            (last["state"] == state).then(|| last.clone())
        })
        .unwrap_or_else(|| panic!("not {state} within {within:?}: {last:#}"))
    }

    /// Waits until a device meets a condition, and returns the device. Also waits while the database is away and the
    /// cloud has no counters.
    pub fn wait_for_device(&self, device: &str, within: Duration, as_it_should: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        eventually_or(within, || {
            let found = match self.try_device(device) {
                Ok(found) => found?,
                Err(error) => {
                    last = error.into();
                    return None;
                }
            };
            let good = as_it_should(&found);
            last = found;
            good.then(|| last.clone())
        })
        .unwrap_or_else(|| panic!("not within {within:?}; the device is {last:#}"))
    }

    /// Waits until the API answers.
    pub fn wait_until_up(&self, within: Duration) {
        eventually("an answer on /healthz", within, || {
            self.get("/healthz").ok().filter(|(status, _)| *status == 200)
        });
    }
}

fn eventually_or<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = std::time::Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if std::time::Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
