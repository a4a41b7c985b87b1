//! The calls about files that move no bytes: list, look, make, delete, move, change modes.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::clock::timestamp;
use super::list::{Query, value};
use super::place::Place;
use super::reply::{Refusal, json_ok};

/// A path that must be in the query.
pub(crate) fn path<'a>(query: &'a Query, key: &str) -> Result<&'a str, Refusal> {
    value(query, key)
        .filter(|path| !path.is_empty())
        .ok_or_else(|| Refusal::bad(format!("{key} is required")))
}

/// How the daemon's file handlers refuse: by a status alone.
pub(crate) fn refusal(error: &io::Error) -> Refusal {
    Refusal::bare(if error.kind() == io::ErrorKind::NotFound {
        StatusCode::NOT_FOUND
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::BAD_REQUEST
    })
}

/// `GET /files`.
pub(crate) fn list(place: &Place, query: &Query) -> Result<Response, Refusal> {
    let folder = value(query, "path").unwrap_or(".");
    let entries = fs::read_dir(place.inside(folder)).map_err(|error| refusal(&error))?;
    let mut files: Vec<Value> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            describe(&name, &entry.path(), &format!("{folder}/{name}")).ok()
        })
        .collect();
    files.sort_by_key(|file| file["name"].as_str().map(str::to_owned));
    Ok(json_ok(&Value::Array(files)))
}

/// `GET /files/info`.
pub(crate) fn info(place: &Place, query: &Query) -> Result<Response, Refusal> {
    let path = path(query, "path")?;
    let name = Path::new(path)
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let found = describe(&name, &place.inside(path), path).map_err(|error| refusal(&error))?;
    Ok(json_ok(&found))
}

fn describe(name: &str, file: &Path, path: &str) -> io::Result<Value> {
    let metadata = fs::metadata(file)?;
    let modified = timestamp(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    let bits = metadata.mode() & 0o777;
    let kind = if metadata.is_dir() { 'd' } else { '-' };
    let letters: String = (0..9)
        .map(|place| {
            if bits >> (8 - place) & 1 == 1 {
                ['r', 'w', 'x'][place % 3]
            } else {
                '-'
            }
        })
        .collect();
    Ok(json!({
        "name": name,
        "path": path,
        "size": metadata.len(),
        "mode": format!("{kind}{letters}"),
        "modTime": modified,
        "modifiedAt": modified,
        "isDir": metadata.is_dir(),
        "owner": metadata.uid().to_string(),
        "group": metadata.gid().to_string(),
        "permissions": format!("{bits:04o}"),
    }))
}

/// `POST /files/folder`.
pub(crate) fn create_folder(place: &Place, query: &Query) -> Result<Response, Refusal> {
    let folder = place.inside(path(query, "path")?);
    let mode = mode(value(query, "mode").unwrap_or("0755"))?;
    fs::create_dir_all(&folder)
        .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)))
        .map_err(|error| refusal(&error))?;
    Ok(StatusCode::CREATED.into_response())
}

/// `DELETE /files`.
pub(crate) fn delete(place: &Place, query: &Query) -> Result<Response, Refusal> {
    let file = place.inside(path(query, "path")?);
    let metadata = fs::symlink_metadata(&file).map_err(|error| refusal(&error))?;
    let removed = if !metadata.is_dir() {
        fs::remove_file(&file)
    } else if value(query, "recursive") == Some("true") {
        fs::remove_dir_all(&file)
    } else {
        return Err(Refusal::bad("cannot delete a directory without recursive"));
    };
    removed.map_err(|error| refusal(&error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /files/move`.
pub(crate) fn rename(place: &Place, query: &Query) -> Result<Response, Refusal> {
    let source = place.inside(path(query, "source")?);
    let destination = place.inside(path(query, "destination")?);
    if fs::symlink_metadata(&destination).is_ok() {
        return Err(Refusal::bare(StatusCode::CONFLICT));
    }
    fs::rename(source, destination).map_err(|error| refusal(&error))?;
    Ok(StatusCode::OK.into_response())
}

/// `POST /files/permissions`. Owners and groups are those of this machine, and stay.
pub(crate) fn permissions(place: &Place, query: &Query) -> Result<Response, Refusal> {
    let file = place.inside(path(query, "path")?);
    if let Some(text) = value(query, "mode") {
        fs::set_permissions(file, fs::Permissions::from_mode(mode(text)?))
            .map_err(|error| refusal(&error))?;
    }
    Ok(StatusCode::OK.into_response())
}

fn mode(text: &str) -> Result<u32, Refusal> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| Refusal::bad("invalid mode"))
}
