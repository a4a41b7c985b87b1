//! Judging a finished trial: gates, scorers, and graders in a fresh sandbox of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::judged::Judged;
use super::judging::{checks, is_built_in};
use super::{PROMPT_FILE, World, prompt_file};
use crate::event::{TrialEnd, TrialRecord};
use crate::name::{RelativePath, TrialId};
use crate::objective::Objective;
use crate::plain::LastWords;
use crate::quantity::ByteCount;
use crate::sandbox::reaper::Lease;
use crate::sandbox::{
    Area, Command, CommandEnd, Content, Layout, MARGIN, Network, Networks, OutputSink, Remedy,
    SandboxError, SandboxSpec, Stage, Stream, Trust, Upload,
};
use crate::score::quality::{
    Grader, GraderEnd, GraderOutput, GraderVerdict, Quality, grader_verdict,
};
use crate::score::{Evidence, GateResult, Judgement, ScorerResult, SpeedScale, Verdict, combine};
use crate::store::{Left, TrialFolder};

/// How much of each of a grader's streams is read.
const GRADER_OUTPUT: ByteCount = ByteCount::mib(1);
/// How often a sandbox for a grader is asked for when the provider fails.
const MAX_FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What judging needs to know besides the trial's record.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What was to be done.
    pub objective: &'a Arc<Objective>,
    /// Where speed is worth nothing, unless the objective says.
    pub run_limit: Duration,
}

/// Scores a trial, and puts the score into its record.
///
/// A trial that says nothing about the candidate gets none.
///
/// # Errors
/// When this machine cannot judge, or the graders' sandbox cannot be had or is lost: that is no verdict on
/// anybody.
///
/// # Cancel safety
/// Safe: the graders' sandbox is a lease like any other.
pub async fn judge(
    case: &Case<'_>,
    world: &World,
    folder: &TrialFolder,
    left: &Left,
    record: &mut TrialRecord,
) -> Result<(), SandboxError> {
    if !record.end.is_verdict() {
        return Ok(());
    }
    let evidence = Arc::new(evidence(case, folder, left, record));
    let (gates, mut verdicts) = builtin(case, world, &evidence).await?;
    let qualified = gates.iter().all(|gate| gate.passed);
    if qualified {
        own(case, &evidence, &mut verdicts).await;
    }
    let mut judged = Judged::said(&case.objective.scoring.quality, verdicts);
    if qualified {
        grade(case, world, folder, left, record, &mut judged).await?;
    }
    let scorers = case
        .objective
        .scoring
        .quality
        .iter()
        .zip(judged)
        .map(|(weighted, judged)| {
            let judged = judged.unwrap_or_else(Judged::not_run);
            let explanation = world.redactor.text(&judged.explanation).into_owned();
            let scorer = world.redactor.text(&weighted.scorer.name()).into_owned();
            ScorerResult {
                scorer,
                weight: weighted.weight,
                points: judged.points,
                explanation,
                went: judged.went,
                said: judged.said,
            }
        })
        .collect();
    let gates = gates
        .into_iter()
        .map(|gate| GateResult {
            gate: world.redactor.text(&gate.gate).into_owned(),
            explanation: world.redactor.text(&gate.explanation).into_owned(),
            ..gate
        })
        .collect();
    let scale = case.objective.scoring.speed.unwrap_or(SpeedScale {
        full_marks: Duration::ZERO,
        no_marks: case.run_limit,
    });
    let took = Duration::from_secs_f64(record.runtime_s.unwrap_or(0.0).max(0.0));
    record.score = Some(combine(
        case.objective.scoring.weights,
        gates,
        scorers,
        scale.points(took),
    ));
    Ok(())
}

fn evidence(case: &Case<'_>, folder: &TrialFolder, left: &Left, record: &TrialRecord) -> Evidence {
    let at = |file: &str| folder.path().join(file);
    Evidence {
        candidate: record.trial.candidate.clone(),
        objective: record.trial.objective.clone(),
        prompt: Arc::clone(&case.objective.prompt),
        exit_code: record.end.exit_code(),
        ended: ended(&record.end),
        run_time: Duration::from_secs_f64(record.runtime_s.unwrap_or(0.0).max(0.0)),
        artifact: left.artifact.clone(),
        no_artifact: record.no_artifact.clone().unwrap_or_default(),
        files: left.folder.clone(),
        stdout: at("stdout.log"),
        stderr: at("stderr.log"),
        metrics: record.metrics.clone(),
        text: OnceLock::new(),
    }
}

