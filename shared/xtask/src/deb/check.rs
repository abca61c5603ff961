//! `cargo xtask deb --check`: tests the packages in fresh Debian systems, from the first installation to the purge.
//!
//! For this computer's processor the system is booted, and its systemd starts, watches and stops the services. For
//! the other one the programs run in QEMU without systemd. `docs/hardware.md` lists what needs a board.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use keepsake_provision::chroot::{BootedSystem, Chroot, ForeignBinaries, Release, System, lossy, report_ok};
use keepsake_provision::cross::Arch;

const UNITS: [&str; 3] = ["keepsake-appliance", "keepsake-stopped", "keepsake-cloud"];
/// The highest exposure that `systemd-analyze security` may report; 10 is no sandbox at all.
const EXPOSURE_MAX: f64 = 2.5;
/// A watchdog of 60 s, and the restart.
const WATCHDOG_WITHIN: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(40);

/// The two packages of one version for one processor.
pub(super) struct Packages {
    pub(super) appliance: PathBuf,
    pub(super) cloud: PathBuf,
    pub(super) version: String,
}

/// `old`: an earlier version, to upgrade from.
pub(super) fn run(arch: Arch, release: Release, old: &Packages, new: &Packages) -> Result<()> {
    let place = format!("{} {}", release.name(), arch.name());
    println!("\n==> {place}");
    let _emulation = ForeignBinaries::enable(arch)?;
    let system = Chroot::fresh(release, arch)?;
    for packages in [old, new] {
        for (name, file) in [("appliance", &packages.appliance), ("cloud", &packages.cloud)] {
            system.copy_in(file, &format!("/root/{name}-{}.deb", packages.version))?;
        }
    }
    if arch.is_own() {
        let booted = system.boot()?;
        Check { system: &booted, booted: Some(&booted) }.run(&old.version, &new.version)
    } else {
        Check { system: &system, booted: None }.run(&old.version, &new.version)
    }
    .with_context(|| place)
}

#[derive(Clone, Copy)]
struct Check<'a> {
    system: &'a dyn System,
    /// The same system, if its systemd is running.
    booted: Option<&'a BootedSystem>,
}

