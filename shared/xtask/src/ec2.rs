//! `cargo xtask ec2`: runs the commands of `cloud/deploy/ec2/README.md`, word for word, in fresh systems.
//!
//! The commands are taken from that page, so they are known to work. In each system a user with sudo sets up the
//! cloud with the system's mosquitto and MySQL (or MariaDB); a camera, the arm64 package in QEMU, uploads over TLS;
//! then last night's backup is restored and the camera is asked for the missing pictures. At last cloud-init does the
//! same from `user-data.yaml`. No EC2 instance is started.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fs_err as fs;
use serde_json::Value;

use keepsake_provision::chroot::{self, BootedSystem, Chroot, ForeignBinaries, Release, System, lossy, report_ok};
use keepsake_provision::cross::Arch;
use keepsake_provision::process::Program;
use keepsake_provision::workspace;

use crate::deb;

const PAGE: &str = include_str!("../../../cloud/deploy/ec2/README.md");
const USER_DATA: &str = include_str!("../../../cloud/deploy/ec2/user-data.yaml");
/// The host name on the page.
const HOST: &str = "cameras.example.org";
/// The address a user would enter in `user-data.yaml`.
const ADDRESS: &str = "https://example.org/keepsake-cloud_0.1.0-1_amd64.deb";
/// The longest wait for a start in QEMU, or for a picture.
const SOON: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Do it in this system; may be repeated.
    #[arg(long, value_enum, default_values = ["debian12", "debian13", "ubuntu2404"])]
    release: Vec<Release>,
    /// Do only the part of cloud-init.
    #[arg(long)]
    user_data_only: bool,
    /// Use the packages in target/debian.
    #[arg(long)]
    no_build: bool,
}

/// Returns whether everything worked; the first failure is an error.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    chroot::ensure_available()?;
    let own = Arch::own()?;
    let cloud = deb::package("cloud", own, arguments.no_build)?;
    let appliance = deb::package("appliance", Arch::Arm64, arguments.no_build)?;
    let _emulation = ForeignBinaries::enable(Arch::Arm64)?;
    for release in arguments.release.iter().filter(|_| !arguments.user_data_only) {
        println!("\n==> {}, by hand", release.name());
        by_hand(*release, &cloud, &appliance).with_context(|| release.name())?;
    }
    for release in &arguments.release {
        println!("\n==> {}, by user data", release.name());
        by_user_data(*release, &cloud).with_context(|| format!("{}, user data", release.name()))?;
    }
    Ok(true)
}

/// Returns the first code block of a language below a heading of the page.
fn code_block<'a>(page: &'a str, heading: &str, language: &str) -> Result<&'a str> {
    let missing = || format!("no block {language} below {heading:?}");
    let start = format!("\n## {heading}\n");
    let at = page.find(&start).with_context(missing)?;
    // From the end of that line: a block may begin on the next one.
    let below = &page[at + start.len() - 1..];
    let below = below.split("\n## ").next().unwrap_or(below);
    let (_, code) = below.split_once(&format!("\n```{language}\n")).with_context(missing)?;
    let (code, _) = code.split_once("\n```").with_context(missing)?;
    Ok(code)
}

/// Turns off the check of free disk space, which is not the subject here.
const ENOUGH_ROOM: &str = "mkdir -p /etc/systemd/system/keepsake-cloud.service.d
    printf '[Service]\\nEnvironment=KEEPSAKE_CLOUD_FREE_PERCENT_MIN=0\\n' > /etc/systemd/system/keepsake-cloud.service.d/check.conf";

fn by_hand(release: Release, cloud: &Path, appliance: &Path) -> Result<()> {
    let system = Chroot::fresh(release, Arch::own()?)?;
    let machine = system.boot()?;
    machine.script(ENOUGH_ROOM)?;
    machine.script(
        "useradd --create-home --shell /bin/bash admin
         echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin",
    )?;
    let name = cloud.file_name().context("a package has a name")?;
    machine.system.copy_in(cloud, &format!("/home/admin/{}", name.to_string_lossy()))?;

    let began = Instant::now();
    let text = as_admin(&machine, code_block(PAGE, "The commands", "sh")?)?;
    let link = text
        .lines()
        .rev()
        .find(|line| line.starts_with("/setup?code="))
        .with_context(|| format!("no link for the first owner: {text}"))?;
    let server = machine.script("mysqld --version 2>/dev/null || mariadbd --version")?;
    report_ok(&format!("the commands work, in {} s, with {}", began.elapsed().as_secs(), server.trim()));
    let key = create_owner(&machine, link)?;
    check_ready(&machine)?;
    check_open_ports(&machine)?;

    let mut camera = Camera::start(&machine, appliance)?;
    camera.press_and_store(3)?;
    wait_for_counters(&machine, &key, 3)?;
    camera.check_database(&machine)?;
    report_ok("pictures of the arm64 camera are in the database, byte for byte");

    as_admin(&machine, code_block(PAGE, "Backup", "sh")?)?;
    camera.press_and_store(3)?;
    wait_for_counters(&machine, &key, 6)?;
    let restored = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    as_admin(&machine, code_block(PAGE, "Restore", "sh")?)?;
    wait_for_counters(&machine, &key, 6)?;
    let since_us = restored.context("the clock is set")?.as_micros();
    let again = stored_since(&machine, &key, since_us)?;
    ensure!(again == 3, "{again} pictures instead of 3 were stored after the restoration");
    camera.check_database(&machine)?;
    report_ok("last night's backup is restored, and the camera has brought what was missing");
    camera.press_and_store(1)?;
    wait_for_counters(&machine, &key, 7)?;

    // A restart of all services, in systemd's order.
    machine.script("systemctl restart mosquitto mysql keepsake-cloud")?;
    check_ready(&machine)?;
    camera.press_and_store(1)?;
    wait_for_counters(&machine, &key, 8)?;
    report_ok("after a restart of broker, database and cloud a press is stored");
    Ok(())
}