fn ended(end: &TrialEnd) -> String {
    end.error()
        .map_or_else(|| "exited with code 0".to_owned(), |(_, text)| text)
}

/// Runs the gates, and the built-in scorers when all of them hold: a verdict for each scorer that has one.
async fn builtin(
    case: &Case<'_>,
    world: &World,
    evidence: &Arc<Evidence>,
) -> Result<(Vec<GateResult>, Vec<Option<Verdict>>), SandboxError> {
    let judged = world.judging.judge(evidence, checks(case.objective)).await;
    let judged = judged.map_err(|error| SandboxError::machine("judge an artifact", error))?;
    let (mut gates, mut said) = (Vec::new(), Vec::new());
    for judgement in judged {
        match judgement {
            Judgement::Gate(gate) => gates.push(gate),
            Judgement::Scorer(verdict) => said.push(verdict),
        }
    }
    let mut said = said.into_iter();
    let quality = case.objective.scoring.quality.iter();
    let verdicts = quality.map(|it| is_built_in(&it.scorer).then(|| said.next()).flatten());
    Ok((gates, verdicts.collect()))
}

/// Runs the caller's own scorers, off the runtime's threads. A panic in one is that scorer's failure.
async fn own(case: &Case<'_>, evidence: &Arc<Evidence>, verdicts: &mut [Option<Verdict>]) {
    for (slot, weighted) in verdicts.iter_mut().zip(&case.objective.scoring.quality) {
        let Quality::Own(scorer) = &weighted.scorer else {
            continue;
        };
        let (scorer, evidence) = (Arc::clone(scorer), Arc::clone(evidence));
        let work = tokio::task::spawn_blocking(move || scorer.score(&evidence));
        let panicked = |_| Verdict::unscored("the scorer panicked");
        *slot = Some(work.await.unwrap_or_else(panicked));
    }
}

/// Runs the graders, one after the other. One that fails is run once more.
async fn grade(
    case: &Case<'_>,
    world: &World,
    folder: &TrialFolder,
    left: &Left,
    record: &TrialRecord,
    judged: &mut [Option<Judged>],
) -> Result<(), SandboxError> {
    let quality = case.objective.scoring.quality.iter();
    for (at, (slot, weighted)) in judged.iter_mut().zip(quality).enumerate() {
        let Quality::Command(grader) = &weighted.scorer else {
            continue;
        };
        let fresh = || prepare(case, world, left, record, grader);
        let run = async |lease: Lease| run_grader(case, &record.trial, world, &lease, grader).await;
        let verdict = match run(fresh().await?).await {
            Ok((Ok(verdict), _)) => Ok(verdict),
            Ok((Err(_), _)) | Err(_) => match run(fresh().await?).await? {
                (Ok(verdict), _) => Ok(verdict),
                (Err(why), output) => Err((why, keep(world, folder, at, &output)?)),
            },
        };
        *slot = Some(Judged::by_grader(verdict, grader.on_error));
    }
    Ok(())
}

/// A fresh sandbox with the artifacts and a grader's own files only. Graders do not share one: what the first
/// of them starts may be the artifact, and that could change the second.
async fn prepare(
    case: &Case<'_>,
    world: &World,
    left: &Left,
    record: &TrialRecord,
    grader: &Grader,
) -> Result<Lease, SandboxError> {
    let mut labels = world.labels.clone();
    labels.insert("forge.grader".to_owned(), record.trial.to_string());
    let spec = || SandboxSpec {
        name: world.leaser.name("grader"),
        run: world.run,
        labels: labels.clone(),
        lifetime: grader.limit + MARGIN,
        networks: Networks::same(Network::Open),
        candidate: None,
        // The graders are the objective's author's.
        trust: Trust::Trusted,
        image: None,
        python: None,
        may_be_kept: false,
    };
    let lease = patiently(|| world.leaser.acquire(spec(), None)).await?;
    let file = |area, path: &RelativePath, from: PathBuf| Upload {
        area,
        path: path.clone(),
        content: Content::File(from),
        executable: false,
    };
    let mut uploads: Vec<Upload> = prompt_file(&case.objective.prompt).into_iter().collect();
    if let Some(artifact) = &left.artifact {
        uploads.push(file(Area::Work, &case.objective.output, artifact.clone()));
    }
    for (path, from) in &left.files {
        uploads.push(file(Area::Artifacts, path, from.clone()));
    }
    // Last, so that nothing a candidate left can stand in a grader's place.
    for (path, from) in &grader.files {
        uploads.retain(|upload| upload.area != Area::Work || upload.path != *path);
        uploads.push(Upload {
            executable: true,
            ..file(Area::Work, path, from.clone())
        });
    }
    lease.upload(&uploads).await?;
    Ok(lease)
}