impl Check<'_> {
    fn run(self, old: &str, new: &str) -> Result<()> {
        self.system.script(&install(old))?;
        report_ok("an older version is installed");
        self.check_installed()?;
        self.check_missing_hardware_messages()?;
        self.check_units()?;
        // The free disk space of this computer is not the subject here.
        self.system
            .script("sed -i 's/^free_percent_min = 5/free_percent_min = 0/' /etc/keepsake/cloud.toml")?;
        if let Some(machine) = self.booted {
            machine.script("systemctl restart keepsake-cloud")?;
            check_start_without_button(machine)?;
            press_under_systemd(machine)?;
        } else {
            self.press_in_the_foreground()?;
        }

        // The user's own settings, and data on the card and in the database.
        self.system
            .script("sed -i 's/^debounce_ms = 30/debounce_ms = 25/' /etc/keepsake/camera.toml")?;
        self.system.script("sed -i 's/^hsts_days = 0/hsts_days = 30/' /etc/keepsake/cloud.toml")?;
        let kept = self.system.script(KEPT)?;
        ensure!(kept.lines().count() >= 4, "there is not much to keep: {kept}");

        self.system.script(&install(new))?;
        self.system
            .script(&format!("test \"$(dpkg-query -W -f '${{Version}}' keepsake-appliance)\" = {new}"))?;
        self.check_kept(&kept)?;
        report_ok("an upgrade keeps pictures and changed settings");
        if let Some(machine) = self.booted {
            check_recovery(machine)?;
        }
        let kept = self.system.script(KEPT)?;

        self.system.script("apt-get -qy remove keepsake-appliance keepsake-cloud")?;
        self.system.script("! test -e /usr/bin/appliance && ! test -e /usr/bin/cloud")?;
        self.check_kept(&kept)?;
        if let Some(machine) = self.booted {
            machine.script("! pgrep -x 'appliance|cloud'")?;
        }
        report_ok("removal keeps pictures and settings");

        self.system.script(&install(new))?;
        self.check_kept(&kept)?;
        self.system.script("systemctl is-enabled -q keepsake-appliance keepsake-cloud")?;
        report_ok("they can be installed again");

        let text = self.system.script("apt-get -qy purge keepsake-appliance keepsake-cloud 2>&1")?;
        for place in ["/var/lib/keepsake", "/var/lib/keepsake-cloud"] {
            let is_named = text.contains(&format!(" kept in {place}. "));
            ensure!(is_named, "purging does not say what is kept in {place}: {text}");
        }
        self.system.script("! test -e /etc/keepsake")?;
        let pictures = |all: &str| -> String {
            let below = all.lines().filter(|line| line.contains(" /var/"));
            below.map(|line| format!("{line}\n")).collect()
        };
        let left = self.system.script(KEPT)?;
        ensure!(pictures(&kept) == left, "before: {kept}after: {left}");
        report_ok("purging takes the settings and leaves the pictures");
        Ok(())
    }

    fn check_kept(self, kept: &str) -> Result<()> {
        let now = self.system.script(KEPT)?;
        ensure!(now == kept, "before: {kept}after: {now}");
        Ok(())
    }

    fn check_installed(self) -> Result<()> {
        let groups = self.system.script("id -nG keepsake")?;
        for group in ["keepsake", "gpio", "video"] {
            ensure!(groups.split_whitespace().any(|one| one == group), "keepsake is in {groups}");
        }
        let owners = self.system.script(
            "stat -c '%n %U:%G %a' /etc/keepsake/camera.toml /etc/keepsake/cloud.toml /var/lib/keepsake /var/lib/keepsake-cloud",
        )?;
        ensure!(
            owners
                == "/etc/keepsake/camera.toml root:keepsake 640\n\
                    /etc/keepsake/cloud.toml root:keepsake-cloud 640\n\
                    /var/lib/keepsake keepsake:keepsake 750\n\
                    /var/lib/keepsake-cloud keepsake-cloud:keepsake-cloud 750\n",
            "{owners}"
        );
        self.system.script("systemctl is-enabled -q keepsake-appliance keepsake-cloud")?;
        self.system.script(
            "setpriv --reuid=keepsake --regid=keepsake --init-groups appliance check-config /etc/keepsake/camera.toml",
        )?;
        self.system
            .script("setpriv --reuid=keepsake --regid=keepsake --init-groups test ! -r /etc/keepsake/cloud.toml")?;
        report_ok("users, groups, settings, folders and units are in place");
        Ok(())
    }

    /// Checks the messages on a computer without button, light and camera.
    fn check_missing_hardware_messages(self) -> Result<()> {
        let output = self.system.try_script(
            "cd /var/lib/keepsake && exec setpriv --reuid=keepsake --regid=keepsake --init-groups appliance self-test --config /etc/keepsake/camera.toml",
        )?;
        let text = lossy(&output.stdout);
        ensure!(output.status.code() == Some(1), "{}: {text}{}", output.status, lossy(&output.stderr));
        for part in ["light", "button", "camera"] {
            let line = text.lines().find(|line| line.starts_with(&format!("FAIL {part}")));
            ensure!(line.is_some_and(|line| line.len() > 40), "{part} is not named: {text}");
        }
        for part in ["name", "card", "space"] {
            let line = text.lines().find(|line| line.starts_with(&format!("ok   {part}")));
            ensure!(line.is_some(), "{part} should be good: {text}");
        }
        report_ok("the self-test says what is missing:");
        for line in text.lines() {
            println!("       {line}");
        }
        Ok(())
    }

    fn check_units(self) -> Result<()> {
        for unit in UNITS {
            let output = self
                .system
                .try_script(&format!("systemd-analyze verify --man=no /lib/systemd/system/{unit}.service 2>&1"))?;
            let text = lossy(&output.stdout);
            let ours: Vec<&str> = text.lines().filter(|line| line.contains("keepsake")).collect();
            ensure!(output.status.success() && ours.is_empty(), "{unit}: {text}");
            let text = self
                .system
                .script(&format!("systemd-analyze security --offline=true --no-pager {unit}.service"))?;
            let exposure = exposure(&text).with_context(|| format!("no score in {text}"))?;
            ensure!(exposure <= EXPOSURE_MAX, "{unit} is exposed by {exposure}: {text}");
            report_ok(&format!("{unit}: verified, exposure {exposure}"));
        }
        Ok(())
    }

    /// Runs both packaged programs without systemd: a press is stored.
    fn press_in_the_foreground(self) -> Result<()> {
        let text = self.system.script(include_str!("press.sh"))?;
        ensure!(text.contains("\"event\":\"stored\""), "nothing was stored: {text}");
        report_ok("a press of the simulated camera is stored by the cloud");
        Ok(())
    }
}

