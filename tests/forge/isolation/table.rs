//! What each level keeps a candidate from, and what works in it. The README has the same tables.

use std::collections::BTreeSet;

use super::{Level, Verdicts, is_root};
use Cell::{Blocked, ByMode, IfRoot, Open, UnlessCapable, UnlessRoot};

/// What comes of an attempt on one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Blocked,
    Open,
    /// Forge as root gives its sandboxes other users' ids.
    UnlessRoot,
    /// The same, where that is what it needs.
    IfRoot,
    /// The kernel wants more than root's name for refusing it.
    UnlessCapable,
    /// Whatever this machine's administrator thought.
    ByMode,
}

/// A line of a table: what the README says, the probes that show it, the levels in their order.
struct Row {
    what: &'static str,
    probes: &'static [&'static str],
    cells: [Cell; 3],
}

const fn row(what: &'static str, cells: [Cell; 3], probes: &'static [&'static str]) -> Row {
    Row {
        what,
        probes,
        cells,
    }
}

const NEVER: [Cell; 3] = [Blocked, Blocked, Blocked];
const ALWAYS: [Cell; 3] = [Open, Open, Open];

/// Attempts on what is outside. `open/x` and `block/x` is a probe `x` with that network.
const ATTACKS: [Row; 40] = [
    row(
        "read your files",
        [Blocked, Blocked, Open],
        &["read_elsewhere", "read_project", "list_home"],
    ),
    row(
        "read files that only you may read, and those of other trials",
        [Blocked, Blocked, UnlessRoot],
        &["read_home", "link_to_secret", "open/read_sibling"],
    ),
    row(
        "read or change what only root may",
        NEVER,
        &["read_etc_shadow", "write_interpreter"],
    ),
    row(
        "see that a file exists, its size and its times",
        [Blocked, Open, Open],
        &["stat_file"],
    ),
    row(
        "be told when a file is opened or changed",
        [Blocked, IfRoot, IfRoot],
        &["watch_files"],
    ),
    row(
        "change, make, move or delete files",
        [Blocked, Blocked, UnlessRoot],
        &[
            "write_project",
            "write_candidate",
            "write_elsewhere",
            "remove_elsewhere",
            "rename_elsewhere",
            "open/write_sibling",
        ],
    ),
    row(
        "change the mode, the times or the attributes of your files",
        [Blocked, Blocked, UnlessRoot],
        &[
            "change_mode",
            "change_time",
            "change_attribute",
            "change_mode_by_link",
            "change_mode_by_descriptor",
            "change_mode_by_folder",
            "change_mode_from_within",
            "change_time_of_link",
            "change_owner",
            "remove_attribute",
        ],
    ),
    row(
        "change the flags of files (`chattr`)",
        NEVER,
        &["change_flags"],
    ),
    row(
        "leave something in `/tmp`, `/var/tmp` or `/dev/shm`",
        [Blocked, Blocked, Open],
        &["plant_in_tmp", "plant_in_var_tmp", "plant_in_shared_memory"],
    ),
    row(
        "find forge's environment in its own",
        NEVER,
        &["own_environment"],
    ),
    row(
        "find it in another process's",
        [Blocked, Blocked, UnlessRoot],
        &["other_environments"],
    ),
    row(
        "see other processes",
        [Blocked, Blocked, Open],
        &["list_processes"],
    ),
    row(
        "signal forge, other trials and your programs",
        [Blocked, Blocked, UnlessRoot],
        &[
            "send_signal",
            "signal_keeper",
            "open/signal_sibling",
            "doom_others",
        ],
    ),
    row(
        "slow them down",
        [Blocked, UnlessRoot, UnlessRoot],
        &["slow_others"],
    ),
    row(
        "trace them, limit them, or read their memory and take their descriptors by a system call",
        NEVER,
        &[
            "limit_others",
            "trace",
            "read_memory_by_call",
            "take_descriptor",
        ],
    ),
    row(
        "read their memory, descriptors and files in `/proc`",
        [Blocked, Blocked, UnlessRoot],
        &[
            "read_memory_by_file",
            "open_descriptor",
            "enter_root",
            "look_into_keeper",
        ],
    ),
    row(
        "use a descriptor or the terminal of forge",
        NEVER,
        &["own_descriptors", "type_into_terminal"],
    ),
    row(
        "with `network: block`, reach what listens on this machine: TCP, UDP",
        NEVER,
        &["block/connect_tcp", "block/connect_udp"],
    ),
    row(
        "with `network: block`, reach its Unix sockets",
        NEVER,
        &[
            "block/connect_unix",
            "block/send_unix",
            "block/send_unix_through_pair",
            "block/connect_pair",
            "block/connect_abstract",
        ],
    ),
    row(
        "with `network: open`, reach its Unix sockets, such as an agent's",
        [Blocked, Blocked, Open],
        &[
            "open/connect_unix",
            "open/send_unix",
            "open/send_unix_through_pair",
            "open/connect_pair",
            "open/connect_abstract",
        ],
    ),
    row(
        "with `network: open`, reach what listens on this machine: TCP, UDP",
        ALWAYS,
        &["open/connect_tcp", "open/connect_udp"],
    ),
    row(
        "raw packets, vsock, the kernel's ciphers",
        NEVER,
        &[
            "connect_vsock",
            "listen_to_packets",
            "send_raw",
            "ask_kernel_for_ciphers",
        ],
    ),
    row(
        "mount, remount, change the root",
        NEVER,
        &[
            "mount_filesystem",
            "remount_writable",
            "unmount",
            "mount_by_descriptor",
            "clone_mounts",
            "change_root",
            "open_by_handle",
        ],
    ),
    row(
        "make or enter namespaces",
        NEVER,
        &[
            "new_user_namespace",
            "new_namespaces_by_clone",
            "new_namespaces_by_clone3",
            "new_mount_namespace",
            "enter_namespace",
        ],
    ),
    row(
        "capabilities, set-user-id programs",
        NEVER,
        &["become_root", "capabilities"],
    ),
    row(
        "write kernel settings such as `core_pattern`",
        NEVER,
        &[
            "write_core_pattern",
            "write_sysrq",
            "write_sysfs",
            "set_host_name",
            "set_clock",
            "load_module",
            "restart_machine",
        ],
    ),
    row(
        "disks, kernel memory, devices that it makes",
        NEVER,
        &[
            "read_kernel_memory",
            "read_kernel_log",
            "open_disk",
            "make_device",
        ],
    ),
    row(
        "devices of this machine, such as `/dev/kvm`",
        [Blocked, Blocked, ByMode],
        &["open_accelerators"],
    ),
    row(
        "keyring, io_uring, bpf, perf, userfaultfd, personality",
        NEVER,
        &[
            "add_to_keyring",
            "read_keyring",
            "io_uring",
            "bpf",
            "perf_event",
            "userfaultfd",
            "change_personality",
            "calls_of_32_bits",
            "calls_of_x32",
        ],
    ),
    row(
        "shared memory of System V, its own or another's",
        NEVER,
        &["attach_shared_memory", "leave_shared_memory"],
    ),
    row("message queues of others", NEVER, &["open_message_queue"]),
    row(
        "secret memory, huge pages, messages of System V",
        NEVER,
        &[
            "secret_memory",
            "huge_pages",
            "messages",
            "give_pages_to_pipe",
        ],
    ),
    row(
        "raise its limits, its priority, its claim to memory",
        NEVER,
        &["raise_limits", "go_first", "protect_from_oom_killer"],
    ),
    row(
        "let your other programs go first when memory runs out (`oom_score_adj`)",
        [Blocked, Blocked, UnlessCapable],
        &["lower_claim"],
    ),
    row(
        "use up what your user has few of: watches of files (inotify, fanotify), pending signals",
        NEVER,
        &[
            "open/use_up_watches",
            "open/use_up_signals",
            "watch_whole_systems",
        ],
    ),
    row(
        "use up the machine's asynchronous I/O, many semaphores at once",
        NEVER,
        &["use_up_asynchronous", "many_semaphores"],
    ),
    row(
        "use up the machine's terminals",
        [Blocked, Blocked, Open],
        &["use_up_terminals"],
    ),
    row(
        "more processes, threads, memory, disk or descriptors than the limits",
        NEVER,
        &[
            "greedy/processes",
            "greedy/threads",
            "greedy/memory",
            "greedy/memory-of-children",
            "greedy/memory-files",
            "greedy/mapped-memory",
            "greedy/abandoned-memory",
            "greedy/abandoned-memory-files",
            "greedy/hidden-memory",
            "greedy/memory-behind-files",
            "greedy/memory-in-flight",
            "greedy/memory-of-unreadable",
            "greedy/memory-files-of-a-thread",
            "greedy/memory-without-first-thread",
            "greedy/memory-files-without-first-thread",
            "greedy/watched-descriptors",
            "greedy/page-tables",
            "greedy/socket-buffers",
            "greedy/socket-buffers-without-senders",
            "greedy/connections-that-nobody-accepts",
            "greedy/connections-whose-senders-closed",
            "greedy/burst-of-threads",
            "greedy/burst-of-processes",
            "greedy/closed-files",
            "greedy/moving-files",
            "greedy/big-file",
            "greedy/sparse-file",
            "greedy/allocated-file",
            "greedy/many-files",
            "greedy/temporary-files",
            "greedy/artifact-files",
            "greedy/unlinked-files",
            "greedy/descriptors",
            "greedy/core-file",
        ],
    ),
    row(
        "fill `/dev/shm`",
        [Blocked, Blocked, Open],
        &["greedy/shared-memory-folder"],
    ),
    row(
        "outlive its trial: daemons, chains of forks, ignored signals",
        NEVER,
        &[
            "lasting/linger-exit",
            "lasting/linger-limit",
            "lasting/without-environment-exit",
            "lasting/without-environment-limit",
            "lasting/chain-exit",
            "lasting/chain-limit",
            "lasting/stopped-exit",
            "lasting/stopped-limit",
            "lasting/many-exit",
            "lasting/many-limit",
            "lasting/holding-output-exit",
            "lasting/holding-output-limit",
        ],
    ),
];

/// What a candidate may want to do.
const USES: [Row; 9] = [
    row(
        "a server of its own on 127.0.0.1, with `network: open`",
        ALWAYS,
        &["open/serve_itself", "open/serve_itself_by_name"],
    ),
    row(
        "the same with `network: block`",
        [Open, Blocked, Blocked],
        &["block/serve_itself", "block/serve_itself_by_name"],
    ),
    row(
        "Unix sockets of its own, with `network: open`",
        [Open, Blocked, Open],
        &["open/unix_socket_of_its_own"],
    ),
    row(
        "the same with `network: block`",
        [Open, Blocked, Blocked],
        &["block/unix_socket_of_its_own"],
    ),
    row(
        "locks between processes (`/dev/shm`)",
        [Open, Blocked, Open],
        &["lock_between_processes", "pool_of_processes"],
    ),
    row(
        "its own `/proc/self`, terminals of its own",
        [Open, Blocked, Open],
        &["look_at_itself", "own_terminal"],
    ),
    row(
        "to watch its files (inotify)",
        [Open, IfRoot, IfRoot],
        &["watch_a_folder"],
    ),
    row(
        "a name for its user in `/etc/passwd`",
        [Open, UnlessRoot, UnlessRoot],
        &["name_in_the_list"],
    ),
    row(
        "processes, threads, signals, temporary files, modes and times of its own files, `pip`, `git` with its commits, SQLite, certificates, WebAssembly",
        ALWAYS,
        &[
            "find_localhost",
            "pair_of_sockets",
            "queue_between_threads",
            "signal_ends_itself",
            "signal_to_group",
            "orphans_are_reaped",
            "handle_signals",
            "pip",
            "git",
            "commit",
            "change_own_files",
            "change_own_files_at_once",
            "user_name",
            "usual_mask",
            "shell_tools",
            "temporary_files",
            "database",
            "certificates",
            "languages",
            "who_am_i",
            "home_is_writable",
            "look_at_machine",
            "devices",
            "run_own_programs",
            "executable_memory",
            "reserve_address_space",
            "memory_file",
            "spawn_quickly",
            "wasm",
            "forked",
        ],
    ),
];

impl Cell {
    fn expected(self, own_users: bool) -> Option<&'static str> {
        match self {
            Blocked => Some("BLOCKED"),
            UnlessRoot if own_users => Some("BLOCKED"),
            IfRoot if !own_users => Some("BLOCKED"),
            UnlessCapable if can_raise_limits() => Some("BLOCKED"),
            Open | UnlessRoot | IfRoot | UnlessCapable => Some("OPEN"),
            ByMode => None,
        }
    }

    /// In the README, of an attack.
    fn attack(self) -> &'static str {
        match self {
            Blocked => "blocked",
            Open => "**open**",
            UnlessRoot => "**open**, unless forge is root",
            IfRoot => "blocked, unless forge is root",
            UnlessCapable => "**open**, unless forge has `CAP_SYS_RESOURCE`",
            ByMode => "by their modes",
        }
    }

    /// In the README, of a use.
    fn works(self) -> &'static str {
        match self {
            Blocked => "no",
            Open => "yes",
            UnlessRoot => "yes, unless forge is root",
            IfRoot => "no, unless forge is root",
            ByMode | UnlessCapable => "it depends",
        }
    }
}

