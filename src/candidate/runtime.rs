//! Which program runs which kind of script. A table; nothing here looks at this machine, because the
//! interpreter is looked for in the sandbox.

/// Whose packages a script may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecosystem {
    /// `requirements.txt` and PEP 723 blocks.
    Python,
    /// `package.json`.
    Node,
    /// None that forge installs.
    Other,
}

/// How scripts of one kind run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Alternatives, best first: each a program with its leading arguments.
    pub programs: &'static [&'static [&'static str]],
    /// Whose packages it may ask for.
    pub ecosystem: Ecosystem,
}

const PYTHON: &[&[&str]] = &[&["python3", "-u"], &["python", "-u"]];
const NODE: &[&[&str]] = &[&["node"]];
/// What makes Node run TypeScript; one that is too old says that it does not know it.
pub const TYPES: &str = "--experimental-strip-types";
const TYPESCRIPT: &[&[&str]] = &[&["bun"], &["deno", "run", "-A"], &["tsx"], &["node", TYPES]];

/// The runtime for a file extension, without its dot, in any case.
#[must_use]
pub fn for_extension(extension: &str) -> Option<Runtime> {
    let (programs, ecosystem): (&'static [&'static [&'static str]], Ecosystem) =
        match extension.to_ascii_lowercase().as_str() {
            "py" => (PYTHON, Ecosystem::Python),
            "js" | "mjs" | "cjs" => (NODE, Ecosystem::Node),
            "ts" | "mts" | "cts" => (TYPESCRIPT, Ecosystem::Node),
            "sh" => (&[&["bash"], &["sh"]], Ecosystem::Other),
            "bash" => (&[&["bash"]], Ecosystem::Other),
            "zsh" => (&[&["zsh"]], Ecosystem::Other),
            "rb" => (&[&["ruby"]], Ecosystem::Other),
            "pl" => (&[&["perl"]], Ecosystem::Other),
            "php" => (&[&["php"]], Ecosystem::Other),
            "lua" => (&[&["lua"], &["luajit"]], Ecosystem::Other),
            "r" => (&[&["Rscript"]], Ecosystem::Other),
            "jl" => (&[&["julia"]], Ecosystem::Other),
            "exs" => (&[&["elixir"]], Ecosystem::Other),
            "tcl" => (&[&["tclsh"]], Ecosystem::Other),
            _ => return None,
        };
    Some(Runtime {
        programs,
        ecosystem,
    })
}

/// Whose packages a program named by the user may ask for.
#[must_use]
pub fn for_program(program: &str) -> Ecosystem {
    match program.rsplit('/').next().unwrap_or(program) {
        "python" | "python3" => Ecosystem::Python,
        "node" | "npm" | "npx" | "tsx" | "bun" | "deno" => Ecosystem::Node,
        _ => Ecosystem::Other,
    }
}

/// The extensions to name in advice.
pub const COMMON: &str = "`.py`, `.js`, `.ts`, `.sh`, `.rb`, `.pl`, `.php`, `.lua`, `.R`, `.jl`";
