//! Creates the users and groups that packages declare in `sysusers.d`, when the image is built: the ids are the same
//! on every card, and nothing has to be created at boot.
//!
//! Not with this computer's systemd-sysusers: versions before 257 do not know the type `u!`, with which today's
//! packages lock their users.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// The first dynamic id; later ones are lower, as in systemd.
const FIRST: u32 = 999;

/// The lines of `/etc/passwd` and `/etc/group` in their order.
#[derive(Debug, Default)]
pub(super) struct Users {
    users: Vec<Entry>,
    groups: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    id: u32,
    /// The last fields: of a user its group, comment, home and shell, of a group its members.
    rest: String,
}

impl Users {
    /// Returns the users of every Debian, from `passwd.master` and `group.master` of base-passwd.
    pub(super) fn of_base(passwd: &str, group: &str) -> Result<Self> {
        Ok(Self { users: entries(passwd)?, groups: entries(group)? })
    }

    /// Adds the users of all files of `sysusers.d`. `files`: their texts by name; they are read in that order.
    pub(super) fn add(&mut self, files: &BTreeMap<String, String>) -> Result<()> {
        let lines: Vec<Vec<String>> = files
            .values()
            .flat_map(|text| text.lines())
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(words)
            .collect();
        let kind = |line: &[String]| line[0].trim_end_matches('!').to_owned();
        // Groups first: users and memberships refer to them.
        for wanted in ["g", "u", "m"] {
            for line in lines.iter().filter(|line| kind(line) == wanted) {
                self.add_line(wanted, line).with_context(|| line.join(" "))?;
            }
        }
        let unknown = lines.iter().find(|line| !["g", "u", "m"].contains(&kind(line).as_str()));
        ensure!(
            unknown.is_none(),
            "unknown line: {}",
            unknown.map_or_else(String::new, |line| line.join(" "))
        );
        Ok(())
    }

    fn add_line(&mut self, kind: &str, line: &[String]) -> Result<()> {
        let field = |at: usize| line.get(at).map(String::as_str).filter(|text| *text != "-");
        let name = field(1).context("there is no name")?;
        match kind {
            "g" => {
                self.group(name, field(2))?;
            }
            "u" => {
                if self.users.iter().any(|user| user.name == name) {
                    return Ok(());
                }
                let (uid, group) = match field(2).and_then(|ids| ids.split_once(':')) {
                    Some((uid, group)) => (Some(uid).filter(|uid| *uid != "-"), Some(group)),
                    None => (field(2), None),
                };
                let gid = match group {
                    Some(group) => self.gid(group)?,
                    None => self.group(name, uid)?,
                };
                let id = match uid {
                    Some(uid) => uid.parse().context("a user number")?,
                    None if group.is_none() => gid,
                    None => self.free(),
                };
                let comment = field(3).unwrap_or_default();
                let (home, shell) = (field(4).unwrap_or("/"), field(5).unwrap_or("/usr/sbin/nologin"));
                let rest = format!("{gid}:{comment}:{home}:{shell}");
                self.users.push(Entry { name: name.to_owned(), id, rest });
            }
            _ => {
                let group = field(2).context("there is no group")?;
                self.group(group, None)?;
                let group = self.groups.iter_mut().find(|other| other.name == group).expect("it was made above");
                let mut members: Vec<&str> = group.rest.split(',').filter(|member| !member.is_empty()).collect();
                if !members.contains(&name) {
                    members.push(name);
                    group.rest = members.join(",");
                }
            }
        }
        Ok(())
    }

    /// Returns the id of a group, which is created if it is missing.
    fn group(&mut self, name: &str, gid: Option<&str>) -> Result<u32> {
        if let Ok(gid) = self.gid(name) {
            return Ok(gid);
        }
        let id = match gid {
            Some(gid) => gid.parse().context("a group number")?,
            None => self.free(),
        };
        self.groups.push(Entry { name: name.to_owned(), id, rest: String::new() });
        Ok(id)
    }

    fn gid(&self, name: &str) -> Result<u32> {
        if let Ok(gid) = name.parse() {
            return Ok(gid);
        }
        let group = self.groups.iter().find(|group| group.name == name);
        Ok(group.with_context(|| format!("there is no group {name}"))?.id)
    }

    fn free(&self) -> u32 {
        let used = |id: u32| self.users.iter().chain(&self.groups).any(|entry| entry.id == id);
        (1..=FIRST).rev().find(|id| !used(*id)).expect("a system has far fewer than 999 users")
    }

    /// Returns `/etc/passwd`, `/etc/group` and `/etc/shadow`. No account has a password.
    pub(super) fn files(&self) -> [(&'static str, String); 3] {
        let lines = |entries: &[Entry]| -> String {
            entries.iter().map(|Entry { name, id, rest }| format!("{name}:x:{id}:{rest}\n")).collect()
        };
        // "*" disables only the password, while "!" would lock out root's SSH key as well.
        let locked = |name: &str| if name == "root" { "*" } else { "!*" };
        let shadow = self.users.iter().map(|user| format!("{}:{}:1::::::\n", user.name, locked(&user.name)));
        [
            ("etc/passwd", lines(&self.users)),
            ("etc/group", lines(&self.groups)),
            ("etc/shadow", shadow.collect()),
        ]
    }
}

/// Reads lines of name, password, id, and the rest.
fn entries(text: &str) -> Result<Vec<Entry>> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.splitn(4, ':').collect();
        let [name, _, id, rest] = fields.try_into().ok()?;
        Some(Entry {
            name: name.to_owned(),
            id: id.parse().ok()?,
            rest: rest.to_owned(),
        })
    };
    text.lines()
        .map(|line| entry(line).with_context(|| format!("{line} is no user or group")))
        .collect()
}

/// Splits a line into words, some of which are quoted.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(files: &[&str]) -> Result<[String; 3]> {
        let mut users =
            Users::of_base("root:*:0:0:root:/root:/bin/bash\n", "root:*:0:\nnogroup:*:65534:\nvideo:*:44:\n")?;
        let files = files.iter().enumerate().map(|(at, text)| (at.to_string(), (*text).to_owned())).collect();
        users.add(&files)?;
        Ok(users.files().map(|(_, text)| text))
    }

    #[test]
    fn users_and_groups_are_made_as_sysusers_would() {
        let [passwd, group, shadow] = made(&[
            "# comment\n\nu! net - \"Network Management\"\nu sshd -:nogroup \"sshd user\" /run/sshd\n",
            "m keepsake gpio\nm keepsake video\ng gpio -\ng video -\nu keepsake - \"Keepsake camera\" /var/lib/keepsake\n",
        ])
        .unwrap();
        assert_eq!(
            passwd,
            "root:x:0:0:root:/root:/bin/bash\n\
             net:x:998:998:Network Management:/:/usr/sbin/nologin\n\
             sshd:x:997:65534:sshd user:/run/sshd:/usr/sbin/nologin\n\
             keepsake:x:996:996:Keepsake camera:/var/lib/keepsake:/usr/sbin/nologin\n"
        );
        assert_eq!(
            group,
            "root:x:0:\nnogroup:x:65534:\nvideo:x:44:keepsake\ngpio:x:999:keepsake\nnet:x:998:\nkeepsake:x:996:\n"
        );
        assert!(shadow.starts_with("root:*:1::::::\nnet:!*:1:"));
    }

    #[test]
    fn a_line_that_is_not_understood_makes_no_image() {
        for line in ["r - 500-900", "u", "u a x", "u a -:nobodys"] {
            assert!(made(&[line]).is_err(), "{line}");
        }
    }
}