/// Installs the files from the directory they were copied to.
fn install(version: &str) -> String {
    format!("apt-get -qy install /root/appliance-{version}.deb /root/cloud-{version}.deb")
}

/// Returns the hashes of everything that must not change: settings, pictures on the card, and the camera's identity.
const KEPT: &str = "{ find /etc/keepsake /var/lib/keepsake/pictures/frames /var/lib/keepsake-cloud \
    \\( -name '*.toml' -o -path '*/frames/*' -o -name 'keepsake.sqlite' \\) -type f 2>/dev/null || true; } | sort | \
    while read -r f; do case $f in *.sqlite) echo \"there $f\";; *) sha256sum \"$f\";; esac; done | sed 's/  / /'";

/// Returns the score in the last line of `systemd-analyze security`.
fn exposure(text: &str) -> Option<f64> {
    let (_, after) = text.split_once("Overall exposure level")?;
    let (_, figure) = after.split_once(": ")?;
    figure.split_whitespace().next()?.parse().ok()
}

/// Checks that without a button pin the service keeps trying and the log names the cause.
fn check_start_without_button(machine: &BootedSystem) -> Result<()> {
    let text =
        machine.eventually("the log says why", SOON, "journalctl -u keepsake-appliance -o cat | grep -m1 ERROR")?;
    report_ok(&format!("without a board the service says: {}", text.trim()));
    machine.eventually("it is tried again", SOON, "[ $(systemctl show -P NRestarts keepsake-appliance) -ge 2 ]")?;
    report_ok("and is tried again and again");
    Ok(())
}

/// Configures the simulated button, light and camera for the service.
fn press_under_systemd(machine: &BootedSystem) -> Result<()> {
    machine.script(
        "sed -i '/^\\[simulated\\]/,$s/^enabled = false/enabled = true/' /etc/keepsake/camera.toml
         systemctl restart keepsake-appliance || { journalctl -u keepsake-appliance -o cat -n 20; false; }",
    )?;
    machine.script(
        "runuser -u keepsake-cloud -- cloud --config /etc/keepsake/cloud.toml --data /var/lib/keepsake-cloud \
             token create check --role viewer > /root/key",
    )?;
    let status = machine.eventually(
        "both are ready",
        SOON,
        "systemctl is-active -q keepsake-appliance keepsake-cloud
         systemctl show -P StatusText keepsake-cloud",
    )?;
    report_ok(&format!("systemd sees both ready; the cloud: {}", status.trim()));
    press(machine, 1)
}

