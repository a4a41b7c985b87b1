//! x
use super::*;
use crate::problem::Problems;
pub fn load_dir(_: &std::path::Path, _: &[String]) -> Result<Vec<Candidate>, Problems> {
    todo!()
}
