//! Against a server of others, moto, where it can be had: what the one of these tests takes, others take too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::stored::machine;
use crate::support::s3::{KEY, SECRET};
use crate::support::skipped;
use crate::support::workspace::{Workspace, finish};

/// A moto; ended when it is dropped.
struct Moto {
    server: Child,
    address: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// Where it is installed, outside of the package; put there only where somebody has said that this may be done.
fn program() -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("forge-test-moto-5");
    let program = folder.join("bin/moto_server");
    if !program.is_file() && std::env::var_os("FORGE_TEST_INSTALL").is_some() {
        let script = "python3 -m venv \"$0\" && \"$0/bin/pip\" install -q 'moto[server,s3]==5.*'";
        let installed = Command::new("sh")
            .args(["-c", script])
            .arg(&folder)
            .output();
        installed.map_err(|error| error.to_string())?;
    }
    if program.is_file() {
        Ok(program)
    } else {
        Err("no moto: python3 has to be there, and FORGE_TEST_INSTALL=1 set".to_owned())
    }
}

fn moto() -> Result<Moto, String> {
    let mut server = Command::new(program()?)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut said = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        if said.read_line(&mut line).unwrap_or(0) == 0 {
            break None;
        }
        if let Some((_, address)) = line.split_once("http://") {
            break Some(address.trim().to_owned());
        }
    };
    // What it says of requests is read, so that it can go on.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let moto = Moto {
        server,
        address: address.unwrap_or_default(),
    };
    let request = format!(
        "PUT /runs HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        moto.address
    );
    let mut stream = TcpStream::connect(&moto.address).map_err(|error| error.to_string())?;
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(moto)
}

#[test]
fn a_server_of_others_takes_a_run_and_gives_it_back() {
    let moto = match moto() {
        Ok(moto) => moto,
        Err(why) => return skipped("a run in the object store of others", &why),
    };
    let forge = |machine: &Workspace, arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", moto.address))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        finish(command.spawn().unwrap())
    };
    let here = machine(1, "0.02")
        .candidate("c.sh", "#!/bin/sh\nhead -c 12000000 /dev/zero > \"$2\"\n")
        .file(
            "objectives/o0.yaml",
            "prompt: do it\nlimits: {artifacts: 50MiB}\n",
        );
    let ended = forge(&here, &["-k2", "-q"]).expect(0);
    assert!(
        !ended.stderr.contains("writes objects over others"),
        "{ended:?}"
    );
    let there = machine(1, "0.02")
        .candidate("c.sh", "#!/bin/sh\nhead -c 12000000 /dev/zero > \"$2\"\n")
        .file(
            "objectives/o0.yaml",
            "prompt: do it\nlimits: {artifacts: 50MiB}\n",
        );
    let resumed = forge(&there, &["--resume", "latest", "-k3", "-q"]).expect(0);
    assert!(resumed.stderr.contains("fetching the run"), "{resumed:?}");
    assert_eq!(there.trials().len(), 9);
    let (first, second) = (here.run_folder(), there.run_folder());
    assert_eq!(first.file_name(), second.file_name());
    let large = "o0/c/1/discord_post.md";
    let read = |folder: PathBuf| std::fs::read(folder.join(large)).unwrap();
    assert!(read(first) == read(second));
}
