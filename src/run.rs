//! The dispatcher: plan, window of trials, one `select!`, effects.
//!
//! What to do is decided in [`state`]; this file waits for what happens and does what was decided. One task
//! stamps every event, so that all subscribers see one order, the journal first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::event::{Cleanup, EventKind, Phase, StopCause, TrialEnd, TrialRecord};
use crate::journal::requests::RequestLog;
use crate::sandbox::reaper::{CleanupReport, Patience, Reaper};
use crate::sandbox::{ErrorKind, Remedy};
use crate::trial::silence::take_back;
use crate::trial::{Kept, Outcome, World, keep};
use crate::verdict::{looking, spending};

mod clock;
mod open;
pub mod order;
mod packs;
mod plan;
pub mod state;
pub mod stop;
mod teller;
mod terms;

pub use open::Resumes;
pub use terms::{Finished, Run};

use clock::at;
use open::{Opened, end_earlier, opened, watched};
use plan::Plan;
use state::{Effect, Input, KnownFailure, Loss, State};
use stop::Stopping;
use teller::Teller;

/// Events under way from the trials to the dispatcher; a trial waits when it is that far ahead.
const EVENTS_UNDER_WAY: usize = 256;

/// Runs everything that is planned.
///
/// # Errors
/// When the run's folder, its journal or its ledger cannot be made, before any sandbox exists. A disk that
/// fills up later takes nothing from what is known by then: see [`Finished::unsaved`].
///
/// # Cancel safety
/// Safe: the trials are cancelled, and the reaper deletes every sandbox on a thread of its own.
pub async fn run(run: Run) -> std::io::Result<Finished> {
    let span = tracing::debug_span!("run", id = %run.plan.run);
    Box::pin(go(run)).instrument(span).await
}

async fn go(mut run: Run) -> std::io::Result<Finished> {
    let costs = run.provider.name() != "local";
    let Opened {
        folder,
        mut journal,
        ledger,
        requests,
        before,
    } = opened(&mut run, costs)?;
    journal.keep_safe(costs)?;
    let ended = Box::pin(end_earlier(&run, &folder, &ledger, before.as_deref())).await?;
    // Before the first sandbox: what it does not hear of, nobody would delete.
    let made = ledger.last_serial(&run.plan.run);
    let (watch, unwatched) = watched(&run, &folder, &ledger).await;
    // What comes next needs other parts of the program than what came before, which would stay in memory all along.
    crate::sandbox::local::let_go_of_program();
    let (stopping, told) = watch::channel(Stopping::No);
    let reaper = Reaper::start_then(
        Arc::clone(&run.provider),
        run.plan.run,
        ledger,
        run.plan.jobs,
        told,
        Patience::default(),
        // What could not be confirmed is told, and is for whoever reads that.
        |_report| {
            if let Some(watch) = watch {
                watch.goodbye();
            }
        },
    )?;
    // Nobody depends on the link, and not every file system has links.
    let unlinked = folder.point_latest().err();
    let unlinked = unlinked.map(|error| format!("{error}; `latest` is this run all the same"));
    let (events, inbox) = mpsc::channel(EVENTS_UNDER_WAY);
    let world = Arc::new(World {
        run: run.plan.run,
        leaser: reaper.leaser(),
        folder: folder.clone(),
        redactor: Arc::clone(&run.redactor),
        judging: run.judging,
        keep: run.keep,
        installers: run.installers.clone(),
        labels: run.labels.clone(),
        events,
    });
    let began = Instant::now();
    let mut teller = Teller::new(journal, run.subscribers);
    let (seed, jobs, confirms) = (run.plan.seed, run.plan.jobs, run.plan.confirm.is_some());
    let stages = looking::stages(&run.plan);
    let repeats = plan::repeats(&run.plan);
    let begins = match before {
        None => EventKind::RunStarted(Box::new(run.plan)),
        Some(before) => {
            teller = teller.after(before.summary);
            EventKind::RunResumed(Box::new(before.resumption))
        }
    };
    teller.tell(begins);
    let of_plan = teller.summary.plan.as_ref();
    let unpacked = packs::keep(&folder, of_plan, &run.candidates, &run.redactor).await;
    let plan = Plan {
        seed,
        candidates: run.candidates,
        environments: run.environments,
        objectives: run.objectives,
        limits: run.limits,
        network: run.network,
        repeats,
    };
    let told = teller.summary.plan.as_ref();
    let trials = told.map(|told| plan.staged(told, &stages, &teller.summary));
    let trials = trials.unwrap_or_default();
    let state = State::new(plan.groups(), trials, jobs).confirming(confirms);
    let (state, made_up) = state.after_all(run.budget, made, &teller.summary);
    let unforeseen = unlinked.into_iter().chain(unwatched).chain(unpacked);
    for message in run.warnings.into_iter().chain(unforeseen) {
        teller.tell(EventKind::Warned { message });
    }
    for stored in run.stored {
        teller.tell(EventKind::BaselineRead(stored));
    }
    let mut dispatcher = Dispatcher {
        plan,
        world,
        state,
        teller,
        stopping,
        stop: run.stop,
        deadline: run.deadline.map(|after| (began + after).into()),
        inbox,
        requests,
        trials: JoinSet::new(),
        indices: HashMap::new(),
        wake: None,
        unsaved: None,
        is_unwritten: false,
    };
    dispatcher.perform(made_up);
    dispatcher.dispatch().await;
    Ok(dispatcher.finish(reaper, ended, began).await)
}

