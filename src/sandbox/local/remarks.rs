//! What is said of candidates that run on this machine's own interpreters.

use std::path::PathBuf;

use super::LocalProvider;
use crate::candidate::{Candidate, Dependencies};
use crate::sandbox::FoundPython;

impl LocalProvider {
    /// What becomes of the Python that a candidate asks for, and which packages it uses that it does not
    /// declare, each a sentence. Asks an interpreter only where that matters, and each once.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was asked.
    pub async fn remarks(&self, candidate: &Candidate) -> Vec<String> {
        let (interpreters, programs) = (&self.shared.interpreters, &self.shared.programs);
        let mut remarks = Vec::new();
        let declares = match candidate.dependencies {
            Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => true,
            Dependencies::None | Dependencies::Node { .. } => false,
        };
        let mut own = None;
        if !candidate.python.is_none() && (candidate.start.python || declares) {
            match interpreters.find(&candidate.python, programs).await {
                FoundPython::Found { python, note } => {
                    own = python;
                    remarks.extend(note);
                }
                FoundPython::Missing(why) => remarks.push(why),
                FoundPython::Unknown => {}
            }
        }
        if candidate.imports.is_empty() {
            return remarks;
        }
        let found = match own.map(PathBuf::from) {
            Some(file) => interpreters.ask(&file, programs).await.map(|it| (file, it)),
            None => interpreters.usual(programs).await,
        };
        if let Some((file, answer)) = found {
            let modules = answer.installed().modules;
            let used: Vec<&str> = candidate
                .imports
                .intersection(&modules)
                .map(String::as_str)
                .collect();
            if !used.is_empty() {
                remarks.push(format!(
                    "its files import what it does not declare, {}: {} has that here, another Python may not",
                    crate::plain::short(&crate::suggest::list(used), 160),
                    file.display()
                ));
            }
        }
        remarks
    }

    /// The Python that candidates without packages of their own run on, in a line for people.
    ///
    /// # Cancel safety
    /// As [`LocalProvider::remarks`].
    pub async fn python(&self) -> Option<String> {
        let (interpreters, programs) = (&self.shared.interpreters, &self.shared.programs);
        let (file, answer) = interpreters.usual(programs).await?;
        let packages = answer.installed().packages;
        Some(format!(
            "Python {} ({}), with {} that such a candidate can import",
            answer.version,
            file.display(),
            crate::quantity::counted(packages, "installed package", "installed packages"),
        ))
    }
}
