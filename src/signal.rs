//! Signals and exit codes, by what they are called.

/// The name of a signal, for example `SIGKILL`; `None` for one without a name that people know.
#[must_use]
pub const fn name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        // The others have different numbers on macOS; sandboxes in the cloud are Linux.
        7 if cfg!(target_os = "linux") => "SIGBUS",
        10 if cfg!(target_os = "linux") => "SIGUSR1",
        12 if cfg!(target_os = "linux") => "SIGUSR2",
        31 if cfg!(target_os = "linux") => "SIGSYS",
        _ => return None,
    })
}

/// A signal for people: `9 (SIGKILL)`.
#[must_use]
pub fn shown(signal: i32) -> String {
    name(signal).map_or_else(|| signal.to_string(), |name| format!("{signal} ({name})"))
}

/// What an exit code means by the rules of shells: `, a command was not found`; empty for most.
#[must_use]
pub fn meaning(code: i32) -> String {
    match code {
        126 => ", a command could not be executed".to_owned(),
        127 => ", a command was not found".to_owned(),
        129..=159 => name(code - 128).map_or_else(String::new, |name| {
            format!(", as after {name} in something it ran")
        }),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_and_the_codes_of_shells_have_words() {
        assert_eq!(shown(9), "9 (SIGKILL)");
        assert_eq!(shown(64), "64");
        assert_eq!(meaning(127), ", a command was not found");
        assert_eq!(meaning(137), ", as after SIGKILL in something it ran");
        assert_eq!(meaning(1), "");
        assert_eq!(meaning(200), "");
    }
}
