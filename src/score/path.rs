//! JSON paths (RFC 9535) as the objective has them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::{JsonPath, ParseError};

/// A JSON path. It is kept as written, because what the parser makes of it does not always read back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path {
    written: String,
    parsed: JsonPath,
}

impl Path {
    /// Parses one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::try_from(text.to_owned())
    }

    /// The nodes that it selects.
    pub(super) fn query<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.parsed.query(value).all()
    }
}

impl TryFrom<String> for Path {
    type Error = ParseError;

    fn try_from(written: String) -> Result<Self, ParseError> {
        let parsed = JsonPath::parse(&written)?;
        Ok(Self { written, parsed })
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.written
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}
