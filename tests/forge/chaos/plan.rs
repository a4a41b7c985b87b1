//! What a plan is: the run that is asked for, and what happens to it; how it follows from its seed, and how it is a
//! line that can be kept and run again.

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::properties::{Kind, Property};

/// Where it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    Local,
    Cloud,
    Container,
}

/// What a candidate does, which follows from its trial's seed alone. All say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Behaviour {
    Writes,
    /// By the seed: two in three pass.
    Flips,
    Exits(u8),
    /// So many tenths of a second.
    Sleeps(u8),
    /// Until its limit, which is short.
    Hangs,
    /// Prints more than is kept.
    Floods,
    /// Leaves processes behind, one of them in another session.
    LeavesChildren,
    /// So many files besides.
    Files(u8),
    /// Links that lead out of its folder, besides what it writes and instead of a file.
    Links,
    /// A link in the place of what it was to write.
    LinkedOutput,
}

/// How an objective is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    /// By forge itself.
    Plain,
    /// By a program as well, in a sandbox of its own.
    Graded,
}

/// What is asked of the run besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// All others are compared with the first candidate.
    Control,
    /// What looks worse is run again.
    Confirm,
    /// Repeats until it is known.
    Auto,
    /// The best has to have so many points.
    FailUnder(u8),
    /// The first candidate has to pass always.
    Require,
}

/// One run, and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) place: Place,
    /// Named a, b, c, …
    pub(super) candidates: Vec<Behaviour>,
    /// Named o1, o2, …
    pub(super) objectives: Vec<Task>,
    pub(super) repeats: u32,
    pub(super) jobs: u32,
    pub(super) asked: Vec<Asked>,
    pub(super) properties: Vec<Property>,
}

/// The limit of what hangs; all others have a minute.
const SHORT: &str = "limits: {run: 2s}\n";

/// What each candidate begins with: who it is, and a secret that it has been given.
const SAYS: &str = "#!/bin/sh\nme=\"who=$FORGE_CANDIDATE trial=$FORGE_TRIAL seed=$FORGE_SEED token=$API_TOKEN\"\necho \"$me\"\n";
const ENDS: &str = "echo \"$me says: $((FORGE_SEED % 7)) $1\" >\"$2\"\n";

impl Behaviour {
    pub(super) fn script(self) -> String {
        let does = match self {
            Self::Writes => String::new(),
            Self::Flips => "[ $((FORGE_SEED % 3)) = 0 ] && exit 3\n".to_owned(),
            Self::Exits(code) => format!("exit {code}\n"),
            Self::Sleeps(tenths) => format!("sleep {}.{}\n", tenths / 10, tenths % 10),
            Self::Hangs => "exec sleep 300\n".to_owned(),
            Self::Floods => "head -c 300000 /dev/zero | tr '\\0' x\n".to_owned(),
            Self::LeavesChildren => "(setsid sleep 300 >/dev/null 2>&1 &)\nsleep 300 >/dev/null 2>&1 &\n".to_owned(),
            Self::Files(count) => format!(
                "n=0; while [ $n -lt {count} ]; do n=$((n + 1)); echo \"$me\" >\"$FORGE_ARTIFACTS/$n.txt\"; done\n"
            ),
            Self::Links => "ln -s /etc/passwd \"$FORGE_ARTIFACTS/link.txt\"\nln -s .. \"$FORGE_ARTIFACTS/up\"\n".to_owned(),
            Self::LinkedOutput => "ln -s /etc/passwd \"$2\"\nexit 0\n".to_owned(),
        };
        format!("{SAYS}{does}{ENDS}")
    }

    pub(super) fn settings(self) -> String {
        let limits = if self == Self::Hangs { SHORT } else { "" };
        format!("pass_env: [API_TOKEN]\n{limits}")
    }

    fn draw(dice: &mut Dice) -> Self {
        let (code, tenths, count) = (dice.up_to(100), dice.up_to(6), dice.up_to(5));
        let byte = |number: u32| u8::try_from(number).unwrap();
        dice.one_of(&[
            Self::Writes,
            Self::Writes,
            Self::Flips,
            Self::Flips,
            Self::Exits(byte(code)),
            Self::Sleeps(byte(tenths)),
            Self::Sleeps(byte(tenths)),
            Self::Hangs,
            Self::Floods,
            Self::LeavesChildren,
            Self::Files(byte(count)),
            Self::Links,
            Self::LinkedOutput,
        ])
    }
}

impl Task {
    pub(super) fn yaml(self) -> String {
        let graded = match self {
            Self::Plain => "",
            Self::Graded => "    - {command: [sh, check.sh]}\n",
        };
        // Nothing depends on the time.
        format!(
            "prompt: do it\nartifacts: [\"*\"]\nlimits: {{output: 64KiB}}\nscoring:\n  \
             weights: {{success: 0.5, quality: 0.5, speed: 0}}\n  quality:\n    - {{regex: 'says: [0-3]'}}\n{graded}"
        )
    }
}

