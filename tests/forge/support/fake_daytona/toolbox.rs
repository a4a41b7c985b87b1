//! The proxy in front of the sandboxes' daemons, and which of their calls is which.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::estate::{Shared, lock};
use super::execute::execute;
use super::fault::During;
use super::place::{HOME, Place, UnderWay};
use super::reply::{Refusal, SPENT, json_ok};
use super::route::{Call, Route};
use super::row::Row;
use super::server::{Asked, unknown_at_proxy};
use super::{files, logs, session, transfer};

/// How long the proxy remembers that a caller may reach a sandbox.
const ACCESS_IS_KNOWN: Duration = Duration::from_secs(120);

fn counts_as_activity(headers: &HeaderMap) -> bool {
    let skips = headers.get("x-daytona-skip-last-activity-update");
    skips.is_none_or(|skips| skips != "true")
}

impl Shared {
    /// Answers a call to a sandbox's daemon.
    pub(crate) async fn toolbox_answer(
        self: &Arc<Self>,
        call: &Call,
        asked: Asked,
        faults: &[During],
    ) -> Result<Response, Refusal> {
        self.authenticate_at_proxy(&asked)?;
        let counts = counts_as_activity(&asked.headers);
        let place = self.reach(&call.sandbox, counts)?;
        for fault in faults {
            if let During::DaemonDies(after) = fault {
                self.kill_daemon_after(&place, *after);
            }
        }
        tokio::select! {
            biased;
            () = place.died() => Err(Refusal::bare(StatusCode::BAD_GATEWAY)),
            answer = self.daemon_answer(&place, call, asked) => answer,
        }
    }

    /// Keeps auto-stop away from the sandbox of a toolbox call, where there is one, until what is returned is
    /// dropped: from the first of its request on, until the last of its answer.
    pub(crate) fn begin_call(&self, call: &Call, headers: &HeaderMap) -> Option<UnderWay> {
        let counts = call.toolbox && counts_as_activity(headers);
        let mut estate = counts.then(|| lock(&self.estate))?;
        let row = estate.of_id(&call.sandbox)?;
        self.settle(row);
        row.answers().then(|| row.place.call())
    }

    /// The place of a sandbox that the proxy can reach.
    fn reach(&self, id: &str, counts: bool) -> Result<Arc<Place>, Refusal> {
        let mut estate = lock(&self.estate);
        if estate.of_name(id).is_some_and(|row| row.id != id) {
            return Err(Refusal::bad("the sandbox id is not valid"));
        }
        let row = estate.of_id(id).ok_or_else(unknown_at_proxy)?;
        self.settle(row);
        self.ask_for_access(row)?;
        if !row.is_wanted() && !row.answers() {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "sandbox container not found",
            ));
        }
        if !row.answers() {
            return Err(Refusal::bad(
                "failed to resolve container IP. Is the Sandbox started?",
            ));
        }
        if counts {
            row.active = self.clock.now();
        }
        Ok(Arc::clone(&row.place))
    }

    /// The proxy's question to the API whether the caller may reach a sandbox: it spends the account's general
    /// budget, at first use and every two minutes.
    fn ask_for_access(&self, row: &mut Row) -> Result<(), Refusal> {
        let now = self.clock.now();
        if row
            .access_asked
            .is_some_and(|at| now < at + ACCESS_IS_KNOWN)
        {
            return Ok(());
        }
        if lock(&self.throttles).count_access(now) {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, SPENT));
        }
        row.access_asked = Some(now);
        Ok(())
    }

    /// Kills a daemon and all that it started, after a while.
    pub(crate) fn kill_daemon_after(self: &Arc<Self>, place: &Arc<Place>, after: Duration) {
        if after.is_zero() {
            place.die();
            return self.hunt(place);
        }
        let (shared, place) = (Arc::clone(self), Arc::clone(place));
        drop(self.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            place.die();
            shared.hunt(&place);
        }));
    }

    async fn daemon_answer(
        &self,
        place: &Arc<Place>,
        call: &Call,
        asked: Asked,
    ) -> Result<Response, Refusal> {
        let (query, body) = (&asked.query, &asked.body);
        let (session, command) = (call.part(0), call.part(1));
        match call.route {
            Route::Execute => execute(&self.runtime, place, body).await,
            Route::CreateSession => session::create(&self.runtime, place, body),
            Route::ListSessions => Ok(session::list(place)),
            Route::GetSession => session::get(place, session),
            Route::DeleteSession => session::delete(&self.runtime, place, session),
            Route::SessionExec => session::execute(place, session, body).await,
            Route::GetCommand => session::command(place, session, command),
            Route::CommandLogs => logs::logs(place, session, command, asked),
            Route::CommandInput => session::input(place, session, command, body).await,
            Route::BulkUpload => transfer::bulk_upload(place, asked).await,
            Route::Upload => transfer::upload(place, asked).await,
            Route::UploadV2 => transfer::upload_v2(place, asked).await,
            Route::Download => transfer::download(place, &asked).await,
            Route::BulkDownload => {
                let url = asked.uri.path();
                Ok(transfer::bulk_download(&self.runtime, place, body, url))
            }
            Route::ListFiles => files::list(place, query),
            Route::FileInfo => files::info(place, query),
            Route::CreateFolder => files::create_folder(place, query),
            Route::DeleteFile => files::delete(place, query),
            Route::MoveFile => files::rename(place, query),
            Route::Permissions => files::permissions(place, query),
            Route::Directory => Ok(json_ok(&json!({"dir": HOME}))),
            Route::Version => Ok(json_ok(&json!({"version": super::VERSION}))),
            Route::Create
            | Route::List
            | Route::ListPages
            | Route::Get
            | Route::Delete
            | Route::Start
            | Route::Stop
            | Route::Labels
            | Route::Interval
            | Route::NetworkSettings
            | Route::LastActivity
            | Route::ToolboxUrl
            | Route::Config
            | Route::CurrentKey
            | Route::Usage
            | Route::Unknown
            | Route::Dashboard => Err(Refusal::bare(StatusCode::NOT_FOUND)),
        }
    }
}
