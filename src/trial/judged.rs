//! What became of one scorer of a trial, before its explanation is shown to anybody.

use crate::objective::Weighted;
use crate::plain::LastWords;
use crate::score::quality::{GraderVerdict, OnError, Quality};
use crate::score::{Points, Verdict, Went};

/// What became of one scorer.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) points: Option<Points>,
    pub(super) explanation: String,
    pub(super) went: Option<Went>,
    /// The last that it said, where it failed.
    pub(super) said: Option<LastWords>,
}

impl Judged {
    fn failed(why: &str, on_error: Option<OnError>) -> Self {
        let (points, went, rule) = match on_error {
            None => (None, Went::Failed, ""),
            Some(OnError::Zero) => (
                Some(Points::ZERO),
                Went::FailedAsZero,
                "0 points by `on_error: zero`: ",
            ),
            Some(OnError::Ungraded) => (
                None,
                Went::FailedAsUngraded,
                "ungraded by `on_error: ungraded`: ",
            ),
        };
        Self {
            points,
            explanation: format!("{rule}it failed{why}"),
            went: Some(went),
            said: None,
        }
    }

    /// It did not come to its turn. Where every gate held, nobody gains by that.
    pub(super) fn not_run() -> Self {
        Self::failed(": it was not run", None)
    }

    /// What the scorers that run here said; only the caller's own may fail.
    pub(super) fn said(quality: &[Weighted], verdicts: Vec<Option<Verdict>>) -> Vec<Option<Self>> {
        let judged = quality.iter().zip(verdicts).map(|(weighted, verdict)| {
            let own = matches!(weighted.scorer, Quality::Own(_));
            Some(match verdict? {
                Verdict::Scored {
                    points,
                    explanation,
                } => Self {
                    points: Some(points),
                    explanation,
                    went: own.then_some(Went::Well),
                    said: None,
                },
                Verdict::Unscored { reason } => Self::failed(&format!(": {reason}"), None),
            })
        });
        judged.collect()
    }

    /// What a grader said, or why it failed both times, and what it said last.
    pub(super) fn by_grader(
        verdict: Result<GraderVerdict, (String, LastWords)>,
        on_error: Option<OnError>,
    ) -> Self {
        match verdict {
            Ok(verdict) => Self {
                points: Some(verdict.points),
                explanation: verdict.explanation,
                went: Some(verdict.went),
                said: None,
            },
            Err((why, said)) => Self {
                said: Some(said),
                ..Self::failed(&format!(" in two sandboxes: {why}"), on_error)
            },
        }
    }

    /// A grader that printed no verdict on this artifact, as it does on others.
    pub(super) fn fell_silent(on_error: Option<OnError>) -> Self {
        let why = ": it exited with 0, without the verdict that it prints on others";
        Self::failed(why, on_error)
    }
}