struct Dispatcher {
    plan: Plan,
    world: Arc<World>,
    state: State,
    teller: Teller,
    stopping: watch::Sender<Stopping>,
    stop: mpsc::Receiver<StopCause>,
    deadline: Option<tokio::time::Instant>,
    inbox: mpsc::Receiver<EventKind>,
    requests: RequestLog,
    trials: JoinSet<Outcome>,
    indices: HashMap<tokio::task::Id, usize>,
    wake: Option<tokio::time::Instant>,
    /// Why a result could not be written, until that is decided about.
    unsaved: Option<String>,
    /// Whether it was decided about a journal that cannot be written.
    is_unwritten: bool,
}

/// How it goes on when everything that was decided is done.
enum After {
    /// Something will happen.
    Wait,
    /// This is the answer to what was asked.
    Answer(Input),
    /// Everything has a result.
    Finished,
}

impl Dispatcher {
    /// Until every trial has its result.
    async fn dispatch(&mut self) {
        let mut input = Input::Tick;
        loop {
            let effects = self.state.handle(input, Instant::now());
            input = match self.perform(effects) {
                After::Wait => self.next().await,
                After::Answer(answer) => answer,
                After::Finished => return,
            };
        }
    }

    /// What a look decides, of all that has been told by now.
    fn look(&self, look: u32) -> Input {
        Input::Looked(spending::decide(&self.teller.summary, look))
    }

    /// What is run again; what cannot be, is said.
    fn confirm(&mut self) -> Input {
        let summary = &self.teller.summary;
        let recorded = summary.confirmations.clone();
        let mut confirming = spending::confirm(summary);
        // What was run again before the run was gone on with: it is finished, and not decided again.
        let is_told = !recorded.is_empty();
        if is_told {
            confirming.confirmations = recorded;
            confirming.warnings.clear();
        }
        for message in &confirming.warnings {
            let message = message.clone();
            self.teller.tell(EventKind::Warned { message });
        }
        let (more, spared) = self.plan.confirm(&confirming, &self.teller.summary);
        let news = if is_told {
            Vec::new()
        } else {
            confirming.confirmations
        };
        Input::Confirming(news, more, spared)
    }

    /// Waits for the next thing that there is something to decide about.
    async fn next(&mut self) -> Input {
        let mut news = Vec::new();
        loop {
            if let Some(input) = self.unsaved() {
                return input;
            }
            tokio::select! {
                // Signals before everything; news before results, so that a trial's last words come first.
                biased;
                Some(cause) = self.stop.recv() => return self.told(cause),
                () = at(self.deadline) => {
                    self.deadline = None;
                    return Input::Stop(StopCause::Deadline);
                }
                1.. = self.inbox.recv_many(&mut news, EVENTS_UNDER_WAY) => {
                    self.teller.tell_all(news.drain(..));
                }
                () = self.requests.some() => self.requests.write(),
                Some(joined) = self.trials.join_next_with_id() => return self.ended(joined),
                () = at(self.wake) => {
                    self.wake = None;
                    return Input::Tick;
                }
            }
        }
    }

    /// What could not be written and was not decided about.
    fn unsaved(&mut self) -> Option<Input> {
        if let Some(error) = self.teller.journal.error()
            && !self.is_unwritten
        {
            self.is_unwritten = true;
            return Some(Input::Unwritten(format!(
                "{}: {error}",
                crate::journal::FILE
            )));
        }
        self.unsaved.take().map(Input::Unsaved)
    }

    fn told(&self, cause: StopCause) -> Input {
        match self.state.stopping() {
            Stopping::No => Input::Stop(cause),
            Stopping::Stop | Stopping::Hurry => Input::Hurry(cause),
        }
    }