/// Beside the objectives.
pub(super) const CHECK: &str = "grep -q 'says: [246]' \"$FORGE_OUTPUT\"\n";

/// As all that is asked is said: neither figures nor verdicts are of times.
pub(super) const SETTINGS: &str = "compare: {show: [passed, quality]}\n";

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let at = 2 * usize::try_from(seed).unwrap() % Kind::ALL.len();
        let (kind, other) = (Kind::ALL[at], Kind::ALL[at + 1]);
        let place = kind.place(other, &mut dice);
        let count = dice.up_to(3);
        let mut candidates: Vec<_> = (0..count).map(|_| Behaviour::draw(&mut dice)).collect();
        // One that hangs makes a run long enough.
        let mut hangs = 0;
        candidates.retain(|it| {
            hangs += u32::from(*it == Behaviour::Hangs);
            *it != Behaviour::Hangs || hangs == 1
        });
        let task = |dice: &mut Dice| dice.one_of(&[Task::Plain, Task::Plain, Task::Graded]);
        let objectives = (0..dice.up_to(2)).map(|_| task(&mut dice)).collect();
        let (repeats, jobs) = (dice.up_to(3), dice.up_to(4));
        let mut asked = Vec::new();
        if candidates.len() > 1 && dice.hits(35) {
            asked.push(Asked::Control);
            let more = [None, Some(Asked::Confirm), Some(Asked::Auto)];
            asked.extend(dice.one_of(&more));
        }
        if dice.hits(15) {
            asked.push(Asked::FailUnder(60));
        }
        if dice.hits(15) {
            asked.push(Asked::Require);
        }
        let mut this = Self {
            seed,
            place,
            candidates,
            objectives,
            repeats,
            jobs,
            asked,
            properties: Vec::new(),
        };
        let third = dice.one_of(&Kind::ALL);
        let third = (dice.hits(50) && third.may_be_at(place)).then_some(third);
        for kind in [kind, other].into_iter().chain(third) {
            let is_there = this.properties.iter().any(|it| it.kind() == kind);
            if !is_there || kind.may_repeat() {
                let property = kind.draw(&mut dice, &this);
                this.properties.push(property);
            }
        }
        this
    }

    /// The same run, to which nothing happens.
    pub(super) fn undisturbed(&self) -> Self {
        Self {
            properties: Vec::new(),
            ..self.clone()
        }
    }

    /// How many trials there are at least.
    pub(super) fn trials(&self) -> u32 {
        let pairs = self.candidates.len() * self.objectives.len();
        self.repeats * u32::try_from(pairs).unwrap()
    }

    pub(super) fn candidate(at: usize) -> String {
        char::from(b'a' + u8::try_from(at).unwrap()).to_string()
    }

    pub(super) fn objective(at: usize) -> String {
        format!("o{}", at + 1)
    }

    pub(super) fn has(&self, asked: Asked) -> bool {
        self.asked.contains(&asked)
    }

    /// What is typed, but for what its properties add.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--no-progress".to_owned()];
        match self.place {
            Place::Local => {}
            Place::Cloud => arguments.push("--daytona".to_owned()),
            Place::Container => arguments.push("--container".to_owned()),
        }
        arguments.push(format!("-j{}", self.jobs));
        arguments.push(format!("--seed={}", self.seed));
        if self.has(Asked::Auto) {
            arguments.extend(["--repeat=auto", "--max-repeat=4"].map(str::to_owned));
        } else {
            arguments.push(format!("-k{}", self.repeats));
        }
        for asked in &self.asked {
            arguments.extend(match asked {
                Asked::Control => Some("--control=a".to_owned()),
                Asked::Confirm => Some("--confirm=6".to_owned()),
                Asked::Auto => None,
                Asked::FailUnder(points) => Some(format!("--fail-under={points}")),
                Asked::Require => Some("--require=a".to_owned()),
            });
        }
        arguments
    }

    /// As a line that [`Plan::read`] takes.
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).unwrap()
    }

    pub(super) fn read(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the plan {line}"))
    }

    /// Whether it is over in seconds.
    pub(super) fn is_quick(&self) -> bool {
        let hangs = self.candidates.contains(&Behaviour::Hangs);
        let hanging = self.repeats * u32::try_from(self.objectives.len()).unwrap();
        let waits = hangs && (hanging > 2 || self.has(Asked::Auto) || self.has(Asked::Confirm));
        !waits && !self.properties.iter().any(Property::takes_minutes)
    }
}
