//! stub
use super::*;
pub const KEEPER_WORD: &str = "__sandbox";
pub mod keeper {
    pub fn main() -> std::process::ExitCode {
        std::process::ExitCode::SUCCESS
    }
}
#[derive(Debug, Clone, Default)]
pub struct LocalOptions {}
impl LocalOptions {
    pub fn of(_: &std::collections::BTreeMap<String, String>) -> Self {
        Self {}
    }
}
#[derive(Debug)]
pub struct LocalProvider;
impl LocalProvider {
    pub fn start(_: LocalOptions, _: RunId) -> Result<Self, SandboxError> {
        Ok(Self)
    }
    pub fn describe(&self) -> String {
        String::new()
    }
}
impl Provider for LocalProvider {
    fn name(&self) -> &'static str {
        "local"
    }
    fn create<'a>(
        &'a self,
        _: &'a SandboxSpec,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        todo!()
    }
    fn delete<'a>(&'a self, _: &'a SandboxId) -> BoxFuture<'a, Result<Deletion, SandboxError>> {
        todo!()
    }
    fn find<'a>(
        &'a self,
        _: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        todo!()
    }
    fn list<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        todo!()
    }
}
