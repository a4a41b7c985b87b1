//! `forge doctor`: says what works here, and what to do about what does not.

use std::path::Path;

use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::problem::Problems;
use forge::quantity::counted;
use forge::sandbox::daytona::{
    Credential, Daytona, DaytonaConfig, DaytonaOptions, Size, Source, Usage,
};
use forge::sandbox::local::LocalProvider;

use super::mode;
use super::print::Printer;
use super::run::before_the_start;

/// Programs that candidates of the known languages are started with.
const INTERPRETERS: [&str; 10] = [
    "python3", "node", "bash", "sh", "ruby", "perl", "php", "lua", "Rscript", "bun",
];

pub(super) fn doctor(printer: Printer) -> End {
    let runtime = match super::runtime(printer) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    let variables = forge::settings::variables();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    printer.out(&format!(
        "forge {} on {os} {arch}\n\n",
        env!("CARGO_PKG_VERSION")
    ));
    let project = forge::settings::project(Path::new("."));
    let (source, candidates, written) = match project.and_then(|project| {
        let source = mode::written_source(&project).map_err(Problems::from)?;
        Ok((source, project.candidates, project.local))
    }) {
        Ok(both) => both,
        Err(problems) => {
            printer.note(&problems.to_string());
            return End::Usage;
        }
    };
    let resolved = forge::settings::daytona(&variables, Path::new("."));
    let mut end = End::Ok;
    printer.out("Daytona\n");
    for note in &resolved.notes {
        printer.out(&format!("  note: {note}\n"));
    }
    for problem in &resolved.problems.0 {
        printer.out(&format!("  wrong: {problem}\n"));
        end = End::Usage;
    }
    match resolved.config {
        Some(config) => {
            end = end.max(runtime.block_on(daytona(&config, &source, printer)));
        }
        None => {
            printer.out("  not configured: export DAYTONA_API_KEY, or put it into `.env.local`\n");
        }
    }
    let options = mode::local(&variables, &written);
    let found = |name: &str| {
        let mut folders = std::env::split_paths(&options.path);
        folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
    };
    printer.out("\nInterpreters on this machine\n");
    for name in INTERPRETERS {
        match found(name) {
            Some(path) => printer.out(&format!("  {name:<8}  {}\n", path.display())),
            None => printer.out(&format!("  {name:<8}  not found\n")),
        }
    }
    let local = LocalProvider::new(options, RunId::generate());
    if let Some(python) = runtime.block_on(local.python()) {
        printer.out(&format!(
            "  candidates in Python that declare no packages run on {}\n",
            forge::plain::line(&python)
        ));
    }
    // Those that are wrong are for `check` to tell.
    let folder = candidates.unwrap_or_else(|| "candidates".into());
    for mut candidate in forge::candidate::load::load_dir(&folder, &[]).unwrap_or_default() {
        candidate.notes = runtime.block_on(local.remarks(&candidate));
        for remark in candidate.remarks() {
            printer.out(&format!("  note: {remark}\n"));
        }
    }
    printer.out("\nIsolation\n");
    let end = match runtime.block_on(local.describe(None)) {
        Ok(line) => {
            printer.out(&format!("  {line}\n"));
            end
        }
        Err(error) => {
            wrong(printer, &error);
            end.max(before_the_start(&error))
        }
    };
    for line in runtime.block_on(local.explain()) {
        printer.out(&format!("  {line}\n"));
    }
    end
}

async fn daytona(config: &DaytonaConfig, source: &Source, printer: Printer) -> End {
    printer.out(&format!("  url: {}\n", config.api_url.as_str()));
    let daytona = match Daytona::new(config, DaytonaOptions::default()) {
        Ok(daytona) => daytona,
        Err(error) => return wrong(printer, &error),
    };
    match daytona.server_config().await {
        Ok(Some(server)) => {
            let version = server.version.as_deref().unwrap_or("not told");
            printer.out(&format!(
                "  server version: {}\n",
                forge::plain::line(version)
            ));
            for (name, limit) in server.rate_limit.into_iter().flatten() {
                if let Some(limit) = limit
                    && let (Some(requests), Some(seconds)) = (limit.limit, limit.ttl)
                {
                    let name = forge::plain::line(&name);
                    printer.out(&format!(
                        "  rate limit, {name}: {requests} in {seconds} s\n"
                    ));
                }
            }
        }
        Ok(None) => printer.out("  the server says nothing about itself\n"),
        Err(error) => return wrong(printer, &error),
    }
    // Each is asked only for what it may ask: a question too many counts as a wrong key, and too many of
    // these shut this address out.
    match &config.credential {
        Credential::ApiKey(_) => match daytona.current_key().await {
            Ok(Some(key)) => {
                let permissions = forge::plain::line(&key.permissions.join(", "));
                printer.out(&format!("  key: works; permissions: {permissions}\n"));
                printer.out("  fits at once: Daytona tells that to a token only, not to a key\n");
            }
            Ok(None) => printer.out("  key: the server does not tell what it may do\n"),
            Err(error) => return wrong(printer, &error),
        },
        Credential::Jwt { organization, .. } => match daytona.usage(organization).await {
            Ok(Some(usage)) => fits(&usage, source, printer),
            Ok(None) => printer.out("  fits at once: the server does not tell\n"),
            Err(error) => return wrong(printer, &error),
        },
    }
    match daytona.preflight().await {
        Ok(()) => {
            if config.credential.organization().is_some() {
                printer.out("  token: works\n");
            }
            End::Ok
        }
        Err(error) => wrong(printer, &error),
    }
}

/// How many sandboxes fit at once, region by region.
fn fits(usage: &Usage, source: &Source, printer: Printer) {
    let Some(size) = Size::of(source) else {
        printer.out("  fits at once: the size of this snapshot is not known\n");
        return;
    };
    let Size { cpu, memory, disk } = size;
    for pool in usage.pools() {
        let region = pool
            .region_id
            .as_deref()
            .map_or_else(String::new, |region| {
                format!(" in {}", forge::plain::short(region, 40))
            });
        let count = match pool.fits(size) {
            Some((all, free)) => format!(
                "{}, {free} of them now",
                counted(all, "sandbox", "sandboxes")
            ),
            None => "as many as you like".to_owned(),
        };
        printer.out(&format!(
            "  fits at once{region}: {count} ({cpu} CPU, {memory} GiB memory, {disk} GiB disk each)\n"
        ));
    }
}

fn wrong(printer: Printer, error: &forge::sandbox::SandboxError) -> End {
    printer.out(&format!(
        "  wrong: {}\n",
        forge::plain::line(&error.to_string())
    ));
    if let Some(hint) = &error.hint {
        printer.out(&format!("  hint: {}\n", forge::plain::line(hint)));
    }
    End::Incomplete
}