/// Whether this process, and forge with it, has `CAP_SYS_RESOURCE`.
fn can_raise_limits() -> bool {
    let mine = rustix::thread::capabilities(None).unwrap();
    mine.effective
        .contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
}

/// Compares what was found with the tables. `network` may also be another family of probes.
pub(super) fn compare(level: Level, network: &str, verdicts: &Verdicts) -> Vec<String> {
    compare_for(level, network, verdicts, is_root())
}

/// The same, where sandboxes have users of their own, or not.
pub(super) fn compare_for(
    level: Level,
    network: &str,
    verdicts: &Verdicts,
    own_users: bool,
) -> Vec<String> {
    let index = Level::ALL.iter().position(|it| *it == level).unwrap();
    let mut wrong = Vec::new();
    for (probe, (verdict, why)) in verdicts {
        let full = format!("{network}/{probe}");
        let rows = ATTACKS.iter().chain(&USES);
        let cells = |name: &str| {
            let mut rows = rows.clone();
            rows.find(|row| row.probes.contains(&name))
        };
        let Some(row) = cells(&full).or_else(|| cells(probe)) else {
            // One that needs the other network.
            let other = ["open", "block"].map(|it| format!("{it}/{probe}"));
            if !other.iter().any(|it| cells(it).is_some()) {
                wrong.push(format!("{full} is in no table: {verdict} {why}"));
            }
            continue;
        };
        if let Some(expected) = row.cells[index].expected(own_users)
            && verdict != expected
        {
            wrong.push(format!("{full} is not {expected}: {verdict} {why}"));
        }
    }
    wrong
}

