use std::borrow::Cow;

use super::{Masker, masked};

/// Returns so many letters and digits that look random; no scanner of this repository shall take them for a secret.
fn random(length: usize) -> String {
    "Zq7Rm2Xw9Kt4Vb8Nc3Pd6Hf5Js1".chars().cycle().take(length).collect()
}

fn lines(count: usize) -> String {
    (0..count).map(|_| random(64) + "\n").collect()
}

/// Returns credentials as they stand in a line, and what becomes of the line.
fn credentials() -> Vec<(String, String)> {
    let (r16, r20, r36, r40, r88) = (random(16), random(20), random(36), random(40), random(88));
    let access = "Q7RM2XW9KT4VB8NC";
    let key = |label: &str, newline: &str| {
        format!("-----BEGIN {label}-----\n{}-----END {label}-----", lines(3)).replace('\n', newline)
    };
    let hidden = |label: &str| format!("-----BEGIN {label}-----***-----END {label}-----");
    let pair = |text: String, expected: &str| (text, expected.to_owned());
    vec![
        pair(format!("key AKIA{access} of"), "key AKIA*** of"),
        pair(format!("'ASIA{access}'"), "'ASIA***'"),
        pair(format!("aws_secret_access_key={r40}"), "aws_secret_access_key=***"),
        pair(format!("AWS_SECRET_ACCESS_KEY: '{r40}',"), "AWS_SECRET_ACCESS_KEY: '***',"),
        pair(format!(r#"{{"SecretAccessKey": "{r40}"}}"#), r#"{"SecretAccessKey": "***"}"#),
        pair(format!(r#"\"aws_session_token\":\"{r88}==\""#), r#"\"aws_session_token\":\"***\""#),
        pair(format!("aws_secret_access_key:\n{r40}"), &format!("aws_secret_access_key:\n{r40}")),
        pair(format!("remote: ghp_{r36}"), "remote: ghp_***"),
        pair(format!("gho_{r36}, ghs_{r36}"), "gho_***, ghs_***"),
        pair(format!("github_pat_{r20}_{r40}!"), "github_pat_***!"),
        pair(format!("token=glpat-{r20}"), "token=glpat-***"),
        pair(format!("HF_TOKEN=hf_{}", random(34)), "HF_TOKEN=hf_***"),
        pair(
            format!("Incorrect API key provided: sk-{r40}."),
            "Incorrect API key provided: sk-***.",
        ),
        pair(format!("sk-ant-api03-{r88}-x_AA"), "sk-***"),
        pair(format!("?key=AIza{}&x=1", random(35)), "?key=AIza***&x=1"),
        pair(format!("xoxb-123456789012-{r20}"), "xoxb-***"),
        pair(format!("hooks.slack.com/services/T0000/B0000/{r20}"), "hooks.slack.com/services/***"),
        pair(format!("nvapi-{}", random(64)), "nvapi-***"),
        pair(format!("a eyJ{r20}.eyJ{r36}.{r40} b"), "a eyJ*** b"),
        pair(format!("Authorization: Bearer {r16}"), "Authorization: Bearer ***"),
        pair("'authorization': 'Basic dXNlcjpwYXNz'".to_owned(), "'authorization': 'Basic ***'"),
        pair(format!("> bearer {r20}\r"), "> bearer ***\r"),
        pair("https://user:pass@host/simple".to_owned(), "https://user:***@host/simple"),
        pair("postgres://u:p%40@db:5432/x, x".to_owned(), "postgres://u:***@db:5432/x, x"),
        pair(format!("git clone https://{r20}@host/x.git"), "git clone https://***@host/x.git"),
        pair(format!("?sv=2024-11-04&sr=b&sig={r40}%3D&se=1"), "?sv=2024-11-04&sr=b&sig=***&se=1"),
        pair(format!(r#""?sv=1\u0026sig={r40}""#), r#""?sv=1\u0026sig=***""#),
        pair(format!("AccountName=a;AccountKey={r88}==;E=1"), "AccountName=a;AccountKey=***;E=1"),
        pair(
            format!("X-Amz-Date=1&X-Amz-Signature={}", "a0".repeat(32)),
            "X-Amz-Date=1&X-Amz-Signature=***",
        ),
        pair(key("RSA PRIVATE KEY", "\n"), &hidden("RSA PRIVATE KEY")),
        pair(
            format!("\"{}\"", key("PRIVATE KEY", "\\n")),
            &format!("\"{}\"", hidden("PRIVATE KEY")),
        ),
        pair(key("OPENSSH PRIVATE KEY", "\\\\n"), &hidden("OPENSSH PRIVATE KEY")),
        // What stands before is no word's beginning.
        pair(format!(r#""\nghp_{r36}\n""#), r#""\nghp_***\n""#),
        pair(format!("\x1b[1;31mhf_{r36}\x1b[0m"), "\x1b[1;31mhf_***\x1b[0m"),
    ]
}

#[test]
fn credentials_are_masked_and_nothing_beside_them() {
    for (text, expected) in credentials() {
        assert_eq!(masked(&text), expected, "{text}");
        assert_eq!(masked(&expected), expected, "what is masked stays as it is");
    }
}

#[test]
fn what_only_looks_random_stays() {
    let (digest, revision) = ("0123456789abcdef".repeat(4), "deadbeef01".repeat(4));
    for text in [
        digest.as_str(),
        &format!("sha256:{digest} at {revision}, md5 {}", &digest[..32]),
        &format!("{{\"loss\":0.693147,\"digest\":\"{digest}\",\"base64\":\"{}==\"}}", random(400)),
        &format!("eyJ{}", random(300)),
        &format!("eyJhbGciOiJIUzI1NiJ9.short {}", random(40)),
        &format!("ghp_short hf_hub_download(repo) hf_{}", "model_".repeat(20)),
        "https://host:8080/a@b https://user@host/ ssh://git@github.com:22/x git@github.com:a/b",
        "task-sk-learn-contrib-imbalanced-2024 risk-Based-Training-For-2024-And-2025",
        "sk-some-long-name-with-hyphens-2024-and-more",
        "AKIA is a prefix; AKIAI AKIAq7rm2xw9kt4vb8nc AKIAQ7RM2XW9KT4VB8NCLONGER",
        "aws_secret_access_key = os.environ[\"AWS_SECRET_ACCESS_KEY\"]",
        "Authorization: required authentication-of-users; bearer of many-hyphenated-good-news",
        "{\"AccountKey\": 1234567890123456789012345678901234567890, \"sig\": 0.5, \"sig=\": 1e-5}",
        "msig=abcdefghijklmnopqrstuvwxyz loss=0.5 config=abcdefghijklmnopqrstuvwxyz",
        "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END CERTIFICATE-----",
        "expected -----BEGIN PRIVATE KEY----- at the beginning of the file, found nothing there",
        "-----BEGIN PRIVATE KEY-----",
        "xoxo-many-kisses eyJ. :// sig= Bearer ",
        "ünïcödé \u{1F600} … ✓",
    ] {
        assert!(matches!(masked(text), Cow::Borrowed(_)), "{text} became {}", masked(text));
    }
}

/// Returns what comes of a text that arrives in pieces.
fn in_pieces(text: &[u8], pieces: impl Iterator<Item = usize>, mut masker: Masker) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), text);
    for length in pieces {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        masker.feed(piece, |bytes| found.extend_from_slice(bytes));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    masker.finish(|bytes| found.extend_from_slice(bytes));
    found
}

#[test]
fn how_a_stream_was_cut_makes_no_difference() {
    for (text, expected) in credentials() {
        let text = format!("first\n{text}\nlast https://");
        let expected = format!("first\n{expected}\nlast https://");
        for length in 1..=text.len() {
            let found = in_pieces(text.as_bytes(), std::iter::repeat(length), Masker::default());
            assert_eq!(String::from_utf8_lossy(&found), expected, "pieces of {length}");
            let halves = [length, text.len()].into_iter();
            let found = in_pieces(text.as_bytes(), halves, Masker::default());
            assert_eq!(String::from_utf8_lossy(&found), expected, "cut at {length}");
        }
    }
}

#[test]
fn a_whole_line_is_handed_on_at_once() {
    let mut masker = Masker::default();
    for line in ["epoch 1: loss 0.5\n", "Bearer of news\n", "see https://host/\n", " 50%\r"] {
        let mut found = Vec::new();
        masker.feed(line.as_bytes(), |bytes| found.extend_from_slice(bytes));
        assert_eq!(String::from_utf8_lossy(&found), line);
    }
}

#[test]
fn memory_stays_bounded_whatever_comes() {
    let endless = |begin: &str, more: &str| (begin.to_owned(), more.repeat(4096 / more.len()));
    for (begin, more) in [
        endless("ghp_", "a"),
        endless("eyJ", "a"),
        endless("eyJ", "a."),
        endless("https://", "a"),
        endless("https://user:", "a"),
        endless("sk-", "a"),
        endless("aws_secret_access_key", " "),
        endless("aws_secret_access_key=", "1"),
        endless("Authorization: ", "a"),
        endless("-----BEGIN ", "A"),
        endless("-----BEGIN PRIVATE KEY-----", "a "),
        endless("-----BEGIN PRIVATE KEY-----\n", "\\"),
        endless(&format!("-----BEGIN PRIVATE KEY-----\n{}", lines(2)), "a\n"),
    ] {
        let mut masker = Masker::default();
        let mut told = 0;
        masker.feed(begin.as_bytes(), |bytes| told += bytes.len());
        for _ in 0..256 {
            masker.feed(more.as_bytes(), |bytes| told += bytes.len());
            assert!(masker.held() <= 2048, "{begin}: {} bytes are held", masker.held());
        }
        // A log is not lost behind what claims to be a key.
        let is_token = begin == "ghp_";
        assert!(is_token || told > 900_000, "{begin}: {told} bytes came out");
    }
}

#[test]
fn a_value_that_is_known_is_masked_wherever_it_stands() {
    let secrets = ["correct horse", "tölen\"x\\y", "1234567890", "/run/agent.sock", "short"];
    let text = "a correct horse, {\"x\":\"correct horse\",\"y\":\"tölen\\\"x\\\\y\",\"n\":1234567890} \
                tölen\"x\\y /run/agent.sock short correct hors";
    let expected = "a ***, {\"x\":\"***\",\"y\":\"***\",\"n\":1234567890} *** /run/agent.sock short correct hors";
    for length in 1..=text.len() {
        let masker = Masker::knowing(secrets.map(str::to_owned));
        let found = in_pieces(text.as_bytes(), std::iter::repeat(length), masker);
        assert_eq!(String::from_utf8_lossy(&found), expected, "pieces of {length}");
    }
}

#[test]
fn a_value_of_nothing_but_backslashes_is_none() {
    let masker = Masker::knowing(["\\".repeat(9)]);
    let text = "ab \\\\ absent";
    let found = in_pieces(text.as_bytes(), std::iter::repeat(5), masker);
    assert_eq!(String::from_utf8_lossy(&found), text);
}

#[test]
fn a_known_value_leaves_the_escapes_of_json_whole() {
    let masker = Masker::knowing(["now or never", "u0001etude", "ends so\\"].map(str::to_owned));
    for (text, expected) in [
        ("now or never", "***"),
        ("\now or never", "\n***"),
        ("\u{1}etude", "\u{1}***"),
        ("\\now or never", "\\***"),
        ("so ends so\" it", "so ***\" it"),
    ] {
        let line = serde_json::json!({ "s": text }).to_string();
        let found = in_pieces(line.as_bytes(), [5, 1, 1, 1, 100].into_iter(), masker.clone());
        let value = serde_json::from_slice::<serde_json::Value>(&found);
        let found = String::from_utf8_lossy(&found);
        assert!(value.is_ok_and(|value| value["s"] == expected), "{line} became {found}");
    }
}

#[test]
fn a_line_of_json_stays_one_with_its_numbers() {
    let numbers = r#""n":12345678901234567890123456789012345678901234567890,"x":-1.5e-300"#;
    for (text, expected) in credentials() {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let line = format!("{{\"s\":{},{numbers}}}", quoted(&text));
        let line = masked(&line);
        let value = serde_json::from_str::<serde_json::Value>(&line);
        assert!(value.is_ok() && line.ends_with(&format!("{numbers}}}")), "{line}");
        // What JSON writes otherwise, such as a line's end, may be gone with the secret.
        assert_eq!(value.unwrap()["s"], expected, "{line}");
    }
}