    fn ended(
        &mut self,
        joined: Result<(tokio::task::Id, Outcome), tokio::task::JoinError>,
    ) -> Input {
        let mut news = Vec::new();
        while let Ok(kind) = self.inbox.try_recv() {
            news.push(kind);
        }
        self.teller.tell_all(news);
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => (error.id(), None),
        };
        let Some(trial) = self.indices.remove(&id) else {
            return Input::Tick;
        };
        match outcome {
            Some(Outcome::Finished(kept, setup)) => Input::Finished(trial, self.take(kept), setup),
            Some(Outcome::Lost(loss)) => Input::Lost(trial, loss),
            None => Input::Lost(trial, self.broken(trial)),
        }
    }

    /// A panic in forge's own code: the trial is lost, the run goes on.
    fn broken(&self, trial: usize) -> Loss {
        let id = self.state.id(trial);
        Loss {
            phase: Phase::Scoring,
            kind: ErrorKind::Protocol,
            remedy: Remedy::GiveUp,
            message: "forge itself failed; this is a bug".to_owned(),
            hint: None,
            record: Box::new(TrialRecord::ended(id, TrialEnd::Cancelled, 1)),
        }
    }

    /// Does what was decided; says how it goes on.
    fn perform(&mut self, effects: Vec<Effect>) -> After {
        let mut asked = None;
        let (mut news, mut starts) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Emit(kind) => news.push(kind),
                Effect::Record(record) => {
                    let kept = keep(&self.world.folder, &self.world.redactor, record);
                    news.push(EventKind::TrialFinished(self.take(kept)));
                }
                Effect::StartTrial(trial, attempt) => starts.push((trial, attempt, None)),
                Effect::FailTrial(trial, attempts, known) => {
                    starts.push((trial, attempts, Some(known)));
                }
                Effect::Press(stopping) => drop(self.stopping.send_replace(stopping)),
                Effect::WakeAt(at) => self.wake = Some(at.into()),
                Effect::Look(_) | Effect::Confirm | Effect::Finish => asked = Some(effect),
            }
        }
        // A trial is told before it begins, and what it says comes through the inbox, after this.
        self.teller.tell_all(news);
        for (trial, attempt, known) in starts {
            self.start(trial, attempt, known);
        }
        match asked {
            Some(Effect::Look(look)) => After::Answer(self.look(look)),
            Some(Effect::Confirm) => After::Answer(self.confirm()),
            Some(_) => After::Finished,
            None => After::Wait,
        }
    }

    /// Takes a result that was written down; of one that could not be, remembers why.
    fn take(&mut self, kept: Kept) -> Box<TrialRecord> {
        self.unsaved = kept.unsaved.or(self.unsaved.take());
        kept.record
    }

    /// Begins an attempt of a trial, or gives it the result of a setup that is known to fail.
    fn start(&mut self, trial: usize, attempt: u32, known: Option<KnownFailure>) {
        let job = Arc::new(self.plan.job(self.state.planned(trial)));
        let world = Arc::clone(&self.world);
        let mut stopping = self.stopping.subscribe();
        let id = job.id.clone();
        let of = id.clone();
        let task = async move {
            let trial = async {
                match known {
                    None => crate::trial::run(job, world, attempt).await,
                    Some(known) => crate::trial::not_repeated(job, world, attempt, known).await,
                }
            };
            tokio::select! {
                biased;
                _ = stopping.wait_for(|it| *it > Stopping::No) => Outcome::Lost(Loss::stopped(of, attempt)),
                outcome = trial => outcome,
            }
        };
        let span = tracing::debug_span!("trial", id = %id, attempt);
        let handle = self.trials.spawn(task.instrument(span));
        self.indices.insert(handle.id(), trial);
    }

    /// Waits until everything is deleted, and tells what is left to be told.
    async fn finish(mut self, reaper: Reaper, ended: Cleanup, began: Instant) -> Finished {
        let report = self.close(reaper).await;
        // What is done now looks at all trials at once, by other parts of the program.
        crate::sandbox::local::let_go_of_program();
        let unlogged = self.requests.close();
        let (mut teller, folder) = (self.teller, self.world.folder.clone());
        for news in take_back(&folder, &teller.summary, &self.plan.objectives) {
            teller.tell(news);
        }
        if let Err(error) = folder.settle(&teller.summary) {
            let message =
                format!("a trial.json does not say what a grader's failure comes to: {error}");
            teller.tell(EventKind::Warned { message });
        }
        if let Some(message) = unlogged {
            teller.tell(EventKind::Warned { message });
        }
        let mut cleanup = report.cleanup().clone();
        cleanup.follow_untried(ended);
        teller.tell(EventKind::CleanedUp(cleanup));
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        teller.tell(EventKind::RunFinished { took_ms });
        Finished {
            unsaved: teller.journal.take_error(),
            summary: teller.summary,
            report,
            folder,
            stop: self.stop,
        }
    }

    /// Closes the reaper; a second signal meanwhile makes it hurry.
    async fn close(&mut self, reaper: Reaper) -> CleanupReport {
        let close = reaper.close();
        tokio::pin!(close);
        loop {
            tokio::select! {
                report = &mut close => return report,
                () = self.requests.some() => self.requests.write(),
                Some(cause) = self.stop.recv() => {
                    let input = self.told(cause);
                    let effects = self.state.handle(input, Instant::now());
                    // Everything has its result: there is nothing more to ask.
                    self.perform(effects);
                }
            }
        }
    }
}
