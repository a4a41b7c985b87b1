//! The programs of this machine, and which of them the project's candidates need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forge::candidate::Candidate;
use forge::problem::Problem;
use forge::project::Project;
use forge::quantity::counted;
use forge::sandbox::local::LocalProvider;
use serde_json::{Value, json};

use super::Sheet;
use crate::cli::json::problems;

/// Programs that candidates of the known languages are started and set up with.
const KNOWN: [&str; 14] = [
    "python3", "node", "bash", "sh", "ruby", "perl", "php", "lua", "Rscript", "bun", "npm", "uv",
    "git", "cc",
];

pub(super) async fn examine(sheet: &mut Sheet, local: &LocalProvider, project: &Project) {
    let folder = |given: &Option<PathBuf>, usual: &str| {
        given.clone().unwrap_or_else(|| PathBuf::from(usual))
    };
    let here = folder(&project.candidates, "candidates");
    // Those that are wrong are for `check` to tell.
    let candidates = forge::candidate::load::load_dir(&here, &[]);
    let unloaded = candidates.as_ref().map_err(|more| more.0.clone()).err();
    let candidates = candidates.unwrap_or_default();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for candidate in &candidates {
        for name in local.tools_of(candidate).await {
            needs
                .entry(name)
                .or_default()
                .push(candidate.name.to_string());
        }
    }
    tools(sheet, local, &needs).await;
    if let Some(python) = local.python().await {
        let python = forge::plain::line(&python);
        sheet.line(&format!(
            "  candidates in Python that declare no packages run on {python}"
        ));
        sheet.part("python", json!(python));
    }
    let objectives = folder(&project.objectives, "objectives");
    // Where it cannot be told what a run would start, it may be anything.
    if !candidates.is_empty()
        && let Ok(all) = forge::objective::load::load_dir(&objectives)
    {
        local.expect(&candidates, &all);
    }
    about(
        sheet,
        local,
        candidates,
        unloaded.as_deref(),
        (&here, &objectives),
    )
    .await;
}

/// Each known or needed program.
async fn tools(sheet: &mut Sheet, local: &LocalProvider, needs: &BTreeMap<String, Vec<String>>) {
    sheet.line("\nPrograms on this machine");
    let others = needs.keys().map(String::as_str);
    let others = others.filter(|name| !KNOWN.contains(name));
    let names: Vec<&str> = KNOWN.into_iter().chain(others).collect();
    let found = futures::future::join_all(names.iter().map(|name| local.tool(name))).await;
    let mut tools = Vec::new();
    for (name, tool) in names.into_iter().zip(found) {
        let needed_by = needs.get(name).map(Vec::as_slice).unwrap_or_default();
        let remedy = match &tool {
            None if !needed_by.is_empty() => Some("install it, in a folder of `PATH`"),
            None | Some(_) => None,
        };
        let shown = forge::plain::short(name, 40);
        match (&tool, remedy) {
            (Some(tool), _) => {
                let version = tool.version.as_deref().unwrap_or("");
                sheet.line(&format!(
                    "  {shown:<8}  {version:<8}  {}",
                    tool.path.display()
                ));
            }
            (None, None) => sheet.line(&format!("  {shown:<8}  not found")),
            (None, Some(remedy)) => {
                let who = forge::suggest::list(needed_by.iter().map(String::as_str));
                let who = forge::plain::short(&who, 120);
                sheet.line(&format!(
                    "  {shown:<8}  not found; needed by {who}: {remedy}"
                ));
            }
        }
        tools.push(json!({
            "name": shown,
            "found": tool.is_some(),
            "path": tool.as_ref().map(|tool| tool.path.display().to_string()),
            "version": tool.as_ref().and_then(|tool| tool.version.clone()),
            "needed_by": needed_by,
            "remedy": remedy,
        }));
    }
    sheet.part("tools", Value::Array(tools));
}

/// The project in this folder, if there is one.
async fn about(
    sheet: &mut Sheet,
    local: &LocalProvider,
    candidates: Vec<Candidate>,
    unloaded: Option<&[Problem]>,
    (folder, objectives): (&Path, &Path),
) {
    sheet.line("\nProject");
    let is_here = folder.exists();
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    if !is_here {
        let folder = folder.display();
        sheet.line(&format!("  none in this folder: there is no `{folder}`"));
    } else if let Some(problems) = unloaded {
        let count = counted(problems.len(), "problem", "problems");
        sheet.line(&format!(
            "  {count} with its candidates, which `forge check` tells"
        ));
        missing.extend_from_slice(problems);
    } else {
        let count = counted(candidates.len(), "candidate", "candidates");
        sheet.line(&format!("  {count} in {}", folder.display()));
    }
    let count = candidates.len();
    for mut candidate in candidates {
        let own = local.missing(&candidate).await;
        for problem in &own {
            sheet.line(&format!("  wrong: {problem}"));
            if let Some(hint) = &problem.hint {
                sheet.line(&format!("  hint: {}", forge::plain::line(hint)));
            }
        }
        candidate.notes = local.remarks(&candidate).await;
        let told = |note: &String| own.iter().any(|problem| problem.message.contains(note));
        candidate.notes.retain(|note| !told(note));
        for remark in candidate.remarks() {
            sheet.line(&format!("  note: {remark}"));
            notes.push(remark);
        }
        missing.extend(own);
    }
    let part = json!({
        "found": is_here,
        "candidates": {"folder": folder.display().to_string(), "count": count},
        "objectives": {"folder": objectives.display().to_string(), "found": objectives.is_dir()},
        "problems": problems(&missing),
        "notes": notes,
    });
    sheet.part("project", part);
}
