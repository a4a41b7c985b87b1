//! Files: uploads, downloads, ranges, the bulk forms, and the calls about files.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Setup, send};
use crate::support::fake_daytona::Options;

#[tokio::test]
async fn what_is_uploaded_can_be_downloaded_in_parts() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let stored = setup
        .upload(&id, "/home/daytona/deep/er/text", "0123456789")
        .await;
    let file = json!({"path": "/home/daytona/deep/er/text", "bytes": 10});
    assert_eq!(stored.json(), json!({"files": [file]}));
    let cases = [
        (None, 200, "0123456789", ""),
        (Some("bytes=2-4"), 206, "234", "bytes 2-4/10"),
        (Some("bytes=7-"), 206, "789", "bytes 7-9/10"),
        (Some("bytes=-3"), 206, "789", "bytes 7-9/10"),
        (Some("bytes=5-99"), 206, "56789", "bytes 5-9/10"),
        (Some("bytes=10-"), 416, "", "bytes */10"),
        (Some("lines=1-2"), 200, "0123456789", ""),
    ];
    for (range, status, text, content_range) in cases {
        let mut request = setup
            .toolbox(Method::GET, &id, "/files/download")
            .query(&[("path", "deep/er/text")]);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = send(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (status, text),
            "{range:?}"
        );
        assert_eq!(answer.header("content-range"), content_range, "{range:?}");
    }
    for (path, status) in [("missing", 404), ("deep", 400)] {
        let answer = setup.download(&id, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (status, ""),
            "{path}"
        );
    }
    setup.delete(&id).await;
}

#[tokio::test]
async fn only_forges_own_texts_are_translated() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let home = setup.fake.home(&id).expect("a home");
    let home = home.to_str().expect("text");
    let text = "cd /home/daytona/x";
    let translated = format!("cd {home}/x");
    for (path, expected) in [
        ("/home/daytona/.forge-run.sh", translated.as_str()),
        (".forge/deep/run.sh", &translated),
        ("agent.py", text),
    ] {
        setup.upload(&id, path, text).await;
        assert_eq!(setup.download(&id, path).await.text, expected, "{path}");
    }
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_bulk_upload_may_succeed_in_part() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let form = Form::new()
        .text("files[0].path", "good")
        .part("files[0].file", Part::text("x").file_name("f"))
        .part("files[1].file", Part::text("y").file_name("f"))
        .text("files[2].path", "good/below-a-file")
        .part("files[2].file", Part::text("z").file_name("f"));
    let request = setup.toolbox(Method::POST, &id, "/files/bulk-upload");
    let answer = send(request.multipart(form)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["errors"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        answer.json()["files"],
        json!([{"path": "good", "bytes": 1}])
    );
    assert_eq!(setup.download(&id, "good").await.text, "x");
    setup.delete(&id).await;
}

#[tokio::test]
async fn single_uploads_take_a_part_or_a_raw_body() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let post = |call: &str, path: &str| {
        let request = setup.toolbox(Method::POST, &id, &format!("/files/{call}"));
        request.query(&[("path", path)])
    };
    let part = || Form::new().part("file", Part::text("part").file_name("f"));
    send(post("upload", "one").multipart(part())).await;
    send(post("upload-v2", "two").multipart(part())).await;
    let raw = send(post("upload-v2", "deep/three").body("raw"))
        .await
        .json();
    assert_eq!(
        raw,
        json!({"name": "three", "path": "deep/three", "type": "file"})
    );
    for (path, text) in [("one", "part"), ("two", "part"), ("deep/three", "raw")] {
        assert_eq!(setup.download(&id, path).await.text, text);
    }
    let nameless = setup
        .toolbox(Method::POST, &id, "/files/upload")
        .multipart(part());
    assert_eq!(send(nameless).await.status, StatusCode::BAD_REQUEST);
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_bulk_download_has_a_part_for_each_path() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    setup.upload(&id, "ä", "content").await;
    let ask = |paths: &[&str]| {
        let request = setup.toolbox(Method::POST, &id, "/files/bulk-download");
        send(request.json(&json!({"paths": paths})))
    };
    let answer = ask(&["ä", "missing", "."]).await;
    let kind = "multipart/form-data; boundary=DAYTONA-FILE-BOUNDARY";
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, kind)
    );
    let parts: Vec<&str> = answer.text.split("--DAYTONA-FILE-BOUNDARY").collect();
    assert_eq!((parts.len(), parts[4]), (5, "--\r\n"));
    let named = "name=\"file\"; filename=\"ä\"; filename*=utf-8''%C3%A4";
    assert!(parts[1].contains(named) && parts[1].ends_with("Content-Length: 7\r\n\r\ncontent\r\n"));
    assert!(parts[2].contains("name=\"error\"") && parts[2].contains("FILE_NOT_FOUND"));
    assert!(parts[3].contains("INVALID_FILE_PATH"));
    let empty = ask(&[]).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    assert!(!empty.field("error").is_empty());
    setup.delete(&id).await;
}

#[tokio::test]
async fn files_are_listed_described_moved_and_deleted() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let call = |method: Method, path: &str, query: &[(&str, &str)]| {
        send(setup.toolbox(method, &id, path).query(query))
    };
    let made = call(
        Method::POST,
        "/files/folder",
        &[("path", "d/e"), ("mode", "0700")],
    )
    .await;
    assert_eq!(made.status, StatusCode::CREATED);
    setup.upload(&id, "d/f", "12345").await;
    call(
        Method::POST,
        "/files/permissions",
        &[("path", "d/f"), ("mode", "0640")],
    )
    .await;
    let list = call(Method::GET, "/files", &[("path", "d")]).await.json();
    let names: Vec<&str> = ["e", "f"].to_vec();
    assert_eq!([&list[0]["name"], &list[1]["name"]], names[..]);
    let info = call(Method::GET, "/files/info", &[("path", "/home/daytona/d/f")])
        .await
        .json();
    assert_eq!([&info["size"], &info["isDir"]], [&json!(5), &json!(false)]);
    assert_eq!(
        [&info["permissions"], &info["mode"]],
        ["0640", "-rw-r-----"]
    );
    let moved = [("source", "d/f"), ("destination", "d/g")];
    assert_eq!(
        call(Method::POST, "/files/move", &moved).await.status,
        StatusCode::OK
    );
    assert_eq!(
        call(Method::POST, "/files/move", &moved).await.status,
        StatusCode::CONFLICT
    );
    let removals = [
        (vec![("path", "d")], 400),
        (vec![("path", "d"), ("recursive", "true")], 204),
        (vec![("path", "d")], 404),
    ];
    for (query, status) in removals {
        assert_eq!(
            call(Method::DELETE, "/files", &query).await.status,
            status,
            "{query:?}"
        );
    }
    let folder = call(Method::GET, "/work-dir", &[]).await;
    assert_eq!(folder.field("dir"), "/home/daytona");
    assert_eq!(
        call(Method::GET, "/version", &[]).await.field("version"),
        "0.190.0"
    );
    setup.delete(&id).await;
}
