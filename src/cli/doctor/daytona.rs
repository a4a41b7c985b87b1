//! What Daytona lets this key or token do.

use std::time::Duration;

use forge::exit::ExitCode as End;
use forge::quantity::counted;
use forge::sandbox::SandboxError;
use forge::sandbox::daytona::{
    Credential, Daytona, DaytonaConfig, DaytonaOptions, Resolved, Size, Source, Usage,
};
use serde_json::{Value, json};

use super::{Sheet, wrong};

/// What was told, for the document.
struct Told<'s> {
    sheet: &'s Sheet,
    lines: Vec<String>,
    problems: Vec<Value>,
}

impl Told<'_> {
    fn line(&mut self, line: String) {
        self.sheet.line(&format!("  {line}"));
        self.lines.push(line);
    }

    fn wrong(&mut self, error: &SandboxError) -> End {
        let problem = wrong(self.sheet, &error.to_string(), error.hint.as_deref());
        self.problems.push(problem);
        End::Incomplete
    }
}

pub(super) async fn examine(
    sheet: &mut Sheet,
    resolved: &Resolved,
    source: &Source,
    auto_stop: Option<Duration>,
) -> End {
    sheet.line("Daytona");
    let mut told = Told {
        sheet,
        lines: Vec::new(),
        problems: Vec::new(),
    };
    for note in &resolved.notes {
        told.line(format!("note: {note}"));
    }
    let mut end = End::Ok;
    for problem in &resolved.problems.0 {
        let problem = wrong(told.sheet, &problem.to_string(), problem.hint.as_deref());
        told.problems.push(problem);
        end = End::Usage;
    }
    let url = resolved
        .config
        .as_ref()
        .map(|it| it.api_url.as_str().to_owned());
    match &resolved.config {
        Some(config) => end = end.max(ask(config, source, auto_stop, &mut told).await),
        None => told
            .line("not configured: export DAYTONA_API_KEY, or put it into `.env.local`".to_owned()),
    }
    let part = json!({
        "configured": url.is_some(),
        "url": url,
        "works": url.is_some() && end == End::Ok,
        "told": told.lines,
        "problems": told.problems,
    });
    sheet.part("daytona", part);
    end
}

/// Asks the server what this key or token may do.
async fn ask(
    config: &DaytonaConfig,
    source: &Source,
    auto_stop: Option<Duration>,
    told: &mut Told<'_>,
) -> End {
    told.line(format!("url: {}", config.api_url.as_str()));
    let options = DaytonaOptions {
        auto_stop,
        ..DaytonaOptions::default()
    };
    let daytona = match Daytona::new(config, options) {
        Ok(daytona) => daytona,
        Err(error) => return told.wrong(&error),
    };
    let version = match daytona.server_config().await {
        Ok(Some(server)) => {
            let version = server.version.as_deref().unwrap_or("not told");
            told.line(format!("server version: {}", forge::plain::line(version)));
            for (name, limit) in server.rate_limit.into_iter().flatten() {
                if let Some(limit) = limit
                    && let (Some(requests), Some(seconds)) = (limit.limit, limit.ttl)
                {
                    let name = forge::plain::line(&name);
                    told.line(format!("rate limit, {name}: {requests} in {seconds} s"));
                }
            }
            server.version
        }
        Ok(None) => {
            told.line("the server says nothing about itself".to_owned());
            None
        }
        Err(error) => return told.wrong(&error),
    };
    for line in daytona.expiry(version.as_deref()) {
        told.line(line);
    }
    // Each is asked only for what it may ask: a question too many counts as a wrong key, and too many of
    // these shut this address out.
    match &config.credential {
        Credential::ApiKey(_) => match daytona.current_key().await {
            Ok(Some(key)) => {
                let permissions = forge::plain::line(&key.permissions.join(", "));
                told.line(format!("key: works; permissions: {permissions}"));
                told.line(
                    "fits at once: Daytona tells that to a token only, not to a key".to_owned(),
                );
            }
            Ok(None) => told.line("key: the server does not tell what it may do".to_owned()),
            Err(error) => return told.wrong(&error),
        },
        Credential::Jwt { organization, .. } => match daytona.usage(organization).await {
            Ok(Some(usage)) => fits(&usage, source, told),
            Ok(None) => told.line("fits at once: the server does not tell".to_owned()),
            Err(error) => return told.wrong(&error),
        },
    }
    match daytona.preflight().await {
        Ok(()) => {
            if config.credential.organization().is_some() {
                told.line("token: works".to_owned());
            }
            End::Ok
        }
        Err(error) => told.wrong(&error),
    }
}

/// How many sandboxes fit at once, region by region.
fn fits(usage: &Usage, source: &Source, told: &mut Told<'_>) {
    let Some(size) = Size::of(source) else {
        told.line("fits at once: the size of this snapshot is not known".to_owned());
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
        told.line(format!(
            "fits at once{region}: {count} ({cpu} CPU, {memory} GiB memory, {disk} GiB disk each)"
        ));
    }
}
