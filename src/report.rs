//! Reports: what a run's summary looks like to people and to machines.
//!
//! Promises: the same summary and the same records give the same bytes, there is no clock in here;
//! memory does not grow with what trials left, because records are fetched one at a time and writers
//! stream; whatever a candidate, an objective or a provider said is shown as text and does nothing else.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

use crate::event::{ErrorClass, Event, TrialRecord};
use crate::exit::ExitCode;
use crate::history::{self, Trends};
use crate::journal;
use crate::name::TrialId;
use crate::objects::Unstored;
use crate::standings::Standings;
use crate::store::RunFolder;
use crate::summary::{RunSummary, TrialRow};
use crate::verdict::Verdict;

mod badge;
pub mod ci;
mod comment;
mod csv;
mod json;
mod junit;
mod markdown;
mod page;
mod terminal;
mod trace;
mod view;
mod whole;

#[cfg(test)]
pub(crate) mod sample;

pub use json::exit_name;
pub(crate) use page::markup::{encoded, escaped};
pub use terminal::Style;
pub(crate) use terminal::wrap;

/// So many runs before this one are shown.
const PAST: usize = 30;

/// A run's events, in order, as they are read.
pub type Events<'a> = Box<dyn Iterator<Item = io::Result<Event>> + 'a>;

/// Where the full records of trials are, and what lies beside them.
pub trait Details: Sync {
    /// Fetches the record of one planned trial; `None` when there is none, or it cannot be read.
    fn record(&self, trial: &TrialId) -> Option<TrialRecord>;

    /// Reads a part of a file in the folder of a trial; `None` when there is none, or it cannot be read.
    #[expect(unused_variables, reason = "there are no files here")]
    fn file(&self, trial: &TrialId, file: &str, part: Part) -> Option<Piece> {
        None
    }

    /// What happened, from the first event on; nothing where no journal is kept.
    ///
    /// # Errors
    /// When the journal cannot be opened; each item, when it cannot be read or is not an event.
    fn events(&self) -> io::Result<Events<'_>> {
        Ok(Box::new(std::iter::empty()))
    }

    /// How candidates did in the last runs before this one; nothing where no history is kept.
    #[expect(unused_variables, reason = "there is no history here")]
    fn before(&self, summary: &RunSummary) -> Trends {
        Trends::default()
    }
}

/// Which part of a file, and of how many bytes at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From where it begins.
    Beginning(u64),
    /// Up to where it ends.
    End(u64),
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// How long the whole file is, in bytes.
    pub total: u64,
}

impl Details for RunFolder {
    fn record(&self, trial: &TrialId) -> Option<TrialRecord> {
        Self::record(self, trial)
    }

    fn file(&self, trial: &TrialId, file: &str, part: Part) -> Option<Piece> {
        let mut file = self.trial(trial).open(file).ok()?;
        let total = file.metadata().ok()?.len();
        let (from, most) = match part {
            Part::Beginning(most) => (0, most),
            Part::End(most) => (total.saturating_sub(most), most),
        };
        if from > 0 {
            file.seek(SeekFrom::Start(from)).ok()?;
        }
        let room = usize::try_from(most.min(total - from)).ok()?;
        let mut bytes = Vec::with_capacity(room + 1);
        file.take(most).read_to_end(&mut bytes).ok()?;
        Some(Piece { bytes, total })
    }

    fn events(&self) -> io::Result<Events<'_>> {
        Ok(Box::new(journal::read(self.path())?))
    }

    fn before(&self, summary: &RunSummary) -> Trends {
        let (Some(plan), Some(started)) = (&summary.plan, summary.started) else {
            return Trends::default();
        };
        let artifacts = self.path().parent();
        // A report without its past is still one.
        artifacts.map_or_else(Trends::default, |artifacts| {
            history::before(artifacts, (started, plan.run), PAST).unwrap_or_default()
        })
    }
}

impl Folder for RunFolder {
    fn save(
        &self,
        name: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write(name, fill).map(drop)
    }
}

