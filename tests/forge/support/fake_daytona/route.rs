//! Which call a method and a path are.

use axum::http::Method;

/// Every call that the fake knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Route {
    /// `POST /sandbox`
    Create,
    /// `GET /sandbox`
    List,
    /// `GET /sandbox/paginated`
    ListPages,
    /// `GET /sandbox/{sb}`
    Get,
    /// `DELETE /sandbox/{sb}`
    Delete,
    /// `POST /sandbox/{sb}/start`
    Start,
    /// `POST /sandbox/{sb}/stop`
    Stop,
    /// `PUT /sandbox/{sb}/labels`
    Labels,
    /// `POST /sandbox/{sb}/autostop/{minutes}` and the other intervals
    Interval,
    /// `POST /sandbox/{sb}/network-settings`
    NetworkSettings,
    /// `POST /sandbox/{sb}/last-activity`
    LastActivity,
    /// `GET /sandbox/{sb}/toolbox-proxy-url`
    ToolboxUrl,
    /// `GET /config`
    Config,
    /// `GET /api-keys/current`
    CurrentKey,
    /// `GET /organizations/{id}/usage`
    Usage,
    /// `POST /process/execute`
    Execute,
    /// `POST /process/session`
    CreateSession,
    /// `GET /process/session`
    ListSessions,
    /// `GET /process/session/{s}`
    GetSession,
    /// `DELETE /process/session/{s}`
    DeleteSession,
    /// `POST /process/session/{s}/exec`
    SessionExec,
    /// `GET /process/session/{s}/command/{c}`
    GetCommand,
    /// `GET /process/session/{s}/command/{c}/logs`
    CommandLogs,
    /// `POST /process/session/{s}/command/{c}/input`
    CommandInput,
    /// `POST /files/bulk-upload`
    BulkUpload,
    /// `POST /files/upload`
    Upload,
    /// `POST /files/upload-v2`
    UploadV2,
    /// `GET /files/download`
    Download,
    /// `POST /files/bulk-download`
    BulkDownload,
    /// `GET /files`
    ListFiles,
    /// `GET /files/info`
    FileInfo,
    /// `POST /files/folder`
    CreateFolder,
    /// `DELETE /files`
    DeleteFile,
    /// `POST /files/move`
    MoveFile,
    /// `POST /files/permissions`
    Permissions,
    /// `GET /user-home-dir`, `/work-dir`, `/project-dir`
    Directory,
    /// `GET /version`
    Version,
    /// Anything else below the API or a toolbox: 404.
    Unknown,
    /// Anything else at all: the dashboard.
    Dashboard,
}

/// A call with the parts of its path.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Which one.
    pub(crate) route: Route,
    /// The sandbox's id or name, or the organization's id; empty where there is none.
    pub(crate) sandbox: String,
    /// The other variable parts, in order.
    pub(crate) parts: Vec<String>,
    /// Whether the toolbox is asked, not the API.
    pub(crate) toolbox: bool,
}

impl Call {
    /// Reads a path.
    pub(crate) fn parse(method: &Method, path: &str) -> Self {
        let segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (toolbox, (route, sandbox, parts)) = match segments.as_slice() {
            ["api", rest @ ..] => (false, api(method.as_str(), rest)),
            ["toolbox", sandbox, rest @ ..] => {
                let (route, parts) = toolbox(method.as_str(), rest);
                (true, (route, *sandbox, parts))
            }
            _ => (false, (Route::Dashboard, "", Vec::new())),
        };
        Self {
            route,
            sandbox: sandbox.to_owned(),
            parts: parts.into_iter().map(str::to_owned).collect(),
            toolbox,
        }
    }

    /// A variable part of the path besides the sandbox; empty when there are fewer.
    pub(crate) fn part(&self, index: usize) -> &str {
        self.parts.get(index).map_or("", String::as_str)
    }
}

