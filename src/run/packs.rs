//! The candidates' files, kept with the run.

use std::sync::Arc;

use crate::baseline;
use crate::candidate::Candidate;
use crate::event::RunPlan;
use crate::redact::Redactor;
use crate::store::RunFolder;

/// Keeps the candidates' files with the run, so that they can be run again; says which cannot be. Where results of
/// before are kept of another form of a candidate, its files of then stay.
pub(super) async fn keep(
    folder: &RunFolder,
    plan: Option<&RunPlan>,
    candidates: &[Arc<Candidate>],
    redactor: &Arc<Redactor>,
) -> Vec<String> {
    let is_planned = |it: &&Arc<Candidate>| {
        let mut planned = plan.iter().flat_map(|plan| &plan.candidates);
        planned.any(|of| of.name == it.name && of.digest == it.digest)
    };
    let candidates: Vec<_> = candidates.iter().filter(is_planned).cloned().collect();
    let folder = folder.clone();
    let redactor = Arc::clone(redactor);
    let pack = move || baseline::pack_all(&folder, candidates.iter().map(|it| &**it), &redactor);
    match tokio::task::spawn_blocking(pack).await {
        Ok(remarks) => remarks,
        Err(_) => vec!["candidates are not kept with this run: forge itself failed".to_owned()],
    }
}