/// Every probe of the tables that is named like that.
pub(super) fn family(prefix: &str) -> BTreeSet<&'static str> {
    let rows = ATTACKS.iter().chain(&USES);
    let probes = rows.flat_map(|row| row.probes);
    probes.filter_map(|it| it.strip_prefix(prefix)).collect()
}

fn rendered(head: &str, rows: &[Row], word: fn(Cell) -> &'static str) -> String {
    let levels = Level::ALL.map(Level::name);
    let mut text = format!(
        "| {head} | `{}` |\n|---|---|---|---|\n",
        levels.join("` | `")
    );
    for row in rows {
        let words = row.cells.map(word).join(" | ");
        text.extend(["| ", row.what, " | ", &words, " |\n"]);
    }
    text
}

#[test]
fn the_readme_has_the_same_tables() {
    let readme = include_str!("../../../README.md");
    for table in [
        rendered("what a candidate may try", &ATTACKS, Cell::attack),
        rendered("what it may need", &USES, Cell::works),
    ] {
        assert!(readme.contains(&table), "the README lacks:\n\n{table}");
    }
}

#[test]
fn each_probe_is_in_one_row() {
    let rows = ATTACKS.iter().chain(&USES);
    let mut seen = BTreeSet::new();
    for probe in rows.flat_map(|row| row.probes) {
        assert!(seen.insert(probe), "{probe} is there twice");
    }
}