/// Where a set of reports goes. Several are written at once.
pub trait Folder: Sync {
    /// Keeps what `fill` writes as the file of this name. `fill` is called once, with a writer that is
    /// worth many small writes.
    ///
    /// # Errors
    /// When the file cannot be written, or `fill` fails; then nothing of it should stay.
    fn save(
        &self,
        name: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// A form of report that is a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Everything, for machines.
    Json,
    /// For people, on GitHub.
    Markdown,
    /// For people, in a browser: one file that needs no other.
    Html,
    /// For CI systems.
    Junit,
    /// One row a planned trial, for spreadsheets.
    Csv,
    /// One row a verdict, for spreadsheets.
    Verdicts,
    /// For people, as a comment on a pull request.
    Comment,
    /// For shields.io.
    Badge,
    /// Where the time went, for Perfetto and Chrome.
    Trace,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Json,
        Self::Markdown,
        Self::Html,
        Self::Junit,
        Self::Csv,
        Self::Verdicts,
        Self::Comment,
        Self::Badge,
        Self::Trace,
    ];

    /// What its file is called in the folder of a run.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Json => "run.json",
            Self::Markdown => "report.md",
            Self::Html => "report.html",
            Self::Junit => "junit.xml",
            Self::Csv => "trials.csv",
            Self::Verdicts => "verdicts.csv",
            Self::Comment => "comment.md",
            Self::Badge => "badge.json",
            Self::Trace => "trace.json",
        }
    }
}

/// All that reports are made of.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// What the run's events add up to.
    pub summary: &'a RunSummary,
    /// The places.
    pub standings: &'a Standings,
    /// What is said of candidates against each other, what they were, and the control.
    pub verdicts: &'a [Verdict],
    /// How forge ends.
    pub exit: ExitCode,
    /// Why, when that is not [`ExitCode::Ok`].
    pub reasons: &'a [String],
    /// How to delete what could not be deleted: a command.
    pub sweep: &'a str,
    /// The records.
    pub details: &'a dyn Details,
}

impl std::fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("standings", self.standings)
            .field("exit", &self.exit)
            .finish_non_exhaustive()
    }
}

impl Report<'_> {
    /// Renders the table for a terminal, with a line break at its end.
    #[must_use]
    pub fn terminal(&self, style: &Style<'_>) -> String {
        terminal::render(self, style)
    }

    /// Writes one form of report.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, format: Format, to: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Json => json::write(self, to),
            Format::Markdown => markdown::write(self, to),
            Format::Html => page::write(self, to),
            Format::Junit => junit::write(self, to),
            Format::Csv => csv::write(self, to),
            Format::Verdicts => csv::write_verdicts(self, to),
            Format::Comment => comment::write(self, to),
            Format::Badge => badge::write(self, to),
            Format::Trace => trace::write(self, to),
        }
    }

    /// Writes all that a run's folder has of reports: every form, and the links to the winners.
    pub fn save(&self, folder: &RunFolder) -> Saved {
        // What comes next needs other parts of the program than what came before, which would stay in memory.
        crate::sandbox::local::let_go_of_program();
        let links = folder.point_winners(self.summary, self.standings);
        Saved {
            failed: self.write_all(folder).err(),
            unlinked: links.err(),
            unremembered: None,
            stored: None,
        }
    }
}

/// What could not be saved of a run's reports.
#[derive(Debug, Default)]
#[must_use]
pub struct Saved {
    /// Why not every form could be written.
    pub failed: Option<io::Error>,
    /// Why not every objective has its link to the winner, which nobody depends on.
    pub unlinked: Option<io::Error>,
    /// Why the run is not in the history.
    pub unremembered: Option<io::Error>,
    /// Where in a store the run is, or why it is not all there; `None` where it goes to none.
    pub stored: Option<Result<String, Unstored>>,
}

