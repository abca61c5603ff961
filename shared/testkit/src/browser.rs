//! A real Chromium without a window, controlled over its DevTools protocol.

use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keepsake_provision::host::find_program;
use keepsake_provision::process::ChildGuard;
use keepsake_provision::temp_dir::TempDir;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// The names of the program in Debian, Ubuntu, Fedora and Google's packages.
const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
/// The longest wait for its start, for an answer, or for a page.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    last_call: u64,
    pages_loaded: u64,
    _program: ChildGuard,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty page.
    ///
    /// # Errors
    /// Chromium is not installed, or does not start here.
    pub fn start() -> Result<Self> {
        let file = NAMES.iter().find_map(|name| find_program(name));
        let file = file.context("there is no Chromium")?;
        let profile = TempDir::new("browser");
        let mut command = Command::new(file);
        command
            .args(["--headless=new", "--remote-debugging-port=0", "--hide-scrollbars"])
            // Its sandbox does not start for root or in a container, and it shows only pages of our own.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut program = ChildGuard::start(&mut command, "Chromium")?;
        let port_file = profile.join("DevToolsActivePort");
        let deadline = Instant::now() + TIMEOUT;
        let port = loop {
            // The file has the port and the path of the browser, one line each.
            let text = fs::read_to_string(&port_file).unwrap_or_default();
            if let Some((port, _)) = text.split_once('\n') {
                break port.to_owned();
            }
            if let Some(end) = program.exit_message() {
                bail!("{end}");
            }
            if Instant::now() > deadline {
                bail!("Chromium does not open its port within {TIMEOUT:?}");
            }
            thread::sleep(Duration::from_millis(20));
        };
        let mut pages: Value = ureq::get(format!("http://127.0.0.1:{port}/json/list"))
            .call()
            .and_then(|mut answer| answer.body_mut().read_json())
            .context("list the pages of Chromium")?;
        let page = pages
            .as_array_mut()
            .and_then(|pages| pages.iter_mut().find(|page| page["type"] == "page"));
        let page = page.context("Chromium has no page")?;
        let address = page["webSocketDebuggerUrl"].as_str().context("a page has an address")?;
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).context("connect to Chromium")?;
        stream.set_read_timeout(Some(TIMEOUT)).context("connect to Chromium")?;
        let (socket, _) = tungstenite::client(address, stream).context("open a WebSocket to Chromium")?;
        let mut browser = Self {
            socket,
            last_call: 0,
            pages_loaded: 0,
            _program: program,
            _profile: profile,
        };
        browser.call("Page.enable", json!({}))?;
        browser.call("Network.enable", json!({}))?;
        Ok(browser)
    }

    /// Sets the size of the page in CSS pixels.
    pub fn set_size(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size)?;
        Ok(())
    }

    /// Sets whether pages are dark, as the system of a person may ask for.
    pub fn set_dark(&mut self, dark: bool) -> Result<()> {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features)?;
        Ok(())
    }

    /// Sets the `Accept-Language` of all requests.
    pub fn set_language(&mut self, language: &str) -> Result<()> {
        let headers = json!({"headers": {"Accept-Language": language}});
        self.call("Network.setExtraHTTPHeaders", headers)?;
        Ok(())
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let before = self.pages_loaded;
        let opened = self.call("Page.navigate", json!({"url": url}))?;
        if let Some(error) = opened["errorText"].as_str() {
            bail!("open {url}: {error}");
        }
        self.wait_for_page(before).with_context(|| format!("open {url}"))
    }

    /// Enters texts into the fields with these names, sends their form, and waits for the next page.
    pub fn submit(&mut self, fields: &[(&str, &str)]) -> Result<()> {
        let before = self.pages_loaded;
        let fields = serde_json::to_string(fields).context("write the fields")?;
        self.evaluate(&format!(
            "let field;
             for (const [name, text] of {fields}) {{
                 field = document.querySelector(`[name=\"${{name}}\"]`);
                 field.value = text;
             }}
             field.form.requestSubmit();"
        ))?;
        self.wait_for_page(before).context("send a form")
    }

    /// Runs JavaScript in the page and returns its value.
    pub fn evaluate(&mut self, script: &str) -> Result<Value> {
        let done = self.call("Runtime.evaluate", json!({"expression": script, "returnByValue": true}))?;
        if !done["exceptionDetails"].is_null() {
            bail!("{script}: {}", done["exceptionDetails"]);
        }
        Ok(done["result"]["value"].clone())
    }

    /// Returns a picture of what the window shows, as WebP.
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        // Images load lazily, after the page.
        let shown = "Promise.all([...document.images]
            .filter(image => image.getBoundingClientRect().top < innerHeight)
            .map(image => image.decode().catch(() => {})))";
        self.call("Runtime.evaluate", json!({"expression": shown, "awaitPromise": true}))?;
        let screenshot = self.call("Page.captureScreenshot", json!({"format": "webp", "quality": 80}))?;
        let text = screenshot["data"].as_str().context("a screenshot has data")?;
        STANDARD.decode(text).context("decode a screenshot")
    }

    fn wait_for_page(&mut self, before: u64) -> Result<()> {
        while self.pages_loaded == before {
            self.receive()?;
        }
        Ok(())
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write the parameters as a literal")]
    fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last_call += 1;
        let id = self.last_call;
        let call = json!({"id": id, "method": method, "params": parameters});
        self.socket
            .send(Message::text(call.to_string()))
            .with_context(|| format!("call {method}"))?;
        loop {
            let mut message = self.receive().with_context(|| format!("call {method}"))?;
            if message["id"] == id {
                if let Some(error) = message["error"]["message"].as_str() {
                    bail!("call {method}: {error}");
                }
                return Ok(message["result"].take());
            }
        }
    }

    /// Returns the next message, and counts loaded pages.
    fn receive(&mut self) -> Result<Value> {
        loop {
            let message = self.socket.read().context("read from Chromium")?;
            if let Message::Text(text) = message {
                let message: Value = serde_json::from_str(&text).context("read from Chromium")?;
                self.pages_loaded += u64::from(message["method"] == "Page.loadEventFired");
                return Ok(message);
            }
        }
    }
}
