//! The dependency block that a Python script can carry (PEP 723): found and read, never executed.

use serde::Deserialize;

use super::pyproject::is_requirement;

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// The part of the block that forge acts on; the rest is for other tools.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Block {
    /// The packages, each as a requirement such as `requests>=2`.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// Which Pythons will do, such as `>=3.11`.
    #[serde(rename = "requires-python")]
    pub requires_python: Option<String>,
    /// Settings of tools; forge says which of them it does not follow.
    #[serde(default)]
    pub tool: toml::Table,
}

/// Returns what a script asks for in its `# /// script` block; nothing without a block.
///
/// # Errors
/// [`BlockError`] when a block has no end, there are several, or its TOML or a requirement is wrong.
pub fn dependencies(script: &str) -> Result<Block, BlockError> {
    let lines: Vec<&str> = script
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .collect();
    let mut starts = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| **line == "# /// script");
    let Some((start, _)) = starts.next() else {
        return Ok(Block::default());
    };
    let inside = lines[start + 1..]
        .iter()
        .take_while(|line| **line == "#" || line.starts_with("# "))
        .count();
    // The last closing line of the comment is the one that counts, says the specification.
    let block = &lines[start + 1..start + 1 + inside];
    let Some(length) = block.iter().rposition(|line| *line == "# ///") else {
        return Err(BlockError {
            line: start + 1,
            message: "the `# /// script` block is not closed by `# ///`".to_owned(),
        });
    };
    if let Some((second, _)) = starts.find(|(line, _)| *line > start + 1 + length) {
        return Err(BlockError {
            line: second + 1,
            message: "there is a second `# /// script` block".to_owned(),
        });
    }
    let content: Vec<&str> = block[..length]
        .iter()
        .map(|line| line.strip_prefix("# ").unwrap_or_default())
        .collect();
    let content = content.join("\n");
    let block: Block = toml::from_str(&content).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = content.get(..at).unwrap_or(&content).matches('\n').count();
        BlockError {
            line: start + 2 + before,
            message: format!("the `# /// script` block is wrong: {}", error.message()),
        }
    })?;
    if let Some(text) = block.dependencies.iter().find(|it| !is_requirement(it)) {
        return Err(BlockError {
            line: start + 1,
            message: format!("{text:?} is not a requirement such as `requests>=2`"),
        });
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expected: Result<&[&str], (usize, &str)>) {
        match (dependencies(script), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got.dependencies, expected, "{script}"),
            (Err(got), Err((line, part))) => {
                assert_eq!(got.line, line, "{script}: {got:?}");
                assert!(got.message.contains(part), "{script}: {got:?}");
            }
            (got, expected) => panic!("{script}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_block_says_what_to_install() {
        check("print(1)\n", Ok(&[]));
        check(
            "#!/usr/bin/env python3\n# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"requests<3\",\n#   \"rich\",\n# ]\n# ///\nimport rich\n",
            Ok(&["requests<3", "rich"]),
        );
        check(
            "# /// script\r\n# dependencies = [\"a\"]\r\n#\r\n# ///\r\n",
            Ok(&["a"]),
        );
        check(
            "# /// script\n# requires-python = \">=3\"\n# ///\n",
            Ok(&[]),
        );
        check(
            "# /// script\n# dependencies = []\n# ///\n# ///\n",
            Err((3, "no value")),
        );
        check("    # /// script\n    # ///\n", Ok(&[]));
        check("# /// other\n# x\n# ///\n", Ok(&[]));
    }

    #[test]
    fn a_block_says_which_python() {
        let script = "# /// script\n# requires-python = '>=3.11'\n# ///\n";
        let block = dependencies(script).unwrap();
        assert_eq!(block.requires_python.as_deref(), Some(">=3.11"));
    }

    #[test]
    fn a_wrong_block_is_told_with_its_line() {
        check(
            "import x\n# /// script\n# dependencies = []\nprint()\n",
            Err((2, "not closed")),
        );
        check(
            "# /// script\n# dependencies = [\"a\"\n# x = \n# ///\n",
            Err((3, "block is wrong")),
        );
        check(
            "# /// script\n#\n# dependencies = \"a\"\n# ///\n",
            Err((3, "invalid type")),
        );
        check(
            "# /// script\n# dependencies = [\"--index-url=x\"]\n# ///\n",
            Err((1, "not a requirement")),
        );
        check(
            "# /// script\n# ///\n\n# /// script\n# ///\n",
            Err((4, "second")),
        );
    }
}