/// What reports say of one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome<'a> {
    /// Every gate held.
    Passed,
    /// The candidate failed, in this way where it is known.
    Failed(Option<ErrorClass>, &'a str),
    /// There is no verdict, for this reason.
    Lost(Option<ErrorClass>, &'a str),
    /// Every gate held, but its objective is ungraded, for this reason.
    Ungraded(&'a str),
    /// It was not needed, for this reason.
    Spared(&'a str),
}

impl<'a> Outcome<'a> {
    fn of(row: TrialRow<'a>, standings: &'a Standings) -> Self {
        let error = row.error_message();
        let ungraded = || standings.ungraded(row.objective());
        match row.disqualified() {
            _ if row.spared() => Self::Spared(error.unwrap_or_default()),
            _ if row.is_lost() => Self::Lost(row.error_kind(), error.unwrap_or("it has no score")),
            Some(gate) => Self::Failed(row.error_kind(), gate),
            None => ungraded().map_or(Self::Passed, Self::Ungraded),
        }
    }

    /// The reason; empty for what passed.
    const fn why(self) -> &'a str {
        match self {
            Self::Passed => "",
            Self::Failed(_, why) | Self::Lost(_, why) | Self::Ungraded(why) | Self::Spared(why) => {
                why
            }
        }
    }

    /// In one word, as in files.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(Some(class), _) | Self::Lost(Some(class), _) => class.as_str(),
            Self::Failed(None, _) => "disqualified",
            Self::Lost(None, _) => "unscored",
            Self::Ungraded(_) => "ungraded",
            Self::Spared(_) => ErrorClass::NotRun.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::sample::*;
    use super::*;

    /// Everything a candidate may say, in all places where it may say it.
    pub(super) const HOSTILE: &str = "<script>alert(1)</script> | **b** @octocat #12 [x](https://evil.example) `c` \u{1b}[2J\n::error::x";

    pub(super) fn hostile_run() -> Run {
        let mut run = Run::new(&["alpha", "beta", "gamma"], &["weekly"], 1);
        run.plan.objectives[0].title = Some(HOSTILE.to_owned());
        run.plan.candidates[0].differs = vec![HOSTILE.to_owned()];
        let mut first = full(trial("alpha", "weekly", 1));
        let score = first.score.as_mut().unwrap();
        score.scorers[0].explanation = HOSTILE.to_owned();
        score.gates[0].explanation = HOSTILE.to_owned();
        score.explanation = HOSTILE.to_owned();
        let mut second = failed(trial("beta", "weekly", 1), HOSTILE);
        // Measured on both sides, and so a measure of the comparison.
        for record in [&mut first, &mut second] {
            record.metrics.insert(HOSTILE.to_owned(), 1.0);
        }
        run.compare(crate::rule::Question::Control, "alpha", "beta");
        run.add(first);
        run.add(second);
        let mut third = lost(trial("gamma", "weekly", 1));
        third.end = crate::event::TrialEnd::NotRun {
            reason: HOSTILE.to_owned(),
        };
        run.add(third);
        run.more.push(crate::event::EventKind::Warned {
            message: HOSTILE.to_owned(),
        });
        run
    }

    #[test]
    fn the_same_run_gives_the_same_bytes() {
        let (one, two) = (Memory::default(), Memory::default());
        let run = hostile_run();
        run.report(|report| report.write_all(&one)).unwrap();
        run.report(|report| report.write_all(&two)).unwrap();
        let (one, two) = (one.files(), two.files());
        assert_eq!(*one, *two);
        let names: Vec<&str> = one.keys().map(String::as_str).collect();
        let all = [
            "badge.json",
            "comment.md",
            "junit.xml",
            "report.html",
            "report.md",
            "run.json",
            "trace.json",
            "trials.csv",
            "verdicts.csv",
        ];
        assert_eq!(names, all);
    }

    #[test]
    fn the_name_of_a_measure_is_shown_and_does_nothing() {
        let run = hostile_run();
        for format in [Format::Markdown, Format::Html, Format::Comment] {
            let text = run.written(format);
            let own = usize::from(format == Format::Html);
            assert_eq!(text.matches("<script").count(), own, "{format:?}");
        }
        for format in [Format::Markdown, Format::Comment] {
            let text = run.written(format);
            assert!(
                !text.contains("@octocat") && !text.contains("#12"),
                "{format:?}"
            );
        }
        let shown = "| alpha | beta | &lt;script&gt;alert(1)&lt;/script&gt; \\| \\*\\*b\\*\\* @\u{200b}octocat";
        assert!(run.written(Format::Markdown).contains(shown));
    }

    #[test]
    fn no_form_carries_a_control_character_of_a_candidate() {
        let run = hostile_run();
        for format in Format::ALL {
            let text = run.written(format);
            assert!(!text.contains('\u{1b}'), "{format:?}");
            assert!(!text.contains("\n::"), "{format:?}");
        }
        let style = Style {
            width: 80,
            color: false,
            place: "artifacts/x",
            verbose: true,
        };
        let text = run.report(|report| report.terminal(&style));
        assert!(!text.contains('\u{1b}') && !text.contains("\n::"), "{text}");
    }

    #[test]
    fn one_form_that_fails_does_not_keep_the_others_from_being_written() {
        /// Fails before or after a file was filled.
        struct Picky(&'static str, bool, Memory);
        impl Folder for Picky {
            fn save(
                &self,
                name: &str,
                fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
            ) -> io::Result<()> {
                let Self(refused, is_late, files) = self;
                if name != *refused {
                    return files.save(name, fill);
                }
                if *is_late {
                    fill(&mut Vec::new())?;
                }
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let whole = Memory::default();
        let run = hostile_run();
        run.report(|report| report.write_all(&whole)).unwrap();
        for format in Format::ALL {
            for is_late in [false, true] {
                let folder = Picky(format.file_name(), is_late, Memory::default());
                let error = run.report(|report| report.write_all(&folder)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                let mut expected = whole.files().clone();
                expected.remove(format.file_name());
                assert_eq!(*folder.2.files(), expected, "{format:?} {is_late}");
            }
        }
    }

    /// Hands out records that remember how many of them are alive.
    struct Counted<'a> {
        run: &'a Run,
        asked: AtomicUsize,
        since_last_write: AtomicUsize,
        most_without_a_write: AtomicUsize,
    }

    impl<'a> Counted<'a> {
        fn new(run: &'a Run) -> Self {
            let [asked, since_last_write, most_without_a_write] =
                [(); 3].map(|()| AtomicUsize::new(0));
            Self {
                run,
                asked,
                since_last_write,
                most_without_a_write,
            }
        }

        /// A report of the run.
        fn report<'b>(&'b self, summary: &'b RunSummary, standings: &'b Standings) -> Report<'b> {
            Report {
                summary,
                standings,
                verdicts: &[],
                exit: ExitCode::Ok,
                reasons: &[],
                sweep: "",
                details: self,
            }
        }
    }

    impl Details for Counted<'_> {
        fn record(&self, trial: &TrialId) -> Option<TrialRecord> {
            self.asked.fetch_add(1, Relaxed);
            let since = self.since_last_write.fetch_add(1, Relaxed) + 1;
            self.most_without_a_write.fetch_max(since, Relaxed);
            self.run.record(trial)
        }
    }

    struct Watched<'a>(&'a Counted<'a>);

    impl Write for Watched<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.since_last_write.store(0, Relaxed);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn three_thousand_trials_are_written_as_they_are_read() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1500);
        for repeat in 1..=1500 {
            run.add(full(trial("alpha", "weekly", repeat)));
            run.add(failed(trial("beta", "weekly", repeat), "it has 5 bytes"));
        }
        let summary = run.summary();
        let standings = summary.standings();
        for (format, most_asked, most_held) in [
            (Format::Json, 3000, 1),
            // Rows go out with the csv crate's buffer.
            (Format::Csv, 3000, 100),
            // Of what failed, the first fifty are quoted.
            (Format::Markdown, 52, 52),
            // What failed, and then those trials that are shown.
            (Format::Html, 1053, 56),
            (Format::Comment, 52, 52),
            (Format::Junit, 152, 152),
            // Only what happened, as it is read.
            (Format::Trace, 0, 0),
        ] {
            let details = Counted::new(&run);
            let report = details.report(&summary, &standings);
            report.write(format, &mut Watched(&details)).unwrap();
            let (asked, held) = (
                details.asked.into_inner(),
                details.most_without_a_write.into_inner(),
            );
            assert_eq!(asked, most_asked, "{format:?}");
            assert!(held <= most_held, "{format:?}: {held}");
        }
        // Both with a row for each trial have read it once.
        let details = Counted::new(&run);
        let report = details.report(&summary, &standings);
        report.write_all(&Memory::default()).unwrap();
        assert_eq!(details.asked.into_inner(), 3000 + 52 + 1053 + 52 + 152);
        assert!(run.written(Format::Markdown).len() < 100_000);
        assert!(run.written(Format::Html).len() < 5_000_000);
        assert!(
            run.written(Format::Markdown)
                .contains("… 1450 more in trials.csv")
        );
    }
}
