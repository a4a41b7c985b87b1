//! What is said to whom, as tables.

use super::*;

/// What comes of variables and of one file of each installer.
fn told(variables: &[(&str, &str)], pip: &str, uv: &str, npm: &str) -> Installers {
    let variables = variables
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    Installers::new(&Told {
        variables: &variables.collect(),
        folder: Path::new("/here"),
        pip: &[pip.to_owned()],
        uv: &[uv.to_owned()],
        npm: &[npm.to_owned()],
    })
}

/// Always said, so not in the tables.
const ALWAYS: [&str; 3] = [
    "PIP_CONFIG_FILE",
    "PIP_NO_INPUT",
    "PIP_DISABLE_PIP_VERSION_CHECK",
];

fn shown(installers: &Installers) -> Vec<String> {
    let said = installers.variables().iter();
    let said = said.filter(|(name, _)| !ALWAYS.contains(&name.as_str()));
    said.map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[track_caller]
fn check(variables: &[(&str, &str)], pip: &str, uv: &str, npm: &str, expected: &[&str]) {
    assert_eq!(
        shown(&told(variables, pip, uv, npm)),
        expected,
        "{variables:?} {pip} {uv} {npm}"
    );
}

#[test]
fn where_packages_go_is_never_said() {
    let there = [
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_PYTHON",
        "PIP_DRY_RUN",
        "PIP_LOG",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_BREAK_SYSTEM_PACKAGES",
        "PIP_CACHE_DIR",
        "PIP_SRC",
        "PIP_REPORT",
        "PIP_IGNORE_INSTALLED",
        "PIP_NO_DEPS",
        "PIP_USER_AGENT_USER_DATA",
        "PIP_EDITABLE",
        "PIP_REQUIREMENT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_SYSTEM_PYTHON",
        "UV_TARGET",
        "UV_PREFIX",
        "UV_PYTHON",
        "UV_CACHE_DIR",
        "UV_BREAK_SYSTEM_PACKAGES",
        "UV_TOOL_DIR",
        "UV_WORKING_DIR",
        "UV_ENV_FILE",
        "npm_config_prefix",
        "NPM_CONFIG_GLOBAL",
        "npm_config_location",
        "npm_config_cache",
        "npm_config_script_shell",
        "npm_config_ignore_scripts",
        "npm_config_userconfig",
        "PYTHONPATH",
        "HOME",
    ];
    let there = there.map(|name| (name, "1"));
    let pip = "[global]\nuser = true\ntarget = /x\nprefix = /x\nroot = /x\nlog = /x\n[install]\nuser = yes\n";
    let uv = "cache-dir = '/x'\n[pip]\ntarget = '/x'\nsystem = true\nprefix = '/x'\n";
    check(&there, pip, uv, "prefix=/x\nglobal=true\n", &[]);
}

#[test]
fn what_pip_is_told_uv_is_told() {
    check(
        &[
            ("PIP_INDEX_URL", "https://a/simple"),
            ("PIP_EXTRA_INDEX_URL", "https://b https://c"),
        ],
        "",
        "",
        "",
        &[
            "PIP_EXTRA_INDEX_URL=https://b https://c",
            "PIP_INDEX_URL=https://a/simple",
            "UV_DEFAULT_INDEX=https://a/simple",
            "UV_EXTRA_INDEX_URL=https://b https://c",
            "UV_INDEX_STRATEGY=unsafe-best-match",
            "UV_INDEX_URL=https://a/simple",
        ],
    );
    let config = "[global]\nindex-url = https://file\ntrusted-host =\n  a\n  b:80\ncert = ca.pem\n\
                  [install]\nindex-url = https://install\npre = true\nonly-binary = :all:\n[download]\nretries = 9\n";
    check(
        &[
            ("PIP_TRUSTED_HOST", "c"),
            ("PIP_CLIENT_CERT", "~/me.pem"),
            ("HOME", "/h"),
            ("PIP_RETRIES", ""),
        ],
        config,
        "",
        "",
        &[
            "PIP_CERT=/here/ca.pem",
            "PIP_CLIENT_CERT=/h/me.pem",
            "PIP_INDEX_URL=https://install",
            "PIP_ONLY_BINARY=:all:",
            "PIP_PRE=true",
            "PIP_TRUSTED_HOST=c",
            "SSL_CERT_FILE=/here/ca.pem",
            "SSL_CLIENT_CERT=/h/me.pem",
            "UV_DEFAULT_INDEX=https://install",
            "UV_INDEX_URL=https://install",
            "UV_INSECURE_HOST=c",
            "UV_NO_BUILD=1",
            "UV_PRERELEASE=allow",
        ],
    );
    check(
        &[
            ("PIP_NO_INDEX", "on"),
            ("PIP_FIND_LINKS", "wheels file:///w https://l/"),
            ("PIP_PROXY", "http://p:1"),
        ],
        "",
        "",
        "",
        &[
            "ALL_PROXY=http://p:1",
            "PIP_FIND_LINKS=/here/wheels file:///w https://l/",
            "PIP_NO_INDEX=1",
            "PIP_PROXY=http://p:1",
            "UV_DEFAULT_INDEX=/here/wheels",
            "UV_FIND_LINKS=/here/wheels,file:///w,https://l/",
            "UV_INDEX_URL=/here/wheels",
            "UV_NO_INDEX=1",
        ],
    );
    check(
        &[("PIP_NO_INDEX", "1")],
        "",
        "",
        "",
        &["PIP_NO_INDEX=1", "UV_NO_INDEX=1", "UV_OFFLINE=1"],
    );
    check(
        &[("PIP_NO_INDEX", "0"), ("PIP_INDEX_URL", " ")],
        "",
        "",
        "",
        &[],
    );
}

#[test]
fn what_uv_is_told_pip_is_told() {
    check(
        &[
            ("UV_DEFAULT_INDEX", "corp=https://a/simple"),
            ("UV_INDEX", "o-k=https://b https://c"),
            ("UV_INDEX_O_K_USERNAME", "me@x"),
            ("UV_INDEX_O_K_PASSWORD", "password"),
        ],
        "",
        "",
        "",
        &[
            "PIP_EXTRA_INDEX_URL=https://me%40x:password@b https://c",
            "PIP_INDEX_URL=https://a/simple",
            "UV_DEFAULT_INDEX=corp=https://a/simple",
            "UV_INDEX=o-k=https://b https://c",
            "UV_INDEX_O_K_PASSWORD=password",
            "UV_INDEX_O_K_USERNAME=me@x",
            "UV_INDEX_URL=corp=https://a/simple",
        ],
    );
    let file = "offline = false\n[[index]]\nurl = 'https://a'\ndefault = true\n[[index]]\nname = 'x'\nurl = 'https://b'\n\
                [[index]]\nurl = 'https://only'\nexplicit = true\n[pip]\nfind-links = ['w', '/v']\n";
    let expected = [
        "PIP_EXTRA_INDEX_URL=https://b",
        "PIP_FIND_LINKS=/here/w /v",
        "PIP_INDEX_URL=https://a",
        "UV_DEFAULT_INDEX=https://a",
        "UV_FIND_LINKS=/here/w,/v",
        "UV_INDEX=x=https://b",
        "UV_INDEX_URL=https://a",
        "UV_OFFLINE=false",
    ];
    check(&[], "", file, "", &expected);
    check(&[], "", "not toml", "", &[]);
}

#[test]
fn the_public_index_is_not_asked_beside_one_of_ones_own() {
    // An index for one of them, and something else for the other.
    for (variables, name) in [
        (
            [
                ("PIP_INDEX_URL", "https://a"),
                ("UV_EXTRA_INDEX_URL", "https://b"),
            ],
            "UV_DEFAULT_INDEX",
        ),
        (
            [
                ("UV_DEFAULT_INDEX", "https://a"),
                ("PIP_EXTRA_INDEX_URL", "https://b"),
            ],
            "PIP_INDEX_URL",
        ),
        (
            [
                ("UV_INDEX_URL", "https://a"),
                ("PIP_FIND_LINKS", "https://b"),
            ],
            "PIP_INDEX_URL",
        ),
    ] {
        let installers = told(&variables, "", "", "");
        let said = installers.variables().get(name).map(String::as_str);
        assert_eq!(said, Some("https://a"), "{variables:?}");
    }
    let offline = told(
        &[("PIP_NO_INDEX", "1"), ("UV_INDEX", "https://b")],
        "",
        "",
        "",
    );
    assert!(!offline.variables().contains_key("UV_INDEX"));
    assert_eq!(offline.variables()["UV_OFFLINE"], "1");
}

#[test]
fn npm_is_told_which_registry_and_with_what_token() {
    let file = "; x\nregistry=https://r/\n@corp:registry = https://c/\n//c/:_authToken=${TOKEN}\ncafile=ca.pem\n\
                prefix=/x\nstrict-ssl=\"false\"\n//c/:keyfile=~/k\n";
    check(
        &[
            ("TOKEN", "t-o-k-e-n"),
            ("NPM_CONFIG_REGISTRY", "https://env/"),
            ("HOME", "/h"),
        ],
        "",
        "",
        file,
        &[
            "npm_config_//c/:_authToken=t-o-k-e-n",
            "npm_config_//c/:keyfile=/h/k",
            "npm_config_@corp:registry=https://c/",
            "npm_config_cafile=/here/ca.pem",
            "npm_config_registry=https://env/",
            "npm_config_strict_ssl=false",
        ],
    );
}

#[test]
fn passwords_are_known_and_can_be_left_out() {
    let installers = told(
        &[
            ("PIP_INDEX_URL", "https://builder:pass%2Fword@a/simple"),
            ("PIP_CLIENT_CERT", "/me.pem"),
            ("HTTPS_PROXY", "http://u:proxy-password@p:3128"),
            ("UV_INDEX_A_PASSWORD", "uv-password"),
            ("PIP_EXTRA_INDEX_URL", "https://a:b@c"),
        ],
        "",
        "",
        "registry=https://r/\n//r/:_authToken=npm-token\n//r/:username=someone\n",
    );
    let secrets = installers.secrets();
    let has = |text: &str| secrets.iter().any(|it| it.expose() == text);
    for secret in [
        "pass%2Fword",
        "pass/word",
        "builder:pass%2Fword",
        "proxy-password",
        "uv-password",
        "npm-token",
    ] {
        assert!(has(secret), "{secret}");
    }
    assert!(!has("b") && !has("builder") && !has("/me.pem"));
    let plain = installers.without_credentials();
    assert_eq!(
        shown(&plain),
        [
            "HTTPS_PROXY=http://p:3128",
            "PIP_EXTRA_INDEX_URL=https://c",
            "PIP_INDEX_URL=https://a/simple",
            "UV_DEFAULT_INDEX=https://a/simple",
            "UV_EXTRA_INDEX_URL=https://c",
            "UV_INDEX_STRATEGY=unsafe-best-match",
            "UV_INDEX_URL=https://a/simple",
            "npm_config_registry=https://r/",
        ]
    );
    assert!(!format!("{installers:?}").contains("pass"));
}

#[test]
fn elsewhere_only_addresses_mean_the_same() {
    let installers = told(
        &[
            ("PIP_INDEX_URL", "https://u:p@a/simple"),
            ("PIP_FIND_LINKS", "/wheels https://l/ http://localhost:1/"),
            ("PIP_CERT", "/ca.pem"),
            ("HTTP_PROXY", "http://p"),
            ("npm_config_registry", "http://127.0.0.1:1/"),
        ],
        "",
        "",
        "",
    );
    assert_eq!(
        shown(&installers.elsewhere()),
        [
            "PIP_FIND_LINKS=https://l/",
            "PIP_INDEX_URL=https://a/simple",
            "UV_DEFAULT_INDEX=https://a/simple",
            "UV_FIND_LINKS=https://l/",
            "UV_INDEX_URL=https://a/simple",
        ]
    );
    let wheels = told(
        &[("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "/wheels")],
        "",
        "",
        "",
    );
    assert_eq!(shown(&wheels.elsewhere()), [] as [&str; 0]);
}

#[test]
fn the_files_that_are_named_are_known() {
    let installers = told(
        &[
            ("PIP_FIND_LINKS", "w https://l/ file:///v"),
            ("PIP_CERT", "ca.pem"),
            ("UV_DEFAULT_INDEX", "own=/index"),
            ("PIP_CONSTRAINT", "c.txt"),
            ("npm_config_cafile", "/n.pem"),
        ],
        "",
        "",
        "",
    );
    let expected = [
        "/here/c.txt",
        "/here/ca.pem",
        "/here/w",
        "/index",
        "/n.pem",
        "/v",
    ];
    assert_eq!(installers.paths(), expected.map(PathBuf::from));
}

#[test]
fn what_a_candidate_declares_stands() {
    let installers = told(
        &[
            ("PIP_INDEX_URL", "https://mine"),
            ("npm_config_registry", "https://mine/"),
        ],
        "",
        "",
        "",
    );
    let declared = [
        ("PIP_INDEX_URL", "https://its"),
        ("NPM_CONFIG_REGISTRY", "https://its/"),
    ];
    let mut env = declared.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    installers.add_to(&mut env);
    assert_eq!(env["PIP_INDEX_URL"], "https://its");
    assert!(!env.contains_key("npm_config_registry"));
    assert_eq!(env["UV_DEFAULT_INDEX"], "https://mine");
}