/// Runs commands as a user who has logged in over SSH: in a login shell, in the home directory.
fn as_admin(machine: &BootedSystem, commands: &str) -> Result<String> {
    let mut command = machine.command();
    command
        .args(["runuser", "--login", "admin", "-c", "exec bash -eo pipefail"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("enter the machine")?;
    let mut stdin = child.stdin.take().context("open its standard input")?;
    // Written at once before it reads: a command that reads standard input would consume the lines after it, as in a
    // terminal.
    let script = format!("main() {{\n{commands}\n}}\nmain < /dev/null\n");
    stdin.write_all(script.as_bytes()).context("write the commands")?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for the commands")?;
    if !output.status.success() {
        let log = machine.try_script(
            "journalctl -b -u keepsake-cloud -u mosquitto -u mariadb -u mysql -n 20 --no-pager -o cat; tail -n 10 /var/log/mosquitto/mosquitto.log",
        )?;
        let errors = lossy(&output.stderr);
        bail!("{}: {errors}\n{}", output.status, lossy(&log.stdout));
    }
    Ok(lossy(&output.stdout))
}

/// Requests a page of the dashboard from outside; trusts only the CA of the page.
fn curl_command(path: &str, more: &str) -> String {
    format!("curl -fsS --cacert /etc/keepsake/ca.crt --resolve {HOST}:5000:127.0.0.1 {more} https://{HOST}:5000{path}")
}

/// Creates the first owner with the link, and returns an API token.
fn create_owner(machine: &BootedSystem, link: &str) -> Result<String> {
    let (_, code) = link.split_once("code=").context("the link has the code")?;
    let json = "-H 'Content-Type: application/json'";
    machine.script(&curl_command(
        "/setup",
        &format!(
            "{json} -c /root/cookies -d '{{\"code\":\"{code}\",\"name\":\"ada\",\"password\":\"correct horse battery\"}}'"
        ),
    ))?;
    let made = machine.script(&curl_command(
        "/api/v1/tokens",
        &format!(
            "{json} -b /root/cookies -H 'Origin: https://{HOST}:5000' -d '{{\"name\":\"check\",\"role\":\"owner\"}}'"
        ),
    ))?;
    let made: Value = serde_json::from_str(&made).context("a token as JSON")?;
    let key = made["token"].as_str().context("the text of the token")?;
    report_ok("the first owner is made by the link, over https");
    Ok(key.to_owned())
}

/// Checks that the cloud is ready without warnings about broker or database.
fn check_ready(machine: &BootedSystem) -> Result<()> {
    let text = machine.eventually(
        "the cloud is ready",
        SOON,
        &format!(
            "text=$({}); echo \"$text\"; grep -q '\"ready\":true' <<< \"$text\"",
            curl_command("/readyz", "")
        ),
    )?;
    // The broker is checked a moment after the connection.
    std::thread::sleep(Duration::from_secs(5));
    let now = machine.script(&curl_command("/readyz", ""))?;
    let now: Value = serde_json::from_str(&now).with_context(|| text.clone())?;
    let none = |what: &str| now[what].as_array().is_none_or(Vec::is_empty);
    ensure!(none("warnings") && none("reasons"), "{now}");
    report_ok("the cloud is ready, and finds nothing to warn of in broker and database");
    Ok(())
}

/// Checks that exactly the ports of the security group listen on other addresses than loopback.
fn check_open_ports(machine: &BootedSystem) -> Result<()> {
    let text = machine.script("ss -Htln")?;
    let mut open = BTreeSet::new();
    let mut shut = BTreeSet::new();
    for line in text.lines() {
        let address = line.split_whitespace().nth(3).unwrap_or_default();
        let (host, port) = address.rsplit_once(':').context("host and port")?;
        let on_host_only = host.starts_with("127.") || host == "[::1]";
        let which = if on_host_only { &mut shut } else { &mut open };
        which.insert(port.parse::<u16>().context("a port")?);
    }
    ensure!(open == BTreeSet::from([5000, 8883, 8884]), "open: {text}");
    ensure!(shut.is_superset(&BTreeSet::from([1883, 3306])), "shut: {text}");
    report_ok("5000, 8883 and 8884 can be reached from outside; 1883 and 3306 cannot");
    Ok(())
}

/// Waits until `count` pictures are stored, and none is missing or waiting.
fn wait_for_counters(machine: &BootedSystem, key: &str, stored: u32) -> Result<()> {
    let wanted =
        format!("{{\"pressed\":{stored},\"stored\":{stored},\"deleted\":0,\"failed\":0,\"held\":0,\"missing\":0}}");
    let header = format!("-H 'Authorization: Bearer {key}'");
    machine.eventually(
        &format!("{stored} are stored"),
        SOON,
        &format!(
            "text=$({}); echo \"$text\"; [ \"$text\" = '{wanted}' ]",
            curl_command("/api/v1/counters", &header)
        ),
    )?;
    report_ok(&format!("the dashboard counts {wanted}"));
    Ok(())
}

/// Returns how many pictures were stored after a moment, in microseconds since 1970.
fn stored_since(machine: &BootedSystem, key: &str, since_us: u128) -> Result<usize> {
    let header = format!("-H 'Authorization: Bearer {key}'");
    let text = machine.script(&curl_command("/api/v1/pictures", &header))?;
    let text: Value = serde_json::from_str(&text).context("pictures as JSON")?;
    let pictures = text["pictures"].as_array().context("a list of pictures")?;
    let later =
        |picture: &&Value| picture["stored_us"].as_u64().is_some_and(|stored_us| u128::from(stored_us) > since_us);
    Ok(pictures.iter().filter(later).count())
}

/// A camera from the arm64 package in a Debian of its own, configured as the page says, in the network of the cloud's
/// host.
struct Camera {
    program: Program,
    presses: usize,
    _system: Chroot,
}

impl Camera {
    fn start(machine: &BootedSystem, package: &Path) -> Result<Self> {
        let system = Chroot::fresh(Release::Debian12, Arch::Arm64)?;
        system.copy_in(package, "/root/appliance.deb")?;
        system.script("apt-get -qy install /root/appliance.deb")?;
        for (from, to) in [("porch.password", "password"), ("ca.crt", "ca.crt")] {
            let from = machine.system.root.join("etc/keepsake").join(from);
            system.copy_in(&from, &format!("/etc/keepsake/{to}"))?;
        }
        fs::write(system.root.join("etc/keepsake/camera.toml"), code_block(PAGE, "A camera", "toml")?)?;
        fs::write(system.root.join("etc/hosts"), format!("127.0.0.1 localhost {HOST}\n"))?;
        system.script("appliance check-config /etc/keepsake/camera.toml")?;

        let mut command = system.command(Some(machine));
        command
            .args(["setpriv", "--reuid=keepsake", "--regid=keepsake", "--init-groups"])
            .args(["appliance", "run"])
            .args(["--simulated", "--events", "--config", "/etc/keepsake/camera.toml"])
            .args(["--spool", "/var/lib/keepsake/pictures"]);
        let log = workspace::target().join("systems/camera.log");
        let program = Program::start(command, &Arc::default(), &log);
        let camera = Self { program, presses: 0, _system: system };
        camera.eventually("a connection", |events| events.iter().any(|event| event["event"] == "connected"))?;
        let processor = machine.script("uname -m")?;
        report_ok(&format!(
            "a camera for arm64 runs on {} and is let in by TLS, name and password",
            processor.trim()
        ));
        Ok(camera)
    }

    fn eventually(&self, what: &str, there: impl Fn(&[Value]) -> bool) -> Result<()> {
        let waited = self.program.events().wait(0, SOON, |events| there(events).then_some(()));
        waited.map_err(|error| anyhow!("{what}: {error:?}, {SOON:?} at most\n{}", self.program.last_words()))
    }

    /// Presses, and waits for the receipts.
    fn press_and_store(&mut self, presses: usize) -> Result<()> {
        for _ in 0..presses {
            self.program.write_line("");
            self.presses += 1;
            // Presses closer together count as one (`button.repeat_ms_min`).
            std::thread::sleep(Duration::from_millis(600));
        }
        let presses = self.presses;
        self.eventually(&format!("{presses} receipts"), |events| {
            let stored = events.iter().filter(|event| event["event"] == "stored");
            let numbers: BTreeSet<_> = stored.map(|event| event["sequence"].as_u64()).collect();
            numbers.len() == presses
        })
    }

    /// Checks that the database and the folder of pictures have exactly the captures that the camera has saved.
    fn check_database(&self, machine: &BootedSystem) -> Result<()> {
        let events = self.program.events().since(0);
        let saved: BTreeSet<String> = events
            .iter()
            .filter(|event| event["event"] == "saved")
            .filter_map(|event| event["hash"].as_str().map(str::to_owned))
            .collect();
        ensure!(saved.len() == self.presses, "{} hashes", saved.len());
        let found = machine.script(
            "mysql -N keepsake -e 'SELECT SHA2(bytes, 256) FROM picture_bytes'; \
             find /var/lib/keepsake-cloud/pictures -name '*.jpg' -exec sha256sum {} + | cut -d ' ' -f 1",
        )?;
        let found: BTreeSet<String> = found.split_whitespace().map(str::to_owned).collect();
        ensure!(found == saved, "saved {saved:?}, in the database {found:?}");
        Ok(())
    }
}

/// Runs the file with the system's own cloud-init, as at the first start of an instance.
fn by_user_data(release: Release, cloud: &Path) -> Result<()> {
    let machine = Chroot::fresh(release, Arch::own()?)?.boot()?;
    let name = cloud.file_name().context("a package has a name")?;
    let name = name.to_string_lossy();
    machine.script(ENOUGH_ROOM)?;
    machine.system.copy_in(cloud, &format!("/srv/{name}"))?;
    machine.script("apt-get -q update && apt-get -qy install --no-install-recommends cloud-init")?;
    ensure!(USER_DATA.contains(ADDRESS), "the address of the package has changed");
    let user_data = USER_DATA.replace(ADDRESS, &format!("file:///srv/{name}"));
    let seed = machine.system.root.join("var/lib/cloud/seed/nocloud");
    fs::create_dir_all(&seed)?;
    for (file, content) in [
        (seed.join("user-data"), user_data.as_str()),
        (seed.join("meta-data"), "instance-id: keepsake\n"),
        (
            machine.system.root.join("etc/cloud/cloud.cfg.d/99-check.cfg"),
            // Leaves out what these systems lack and an instance has, such as an SSH server.
            "datasource_list: [NoCloud]\nnetwork: {config: disabled}\ncloud_init_modules: [write-files]\n\
             cloud_config_modules: [runcmd]\ncloud_final_modules: [scripts-user]\n",
        ),
    ] {
        fs::write(&file, content)?;
    }
    let schema = machine.script(&format!(
        "cloud-init schema --config-file {} 2>&1",
        "/var/lib/cloud/seed/nocloud/user-data"
    ))?;
    ensure!(schema.to_lowercase().contains("valid"), "{schema}");
    report_ok(&format!("cloud-init finds the file in order: {}", schema.trim()));
    // The services of cloud-init run these one after the other.
    machine.script(
        "cloud-init init --local
         cloud-init init
         cloud-init modules --mode=config
         cloud-init modules --mode=final > /var/log/cloud-init-output.log 2>&1 || { cat /var/log/cloud-init-output.log; false; }",
    )?;
    let link = machine.script("grep -m1 -o '/setup?code=[-A-Z0-9]*' /var/log/cloud-init-output.log")?;
    create_owner(&machine, link.trim())?;
    check_ready(&machine)?;
    check_open_ports(&machine)
}

#[cfg(test)]
mod tests {
    use yaml_rust2::YamlLoader;

    use super::*;

    #[test]
    fn user_data_are_the_commands_of_the_page() {
        let commands = code_block(PAGE, "The commands", "sh").unwrap();
        let indented: Vec<String> = commands
            .lines()
            .map(|line| match line {
                "" => String::new(),
                line => format!("      {line}"),
            })
            .collect();
        assert!(USER_DATA.contains(&indented.join("\n")));
        assert_eq!(USER_DATA.matches(ADDRESS).count(), 1);
        assert!(USER_DATA.starts_with("#cloud-config\n"));
        let parsed = YamlLoader::load_from_str(USER_DATA).unwrap();
        let file = &parsed[0]["write_files"][0];
        let run = &parsed[0]["runcmd"][0];
        assert!(file["content"].as_str().unwrap().contains(commands));
        assert_eq!(file["path"], run[1]);
    }

    #[test]
    fn the_page_has_what_is_done_with_it() {
        for heading in ["The commands", "Backup", "Restore"] {
            assert!(code_block(PAGE, heading, "sh").is_ok(), "{heading}");
        }
        assert!(code_block(PAGE, "A camera", "toml").unwrap().contains(HOST));
        assert!(code_block(PAGE, "No such heading", "sh").is_err());
        let restore = code_block(PAGE, "Restore", "sh").unwrap();
        assert!(restore.contains("sudo mysql") && !restore.contains("sqlite3"));
    }
}