/// Tries until it succeeds, will not, or was tried often enough.
async fn patiently<T, F>(attempt: impl Fn() -> F) -> Result<T, SandboxError>
where
    F: Future<Output = Result<T, SandboxError>>,
{
    let mut failures = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failures += 1;
        let after = match error.remedy() {
            Remedy::Retry { after } if failures < MAX_FAILURES => after,
            Remedy::Retry { .. } | Remedy::GiveUp => return Err(error),
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << failures);
        tokio::time::sleep(after.unwrap_or(pause)).await;
    }
}

async fn run_grader(
    case: &Case<'_>,
    trial: &TrialId,
    world: &World,
    lease: &Lease,
    grader: &Grader,
) -> Result<(Result<GraderVerdict, String>, GraderOutput), SandboxError> {
    let command = Command {
        programs: vec![grader.argv.iter().take(1).cloned().collect()],
        arguments: grader.argv.iter().skip(1).cloned().collect(),
        read: Vec::new(),
        env: grader_env(case, trial, world, lease.layout()),
        limit: grader.limit,
        output_limit: GRADER_OUTPUT,
        stage: Stage::Run,
        then_collect: None,
    };
    let mut output = Capture::default();
    let result = lease.run(&command, &mut output).await?;
    let end = match result.end {
        CommandEnd::Exited(code) => GraderEnd::Exited(code),
        CommandEnd::Signalled(_)
        | CommandEnd::TimedOut
        | CommandEnd::LimitReached(_)
        | CommandEnd::NotFound(_)
        | CommandEnd::CannotStart(_) => {
            GraderEnd::Failed(super::failure(&result.end, grader.limit).unwrap_or_default())
        }
    };
    let verdict = grader_verdict(&end, &output.0, grader.scale);
    Ok((verdict, output.0))
}

/// Keeps all that a grader that failed has printed, without secrets; returns the last of it.
fn keep(
    world: &World,
    folder: &TrialFolder,
    at: usize,
    output: &GraderOutput,
) -> Result<LastWords, SandboxError> {
    let name = format!("grader-{}.log", at + 1);
    let clean = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        world.redactor.text(&text).into_owned()
    };
    let (stdout, stderr) = (clean(&output.stdout), clean(&output.stderr));
    let said = LastWords::of(&name, stderr.as_bytes(), true, &world.redactor);
    let said = if said.lines.is_empty() {
        LastWords::of(&name, stdout.as_bytes(), true, &world.redactor)
    } else {
        said
    };
    if !said.lines.is_empty() {
        let write = |file: &mut dyn std::io::Write| {
            for (stream, text) in [("standard output", &stdout), ("standard error", &stderr)] {
                writeln!(file, "[{stream}]")?;
                file.write_all(text.as_bytes())?;
                if !text.is_empty() && !text.ends_with('\n') {
                    writeln!(file)?;
                }
            }
            Ok(())
        };
        crate::store::write_whole(&folder.path().join(&name), write).map_err(super::home)?;
    }
    Ok(said)
}

fn grader_env(
    case: &Case<'_>,
    trial: &TrialId,
    world: &World,
    layout: &Layout,
) -> BTreeMap<String, String> {
    [
        ("FORGE_OBJECTIVE", case.objective.name.to_string()),
        ("FORGE_PROMPT", case.objective.prompt.to_string()),
        (
            "FORGE_PROMPT_FILE",
            format!("{}/{PROMPT_FILE}", layout.forge),
        ),
        (
            "FORGE_OUTPUT",
            layout.path(Area::Work, &case.objective.output),
        ),
        ("FORGE_ARTIFACTS", layout.artifacts.clone()),
        ("FORGE_CANDIDATE", trial.candidate.base().to_owned()),
        ("FORGE_RUN", world.run.to_string()),
        ("FORGE_TRIAL", trial.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// A grader's output, up to [`GRADER_OUTPUT`] a stream.
#[derive(Debug, Default)]
struct Capture(GraderOutput);

impl OutputSink for Capture {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.0.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.0.stderr.extend_from_slice(bytes),
        }
    }

    fn dropped(&mut self, stream: Stream, bytes: u64) {
        let is_cut = match stream {
            Stream::Stdout => &mut self.0.stdout_is_cut,
            Stream::Stderr => &mut self.0.stderr_is_cut,
        };
        *is_cut |= bytes > 0;
    }
}