fn api<'a>(method: &str, path: &[&'a str]) -> (Route, &'a str, Vec<&'a str>) {
    match (method, path) {
        ("POST", ["sandbox"]) => (Route::Create, "", vec![]),
        ("GET", ["sandbox"]) => (Route::List, "", vec![]),
        ("GET", ["sandbox", "paginated"]) => (Route::ListPages, "", vec![]),
        ("GET", ["sandbox", sandbox]) => (Route::Get, sandbox, vec![]),
        ("DELETE", ["sandbox", sandbox]) => (Route::Delete, sandbox, vec![]),
        ("POST", ["sandbox", sandbox, "start"]) => (Route::Start, sandbox, vec![]),
        ("POST", ["sandbox", sandbox, "stop"]) => (Route::Stop, sandbox, vec![]),
        ("PUT", ["sandbox", sandbox, "labels"]) => (Route::Labels, sandbox, vec![]),
        ("POST", ["sandbox", sandbox, "last-activity"]) => (Route::LastActivity, sandbox, vec![]),
        ("POST", ["sandbox", sandbox, "network-settings"]) => {
            (Route::NetworkSettings, sandbox, vec![])
        }
        (
            "POST",
            [
                "sandbox",
                sandbox,
                kind @ ("autostop" | "autoarchive" | "autodelete" | "ttl"),
                minutes,
            ],
        ) => (Route::Interval, sandbox, vec![kind, minutes]),
        ("GET", ["sandbox", sandbox, "toolbox-proxy-url"]) => (Route::ToolboxUrl, sandbox, vec![]),
        ("GET", ["config"]) => (Route::Config, "", vec![]),
        ("GET", ["api-keys", "current"]) => (Route::CurrentKey, "", vec![]),
        ("GET", ["organizations", organization, "usage"]) => (Route::Usage, organization, vec![]),
        _ => (Route::Unknown, "", vec![]),
    }
}

fn toolbox<'a>(method: &str, path: &[&'a str]) -> (Route, Vec<&'a str>) {
    match (method, path) {
        ("POST", ["process", "execute"]) => (Route::Execute, vec![]),
        (_, ["process", "session", rest @ ..]) => session(method, rest),
        (_, ["files", rest @ ..]) => (files(method, rest), vec![]),
        ("GET", ["user-home-dir" | "work-dir" | "project-dir"]) => (Route::Directory, vec![]),
        ("GET", ["version"]) => (Route::Version, vec![]),
        _ => (Route::Unknown, vec![]),
    }
}

fn session<'a>(method: &str, path: &[&'a str]) -> (Route, Vec<&'a str>) {
    match (method, path) {
        ("POST", []) => (Route::CreateSession, vec![]),
        ("GET", []) => (Route::ListSessions, vec![]),
        ("GET", [session]) => (Route::GetSession, vec![session]),
        ("DELETE", [session]) => (Route::DeleteSession, vec![session]),
        ("POST", [session, "exec"]) => (Route::SessionExec, vec![session]),
        ("GET", [session, "command", command]) => (Route::GetCommand, vec![session, command]),
        ("GET", [session, "command", command, "logs"]) => {
            (Route::CommandLogs, vec![session, command])
        }
        ("POST", [session, "command", command, "input"]) => {
            (Route::CommandInput, vec![session, command])
        }
        _ => (Route::Unknown, vec![]),
    }
}

fn files(method: &str, path: &[&str]) -> Route {
    match (method, path) {
        ("POST", ["bulk-upload"]) => Route::BulkUpload,
        ("POST", ["upload"]) => Route::Upload,
        ("POST", ["upload-v2"]) => Route::UploadV2,
        ("GET", ["download"]) => Route::Download,
        ("POST", ["bulk-download"]) => Route::BulkDownload,
        ("GET", [] | [""]) => Route::ListFiles,
        ("GET", ["info"]) => Route::FileInfo,
        ("POST", ["folder"]) => Route::CreateFolder,
        ("DELETE", [] | [""]) => Route::DeleteFile,
        ("POST", ["move"]) => Route::MoveFile,
        ("POST", ["permissions"]) => Route::Permissions,
        _ => Route::Unknown,
    }
}

/// Undoes percent-encoding. What is not a valid escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
