//! A sandbox's own network: until the rules are in force everything outside
//! answers on the ports of DNS and the web, whatever its address; from then on only what they allow.
//!
//! It is a network namespace of this machine, so nothing leaves it. It takes `unshare`, `nsenter`, `ip`
//! and `python3`, and a kernel that lets this user have one.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use super::estate::lock;

/// The list of networks that allows all of them.
pub(crate) const EVERYTHING: &str = "0.0.0.0/0";

/// Holds the namespace until its standard input ends; a line on it is the list of what is allowed from then on.
const HOLDER: &str = r#"
now=0.0.0.0/0
ip link set lo up && ip route add local "$now" dev lo || exit 1
python3 -c "$1" & outside=$!
while read -r allowed; do
    for network in $now; do ip route del local "$network" dev lo; done
    for network in $allowed; do ip route add local "$network" dev lo; done
    now=$allowed
    echo applied
done
kill $outside
"#;

/// Answers whoever connects, and says when it does.
const ANSWERS: &str = r#"
import selectors, socket
waiting = selectors.DefaultSelector()
for port in (53, 80, 443, 853):
    waiting.register(socket.create_server(("0.0.0.0", port), backlog=64), selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        connection, _ = key.fileobj.accept()
        try:
            connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        except OSError:
            pass
        connection.close()
"#;

/// The network of one sandbox.
#[derive(Debug)]
pub(crate) struct Outside {
    holder: Child,
    // Closed first when it ends: that ends the holder.
    ends: Mutex<Option<Ends>>,
}

#[derive(Debug)]
struct Ends {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What is allowed.
    allowed: String,
}

impl Ends {
    fn expect(&mut self, word: &str) -> io::Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.trim_end() == word {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "{word} was expected, not {line:?}"
            )))
        }
    }
}

/// Whether a namespace belongs to whoever made it, and has to be entered with that user's.
fn is_own_user() -> bool {
    !rustix::process::geteuid().is_root()
}

impl Outside {
    /// Opens a network in which everything answers.
    ///
    /// # Errors
    /// When this machine has not what it takes.
    pub(crate) fn open() -> io::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(is_own_user().then_some("--map-root-user"));
        command.args(["--net", "sh", "-c", HOLDER, "sh", ANSWERS]);
        let mut holder = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(input), Some(output)) = (holder.stdin.take(), holder.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let output = BufReader::new(output);
        let mut ends = Ends {
            input,
            output,
            allowed: EVERYTHING.to_owned(),
        };
        let ready = ends.expect("ready");
        let this = Self {
            holder,
            ends: Mutex::new(Some(ends)),
        };
        ready.map(|()| this)
    }

    /// A program inside of it.
    pub(crate) fn command(&self, program: &str) -> tokio::process::Command {
        let space = |kind: &str| format!("/proc/{}/ns/{kind}", self.holder.id());
        let mut command = tokio::process::Command::new("nsenter");
        command.arg(format!("--net={}", space("net")));
        if is_own_user() {
            command.arg(format!("--user={}", space("user")));
            command.arg("--preserve-credentials");
        }
        command.args(["--", program]);
        command
    }

    /// Puts rules into force that allow these networks.
    pub(crate) fn rule(&self, allowed: &str) -> io::Result<()> {
        match &mut *lock(&self.ends) {
            Some(ends) if ends.allowed != allowed => {
                allowed.clone_into(&mut ends.allowed);
                writeln!(ends.input, "{}", allowed.replace(',', " "))?;
                ends.expect("applied")
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(lock(&self.ends).take());
        drop(self.holder.wait());
    }
}