/// Takes one more picture, after which `stored` are stored.
fn press(machine: &BootedSystem, stored: u32) -> Result<()> {
    machine.script("systemctl kill --kill-whom=main --signal=SIGUSR1 keepsake-appliance")?;
    machine.eventually(
        "the press is stored",
        SOON,
        &format!(
            "counters=$(curl -fsS -H \"Authorization: Bearer $(cat /root/key)\" http://127.0.0.1:5000/api/v1/counters)
             echo \"$counters\"
             grep -q '\"pressed\":{stored},\"stored\":{stored},.*\"missing\":0' <<< \"$counters\""
        ),
    )?;
    report_ok(&format!("a press in the service is stored, {stored} in all"));
    Ok(())
}

fn check_recovery(machine: &BootedSystem) -> Result<()> {
    machine.eventually("the new version runs", SOON, "systemctl is-active -q keepsake-appliance keepsake-cloud")?;
    press(machine, 2)?;

    // Both hang: they stop notifying, and systemd restarts them.
    machine.script("systemctl kill --kill-whom=main --signal=SIGSTOP keepsake-appliance keepsake-cloud")?;
    for unit in ["keepsake-appliance", "keepsake-cloud"] {
        machine.eventually(
            &format!("the watchdog of {unit}"),
            WATCHDOG_WITHIN,
            &format!(
                "journalctl -u {unit} -o cat | grep -q 'Watchdog timeout'
                 systemctl is-active -q {unit}"
            ),
        )?;
    }
    report_ok("a program that hangs is restarted by the watchdog");
    press(machine, 3)?;

    // The light would keep showing "ready": fault 7 is shown before the restart.
    machine.script("systemctl kill --kill-whom=main --signal=SIGKILL keepsake-appliance")?;
    machine.eventually(
        "ExecStopPost",
        SOON,
        "[ $(systemctl show -P SubState keepsake-appliance) = stop-post ]
         tr '\\0' ' ' < /proc/$(systemctl show -P ControlPID keepsake-appliance)/cmdline | grep 'show-stopped-pattern --once'",
    )?;
    machine.eventually("the camera is back", SOON, "systemctl is-active -q keepsake-appliance")?;
    report_ok("after kill -9 the light says fault 7 before the next start");
    press(machine, 4)?;

    // A fault that no restart can fix: fault 7 stays until the settings are corrected.
    machine.script(
        "mkdir -p /run/systemd/system/keepsake-appliance.service.d
         printf '[Service]\\nEnvironment=KEEPSAKE_BUTTON_PIN=99\\n' > /run/systemd/system/keepsake-appliance.service.d/wrong.conf
         systemctl daemon-reload
         ! systemctl restart keepsake-appliance",
    )?;
    machine.eventually(
        "keepsake-stopped",
        SOON,
        "systemctl is-failed -q keepsake-appliance
         [ $(systemctl show -P ExecMainStatus keepsake-appliance) = 78 ]
         systemctl is-active -q keepsake-stopped",
    )?;
    machine.script(
        "rm -r /run/systemd/system/keepsake-appliance.service.d
         systemctl daemon-reload
         systemctl start keepsake-appliance
         ! systemctl is-active -q keepsake-stopped",
    )?;
    report_ok("a wrong variable is not tried again; the light says fault 7 until it is mended");
    press(machine, 5)?;

    // Stopped on request: no fault is shown, and the exit is clean.
    machine.script(
        "systemctl stop keepsake-appliance keepsake-cloud
         [ $(systemctl show -P Result keepsake-appliance) = success ]
         [ $(systemctl show -P Result keepsake-cloud) = success ]
         systemctl start keepsake-cloud keepsake-appliance",
    )?;
    press(machine, 6)?;
    report_ok("a stop is a clean one");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_read_from_its_line() {
        let text = "✓ PrivateMounts=  Service cannot install system mounts\n\n→ Overall exposure level for keepsake-cloud.service: 1.3 OK :-)\n";
        assert_eq!(exposure(text), Some(1.3));
        assert_eq!(exposure("nothing of the kind"), None);
    }
}
