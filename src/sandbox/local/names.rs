//! What a sandbox's user is called.
//!
//! Promises: there is always a name, and where the system's list has one for the user, it is that.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::protocol::Rung;
use super::upload;
use crate::name::RelativePath;
use crate::sandbox::{Area, Content, Upload};

/// The name where there is no other.
const CANDIDATE: &str = "candidate";
/// The file for [`git_settings`], beside the areas of a sandbox, so that these are empty.
pub(super) const GIT_SETTINGS: &str = "gitconfig";

/// What the user of a sandbox is called inside.
pub(super) fn of(rung: Rung, user: Option<u32>) -> String {
    match rung {
        Rung::Namespaces { .. } => CANDIDATE.to_owned(),
        Rung::Landlock | Rung::Process { .. } => {
            let user = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
            let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            listed(&known, user).unwrap_or(CANDIDATE).to_owned()
        }
    }
}

fn listed(passwd: &str, user: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(user) && !name.is_empty()).then_some(name)
    })
}

/// The lists of users and of groups for a view of files in which there are no others: their file, and its text.
pub(super) fn lists(user: u32, group: u32, home: &Path) -> [(&'static str, String); 2] {
    // A home with a colon in it cannot be written down.
    let home = home.to_str().filter(|it| !it.contains([':', '\n']));
    let home = home.unwrap_or("/tmp");
    let passwd = format!(
        "{CANDIDATE}:x:{user}:{group}:{CANDIDATE}:{home}:/bin/sh\n\
         root:x:0:0:root:/:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    // Groups are looked up by number, too; those of others are called nobody's.
    let groups = format!("{CANDIDATE}:x:{group}:\nroot:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
    [("etc/passwd", passwd), ("etc/group", groups)]
}

/// Settings for git below those of everybody else, this machine's included: a name, without which it refuses to
/// commit.
fn git_settings() -> String {
    format!(
        "[user]\n\tname = {CANDIDATE}\n\temail = {CANDIDATE}@localhost\n[include]\n\tpath = /etc/gitconfig\n"
    )
}

/// Puts them down in a new sandbox. They stay this user's: programs only read them.
pub(super) async fn name_committer(root: &OwnedFd) -> io::Result<()> {
    let settings = Upload {
        area: Area::Forge,
        path: RelativePath::parse(GIT_SETTINGS).map_err(io::Error::other)?,
        content: Content::Bytes(git_settings().into_bytes().into()),
        executable: false,
    };
    let mut reading = upload::Reading::of(&[]);
    let contents = reading.contents(&settings).await?;
    let held = &mut upload::Held::default();
    upload::put(root, held, &settings, contents, None).await
}

/// Whether these are they.
pub(super) fn are_git_settings(file: OwnedFd) -> bool {
    let expected = git_settings();
    let mut text = Vec::new();
    let read = std::fs::File::from(file).take(expected.len() as u64 + 1);
    { read }.read_to_end(&mut text).is_ok() && text == expected.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n:x:7:7::/:\nodd\n";
        assert_eq!(listed(passwd, 1000), Some("me"));
        assert_eq!(listed(passwd, 0), Some("root"));
        assert_eq!(listed(passwd, 7), None);
        assert_eq!(listed(passwd, 60_706), None);
    }

    #[test]
    fn a_home_that_cannot_be_listed_is_another() {
        let [(_, passwd), _] = lists(5, 6, Path::new("/a:b"));
        assert_eq!(
            passwd.lines().next(),
            Some("candidate:x:5:6:candidate:/tmp:/bin/sh")
        );
    }
}
