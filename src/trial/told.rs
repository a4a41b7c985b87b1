//! What a trial says in passing: the lines of its log.

use super::Attempt;
use crate::event::{TrialEnd, WARNING};

impl Attempt<'_> {
    pub(super) async fn log_end(&self, end: &TrialEnd) {
        let line = match (end.exit_code(), end.error()) {
            (Some(code), _) => format!("[Run] Exit code: {code}"),
            (None, Some((_, why))) => format!("[Run] {why}"),
            (None, None) => "[Run] Ended".to_owned(),
        };
        self.log(line).await;
        for stream in [&self.record.stdout, &self.record.stderr] {
            if stream.dropped > 0 {
                let kept = crate::quantity::ByteCount(stream.bytes - stream.dropped);
                let all = crate::quantity::ByteCount(stream.bytes);
                self.log(format!(
                    "{WARNING} {} holds the first {kept} of {all}",
                    stream.file
                ))
                .await;
            }
        }
    }

    pub(super) async fn log_artifacts(&self) {
        let line = match (&self.record.artifact, &self.record.no_artifact) {
            (Some(artifact), _) if artifact.bytes == 0 => {
                format!("{WARNING} The artifact is empty")
            }
            (Some(artifact), _) if artifact.partial => {
                "[Done] Partial artifact retrieved".to_owned()
            }
            (Some(_), _) => "[Done] Artifact retrieved".to_owned(),
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                format!("{WARNING} Could not read artifact: {why}")
            }
        };
        self.log(line).await;
        for skipped in &self.record.skipped {
            self.log(format!(
                "{WARNING} Left behind: {} {}",
                skipped.path, skipped.reason
            ))
            .await;
        }
    }
}
