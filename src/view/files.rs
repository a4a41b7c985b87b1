//! The files of a run, for a browser: logs and artifacts, which are hostile.
//!
//! Promises: a file is text, or something to save, and never a page: it can run nothing and load nothing, whatever is in
//! it and whatever it is called. Nothing outside of the run's folder is read, and no link is followed. A file is sent
//! piece by piece.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use tokio::io::AsyncReadExt as _;

use crate::name::RelativePath;
use crate::plain;
use crate::report::{Format, encoded, escaped};
use crate::store::RunFolder;
use crate::tree::{is_folder_inside, open_inside};

/// So much of a file is looked at before it is called text.
const HEAD: usize = 8 << 10;
/// So much is sent at once.
const PIECE: usize = 64 << 10;
/// So many files of a folder are listed.
const LISTED: usize = 1_000;

/// What a file of somebody else's may do in a browser: nothing.
const NOTHING: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";
/// The same for what forge lists.
const LIST: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the run, or what is in a folder of it. Blocks.
pub(super) fn file(folder: &RunFolder, path: &str, is_to_save: bool) -> Response {
    let Ok(below) = RelativePath::parse(path) else {
        return missing();
    };
    if is_folder_inside(folder.path(), std::path::Path::new(below.as_str())) {
        return list(folder, &below, path.ends_with('/'));
    }
    let opened = open_inside(folder.path(), &below).and_then(|mut file| {
        let head = head(&mut file)?;
        Ok((file.metadata()?.len(), head, file))
    });
    let Ok((length, head, file)) = opened else {
        return missing();
    };
    let mut response = sent(file, length);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(NOTHING),
    );
    let kind = if is_to_save || !is_text(&head) {
        headers.insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        );
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The run's own page, byte for byte, with the policy that it names itself; `None` when there is none. Blocks.
pub(super) fn report(folder: &RunFolder) -> Option<Response> {
    let name = RelativePath::parse(Format::Html.file_name()).ok()?;
    let mut file = open_inside(folder.path(), &name).ok()?;
    let head = head(&mut file).ok()?;
    let policy = policy(&String::from_utf8_lossy(&head));
    let mut response = sent(file.try_clone().ok()?, file.metadata().ok()?.len());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    Some(response)
}

/// The policy of a page as its head has it, else the strictest; and nobody may frame it, which a head cannot say.
fn policy(head: &str) -> HeaderValue {
    let own = head
        .split_once("http-equiv=\"Content-Security-Policy\"")
        .and_then(|(_, rest)| rest.split_once("content=\""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(own, _)| own.replace("&#39;", "'").replace("&#x27;", "'"));
    let whole = own.map(|own| format!("{}; frame-ancestors 'none'", own.trim_end_matches(';')));
    let whole = whole.and_then(|whole| HeaderValue::from_str(&whole).ok());
    whole.unwrap_or_else(|| HeaderValue::from_static(LIST))
}

/// The beginning of a file, which is then at its beginning again.
fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head)
}

/// Whether bytes are the beginning of a text.
fn is_text(head: &[u8]) -> bool {
    let cut = |error: std::str::Utf8Error| error.error_len().is_none() && head.len() == HEAD;
    !head.contains(&0) && std::str::from_utf8(head).map_or_else(cut, |_| true)
}

/// As much of a file as there is now: one that grows meanwhile is sent as long as it was said to be.
fn sent(file: File, length: u64) -> Response {
    let mut response = Body::from_stream(pieces(file, length)).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn pieces(file: File, length: u64) -> impl Stream<Item = io::Result<Vec<u8>>> {
    let file = tokio::fs::File::from_std(file).take(length);
    futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then_some((piece, file)))
    })
}

/// What is in a folder: names that lead to it.
fn list(folder: &RunFolder, below: &RelativePath, is_at_home: bool) -> Response {
    if !is_at_home {
        // Without the slash, what is listed would be looked for beside it.
        let name = encoded(below.file_name());
        let Ok(to) = HeaderValue::from_str(&format!("{name}/")) else {
            return missing();
        };
        return (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    }
    let Ok(entries) = std::fs::read_dir(folder.path().join(below)) else {
        return missing();
    };
    let mut names: Vec<(String, u64)> = Vec::new();
    let mut more = 0_u64;
    for entry in entries.flatten() {
        // Neither links nor what has no name that could be asked for.
        let (Ok(name), Ok(data)) = (entry.file_name().into_string(), entry.metadata()) else {
            continue;
        };
        if !data.is_dir() && !data.is_file() {
            continue;
        }
        if names.len() == LISTED {
            more += 1;
            continue;
        }
        let slash = if data.is_dir() { "/" } else { "" };
        names.push((format!("{name}{slash}"), data.len()));
    }
    names.sort();
    let title = escaped(&plain::line(below.as_str()));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1><ul>"
    );
    for (name, bytes) in names {
        let shown = escaped(&plain::line(&name));
        let size = if name.ends_with('/') {
            String::new()
        } else {
            format!(" ({})", crate::quantity::ByteCount(bytes))
        };
        let to = encoded(&name);
        let _: fmt::Result = write!(page, "<li><a href=\"./{to}\">{shown}</a>{size}");
    }
    if more > 0 {
        let _: fmt::Result = write!(page, "<li>… and {more} more");
    }
    page += "</ul></html>\n";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, LIST),
    ];
    (headers, page).into_response()
}

pub(super) fn missing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such file in this run\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_own_policy_and_one_without_gets_the_strictest() {
        let head = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-x='\">";
        assert_eq!(
            policy(head),
            "default-src 'none'; script-src 'sha256-x='; frame-ancestors 'none'"
        );
        assert_eq!(policy("<script>alert(1)</script>"), LIST);
        assert_eq!(
            policy("http-equiv=\"Content-Security-Policy\" content=\"a\nSet-Cookie: x\""),
            LIST
        );
    }

    #[test]
    fn text_is_told_from_what_is_none() {
        assert!(is_text("hé".as_bytes()));
        assert!(!is_text(b"a\0b"));
        assert!(!is_text(b"\xff\xfe"));
        let mut cut = vec![b'a'; HEAD - 1];
        cut.push(0xc3);
        assert!(is_text(&cut));
        assert!(!is_text(&cut[1..]));
    }

    #[test]
    fn names_lead_to_files_and_nowhere_else() {
        assert_eq!(encoded("a b?#%\"<é"), "a%20b%3F%23%25%22%3C%C3%A9");
        assert_eq!(
            escaped("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }
}
