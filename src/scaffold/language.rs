//! The languages of new candidates: those whose scripts forge starts.

/// A language, with its smallest candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it all")]
pub enum Language {
    Sh,
    Bash,
    Zsh,
    Python,
    Node,
    TypeScript,
    Ruby,
    Perl,
    Php,
    Lua,
    R,
    Julia,
    Elixir,
    Tcl,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Sh,
        Self::Bash,
        Self::Zsh,
        Self::Python,
        Self::Node,
        Self::TypeScript,
        Self::Ruby,
        Self::Perl,
        Self::Php,
        Self::Lua,
        Self::R,
        Self::Julia,
        Self::Elixir,
        Self::Tcl,
    ];

    /// What it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Python => "python",
            Self::Node => "node",
            Self::TypeScript => "typescript",
            Self::Ruby => "ruby",
            Self::Perl => "perl",
            Self::Php => "php",
            Self::Lua => "lua",
            Self::R => "r",
            Self::Julia => "julia",
            Self::Elixir => "elixir",
            Self::Tcl => "tcl",
        }
    }

    /// The extension of its scripts, by which forge knows how to start them.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Python => "py",
            Self::Node => "mjs",
            Self::TypeScript => "mts",
            Self::Ruby => "rb",
            Self::Perl => "pl",
            Self::Php => "php",
            Self::Lua => "lua",
            Self::R => "R",
            Self::Julia => "jl",
            Self::Elixir => "exs",
            Self::Tcl => "tcl",
        }
    }

    /// A script that answers with what it was asked.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::Sh => {
                "#!/bin/sh\nset -eu\nprompt=$1\noutput=$2\n\nprintf '# Answer\\n\\n%s\\n' \"$prompt\" >\"$output\"\n"
            }
            Self::Bash => {
                "#!/usr/bin/env bash\nset -euo pipefail\nprompt=$1\noutput=$2\n\nprintf '# Answer\\n\\n%s\\n' \"$prompt\" >\"$output\"\n"
            }
            Self::Zsh => {
                "#!/usr/bin/env zsh\nset -eu\nprompt=$1\noutput=$2\n\nprintf '# Answer\\n\\n%s\\n' \"$prompt\" >\"$output\"\n"
            }
            Self::Python => {
                "#!/usr/bin/env python3\nimport sys\n\nprompt, output = sys.argv[1:3]\nwith open(output, \"w\", encoding=\"utf-8\") as file:\n    file.write(f\"# Answer\\n\\n{prompt}\\n\")\n"
            }
            Self::Node => {
                "#!/usr/bin/env node\nimport { writeFileSync } from \"node:fs\";\n\nconst [prompt, output] = process.argv.slice(2);\nwriteFileSync(output, `# Answer\\n\\n${prompt}\\n`);\n"
            }
            Self::TypeScript => {
                "import { writeFileSync } from \"node:fs\";\n\nconst [prompt, output]: string[] = process.argv.slice(2);\nwriteFileSync(output, `# Answer\\n\\n${prompt}\\n`);\n"
            }
            Self::Ruby => {
                "#!/usr/bin/env ruby\nprompt, output = ARGV\nFile.write(output, \"# Answer\\n\\n#{prompt}\\n\")\n"
            }
            Self::Perl => {
                "#!/usr/bin/env perl\nuse strict;\nuse warnings;\n\nmy ($prompt, $output) = @ARGV;\nopen my $file, '>', $output or die \"$output: $!\\n\";\nprint $file \"# Answer\\n\\n$prompt\\n\";\nclose $file or die \"$output: $!\\n\";\n"
            }
            Self::Php => {
                "<?php\n[, $prompt, $output] = $argv;\nfile_put_contents($output, \"# Answer\\n\\n$prompt\\n\");\n"
            }
            Self::Lua => {
                "local prompt, output = arg[1], arg[2]\nlocal file = assert(io.open(output, \"w\"))\nfile:write(\"# Answer\\n\\n\", prompt, \"\\n\")\nfile:close()\n"
            }
            Self::R => {
                "arguments <- commandArgs(trailingOnly = TRUE)\nwriteLines(c(\"# Answer\", \"\", arguments[1]), arguments[2])\n"
            }
            Self::Julia => {
                "prompt, output = ARGS\nwrite(output, \"# Answer\\n\\n\" * prompt * \"\\n\")\n"
            }
            Self::Elixir => {
                "[prompt, output] = System.argv()\nFile.write!(output, \"# Answer\\n\\n#{prompt}\\n\")\n"
            }
            Self::Tcl => {
                "lassign $argv prompt output\nset file [open $output w]\nfconfigure $file -encoding utf-8\nputs $file \"# Answer\\n\\n$prompt\"\nclose $file\n"
            }
        }
    }
}
