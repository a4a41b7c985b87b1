//! The candidates' files, kept with the run.

use std::sync::Arc;

use crate::baseline;
use crate::candidate::Candidate;
use crate::redact::Redactor;
use crate::store::RunFolder;

/// Keeps the candidates' files with the run, so that they can be run again; says which cannot be.
pub(super) async fn keep(
    folder: &RunFolder,
    candidates: &[Arc<Candidate>],
    redactor: &Arc<Redactor>,
) -> Vec<String> {
    let (folder, candidates) = (folder.clone(), candidates.to_vec());
    let redactor = Arc::clone(redactor);
    let pack = move || baseline::pack_all(&folder, candidates.iter().map(|it| &**it), &redactor);
    match tokio::task::spawn_blocking(pack).await {
        Ok(remarks) => remarks,
        Err(_) => vec!["candidates are not kept with this run: forge itself failed".to_owned()],
    }
}
