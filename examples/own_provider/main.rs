//! A provider of one's own, the one of `forge::sandbox::writing_a_provider`: each sandbox is a plain folder of this
//! machine, and isolates nothing. `cargo run --example own_provider` runs the candidates of this repository with it.

mod folder;
mod folders;

use std::io::{self, Write as _};

use folders::Folders;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = tempfile::tempdir()?;
    let folders = Folders {
        base: base.path().to_owned(),
        path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
    };
    let result = forge::Forge::builder()
        .provider(folders)
        .build()
        .run([])
        .await?;
    writeln!(io::stdout(), "{}", result.winner()?)?;
    Ok(())
}
