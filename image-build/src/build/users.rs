//! Creates the users and groups that packages declare in `sysusers.d`, when the image is built: the ids are the same
//! on every card, and nothing has to be created at boot.
//!
//! Not with this computer's systemd-sysusers: versions before 257 do not know the type `u!`, with which today's
//! packages lock their users.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};

/// The first dynamic id; later ones are lower, as in systemd.
const FIRST: u32 = 999;

#[derive(Debug, Default)]
pub(super) struct Users {
    /// The lines of `/etc/passwd` and `/etc/group` in their order.
    passwd: Vec<Passwd>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    comment: String,
    home: String,
    shell: String,
}

#[derive(Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl Users {
    /// Returns the users of every Debian, from `passwd.master` and `group.master` of base-passwd.
    pub(super) fn of_base(passwd: &str, group: &str) -> Result<Self> {
        let mut users = Self::default();
        for line in passwd.lines() {
            let [name, _, uid, gid, comment, home, shell] = fields(line)?;
            users.passwd.push(Passwd {
                name: name.to_owned(),
                uid: uid.parse().context("a user number")?,
                gid: gid.parse().context("a group number")?,
                comment: comment.to_owned(),
                home: home.to_owned(),
                shell: shell.to_owned(),
            });
        }
        for line in group.lines() {
            let [name, _, gid, members] = fields(line)?;
            users.groups.push(Group {
                name: name.to_owned(),
                gid: gid.parse().context("a group number")?,
                members: members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect(),
            });
        }
        Ok(users)
    }

    /// Adds the users of all files of `sysusers.d`. `files`: their texts by name; they are read in that order.
    pub(super) fn add(&mut self, files: &BTreeMap<String, String>) -> Result<()> {
        let lines: Vec<Vec<String>> = files
            .values()
            .flat_map(|text| text.lines())
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(words)
            .collect();
        // Groups first: users and memberships refer to them.
        for kind in ["g", "u", "m"] {
            for line in lines.iter().filter(|line| line[0].trim_end_matches('!') == kind) {
                self.take(kind, line).with_context(|| line.join(" "))?;
            }
        }
        for line in &lines {
            if !["g", "u", "m"].contains(&line[0].trim_end_matches('!')) {
                bail!("unknown line: {}", line.join(" "));
            }
        }
        Ok(())
    }

    fn take(&mut self, kind: &str, line: &[String]) -> Result<()> {
        let field = |at: usize| match line.get(at).map(String::as_str) {
            None | Some("-") => None,
            Some(text) => Some(text),
        };
        let name = field(1).context("there is no name")?;
        match kind {
            "g" => {
                self.group(name, field(2))?;
            }
            "u" => {
                if self.passwd.iter().any(|user| user.name == name) {
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
                let uid = match uid {
                    Some(uid) => uid.parse().context("a user number")?,
                    None if group.is_none() => gid,
                    None => self.free(),
                };
                self.passwd.push(Passwd {
                    name: name.to_owned(),
                    uid,
                    gid,
                    comment: field(3).unwrap_or_default().to_owned(),
                    home: field(4).unwrap_or("/").to_owned(),
                    shell: field(5).unwrap_or("/usr/sbin/nologin").to_owned(),
                });
            }
            _ => {
                let group = field(2).context("there is no group")?;
                self.group(group, None)?;
                let group = self.groups.iter_mut().find(|other| other.name == group).expect("it was made above");
                if !group.members.iter().any(|member| member == name) {
                    group.members.push(name.to_owned());
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
        let gid = match gid {
            Some(gid) => gid.parse().context("a group number")?,
            None => self.free(),
        };
        self.groups.push(Group { name: name.to_owned(), gid, members: Vec::new() });
        Ok(gid)
    }

    fn gid(&self, name: &str) -> Result<u32> {
        if let Ok(gid) = name.parse() {
            return Ok(gid);
        }
        let group = self.groups.iter().find(|group| group.name == name);
        Ok(group.with_context(|| format!("there is no group {name}"))?.gid)
    }

    fn free(&self) -> u32 {
        (1..=FIRST)
            .rev()
            .find(|number| {
                self.groups.iter().all(|group| group.gid != *number)
                    && self.passwd.iter().all(|user| user.uid != *number)
            })
            .expect("a system has far fewer than 999 users")
    }

    /// Returns `/etc/passwd`, `/etc/group` and `/etc/shadow`. No account has a password.
    pub(super) fn files(&self) -> [(&'static str, String); 3] {
        let (mut passwd, mut group, mut shadow) = (String::new(), String::new(), String::new());
        for user in &self.passwd {
            let Passwd { name, uid, gid, comment, home, shell } = user;
            let _ = writeln!(passwd, "{name}:x:{uid}:{gid}:{comment}:{home}:{shell}");
            // "*" disables only the password, while "!" would lock out root's SSH key as well.
            let locked = if name == "root" { "*" } else { "!*" };
            let _ = writeln!(shadow, "{name}:{locked}:1::::::");
        }
        for Group { name, gid, members } in &self.groups {
            let _ = writeln!(group, "{name}:x:{gid}:{}", members.join(","));
        }
        [("etc/passwd", passwd), ("etc/group", group), ("etc/shadow", shadow)]
    }
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N]> {
    let fields: Vec<&str> = line.split(':').collect();
    ensure!(fields.len() == N, "{line} has not {N} fields");
    Ok(fields.try_into().expect("it was counted"))
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
