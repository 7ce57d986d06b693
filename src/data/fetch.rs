//! Downloads one file: resumed where a connection broke, checked by its digest, never left half under its name.
//!
//! Must not depend on what the file holds.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use md5::Md5;
use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::data::archive::first_bytes;
use crate::data::known::PublishedDigest;
use crate::data::patience::{LONGEST_PAUSE, pause, retry_after};
use crate::data::signature;
use crate::digest::hex;
use crate::progress::{Progress, Report};
use crate::regular;

/// No archive is larger.
const MOST_BYTES: u64 = 1 << 30;
/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 5;

/// What is downloaded and what it must be.
pub struct Download<'a> {
    pub url: &'a str,
    pub digest: PublishedDigest<'a>,
    /// Waited for before the second attempt; before each further one twice as long.
    pub pause: Duration,
}

impl Download<'_> {
    /// Brings the file to `path`; `path.part` holds what has come so far, also between two calls.
    pub fn to(&self, path: &Path, report: Report) -> Result<()> {
        if path.exists() && self.fits(path, report)? {
            return Ok(());
        }
        let part = path.with_added_extension("part");
        let was_resumed = length(&part) > 0;
        self.complete(&part, report)?;
        if !self.fits(&part, report)? && was_resumed {
            // What was there may belong to another version of the file.
            fs::remove_file(&part)?;
            self.complete(&part, report)?;
        }
        if !self.fits(&part, report)? {
            let begin = first_bytes(&mut regular::open(&part)?)?;
            fs::remove_file(&part)?;
            let message = format!(
                "what `{}` sent is not the file that its authors published ({})",
                self.url, self.digest
            );
            return Err(match signature::refuse_messages(&begin) {
                Ok(()) => anyhow!(message),
                Err(what) => what.context(message),
            });
        }
        let kept = fs::rename(&part, path);
        kept.with_context(|| format!("cannot rename `{}`", part.display()))
    }

    fn fits(&self, path: &Path, report: Report) -> Result<bool> {
        report(Progress::Doing("checking the digest".to_owned()));
        let digests = digests(&mut regular::open(path)?, report)?;
        Ok(self.digest.fits(&digests.md5, &digests.sha256))
    }

    fn complete(&self, part: &Path, report: Report) -> Result<()> {
        let (agent, mut failures) = (agent(), 0);
        loop {
            let before = length(part);
            match self.attempt(&agent, part, report) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { error, asked }) => {
                    failures = if length(part) > before { 0 } else { failures + 1 };
                    if failures == ATTEMPTS {
                        return Err(error);
                    }
                    if let Some(asked) = asked.filter(|asked| *asked > LONGEST_PAUSE) {
                        let seconds = asked.as_secs();
                        return Err(error.context(format!("asked to come back in {seconds} s")));
                    }
                    let pause = pause(self.pause, failures, asked);
                    let seconds = pause.as_secs();
                    report(Progress::Doing(format!("trying again in {seconds} s: {error:#}")));
                    std::thread::sleep(pause);
                }
            }
        }
    }

    fn attempt(&self, agent: &Agent, part: &Path, report: Report) -> Result<(), Failure> {
        let have = length(part);
        let mut request = agent.get(self.url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::HostNotFound => Failure::Final(error.into()),
            error => passing(error),
        })?;
        let status = response.status();
        let begin = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if first_byte(&response) == Some(have) => have,
            // Everything is there already; if it is not what it should be, the digest tells.
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                return Err(turned_away(&response));
            }
            _ if status.is_server_error() => return Err(turned_away(&response)),
            _ => return Err(Failure::Final(anyhow!("the server answered {status}"))),
        };
        receive(response, begin, part, report)
    }
}

enum Failure {
    /// Another attempt may bring more; `asked` is how long the server wants us to stay away.
    Passing {
        error: anyhow::Error,
        asked: Option<Duration>,
    },
    Final(anyhow::Error),
}

fn passing(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Passing { error: error.into(), asked: None }
}

fn turned_away(response: &Response<Body>) -> Failure {
    let header = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked = header.and_then(|value| retry_after(value, jiff::Timestamp::now()));
    Failure::Passing { error: anyhow!("the server answered {}", response.status()), asked }
}

fn receive(
    response: Response<Body>,
    begin: u64,
    part: &Path,
    report: Report,
) -> Result<(), Failure> {
    let stored = |error: std::io::Error| {
        let message = format!("cannot write `{}`", part.display());
        Failure::Final(anyhow::Error::new(error).context(message))
    };
    let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(stored)?;
    file.set_len(begin).map_err(stored)?;
    let total = response.body().content_length().map(|rest| begin + rest);
    if total.is_some_and(|bytes| bytes > MOST_BYTES) {
        return Err(Failure::Final(anyhow!("the server offers more than {MOST_BYTES} bytes")));
    }
    let (mut done, mut buffer) = (begin, vec![0; 1 << 16]);
    let mut body = response.into_body().into_with_config().limit(MOST_BYTES).reader();
    loop {
        report(Progress::Bytes { done, total });
        let count = body.read(&mut buffer).map_err(passing)?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(stored)?;
        done += count as u64;
    }
    file.sync_all().map_err(stored)?;
    match total {
        Some(total) if done < total => {
            Err(passing(anyhow!("the connection broke after {done} of {total} bytes")))
        }
        _ => Ok(()),
    }
}

/// Returns where the sent range begins: `Content-Range: bytes 100-199/200`.
fn first_byte(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn agent() -> Agent {
    // The files are compressed as they are; a limit per read ends a stalled transfer, not a slow one.
    Agent::config_builder()
        .http_status_as_error(false)
        .accept_encoding("identity")
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .build()
        .into()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Size and digests of a file.
pub struct Digests {
    pub bytes: u64,
    pub md5: String,
    pub sha256: String,
}

/// Returns size and digests of a file of at most 1 GiB.
pub fn digests(file: &mut File, report: Report) -> Result<Digests> {
    let total = file.metadata().map(|metadata| metadata.len()).ok();
    ensure!(total.is_none_or(|total| total <= MOST_BYTES), "larger than {MOST_BYTES} bytes");
    let (mut md5, mut sha256, mut bytes) = (Md5::new(), Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Digests {
                bytes,
                md5: hex(&md5.finalize()),
                sha256: hex(&sha256.finalize()),
            });
        }
        md5.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
        bytes += count as u64;
        report(Progress::Bytes { done: bytes, total });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::Download;
    use crate::data::known::PublishedDigest;

    /// How the server behaves on one connection.
    #[derive(Clone, Copy)]
    enum Reply {
        /// Sends at most so many bytes of the body, then closes.
        Cut(usize),
        Whole,
        /// Ignores the range.
        FromStart,
        Status(&'static str),
    }

    /// Serves `body` once per reply and notes the requests' ranges.
    fn serve(body: Vec<u8>, replies: Vec<Reply>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let noted = ranges.clone();
        std::thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let lines = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
                let lines = lines.map(|line| line.to_lowercase()).collect::<Vec<_>>();
                let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes="));
                noted.lock().unwrap().push(range.unwrap_or_default().to_owned());
                let from = range.and_then(|range| range.trim_end_matches('-').parse().ok());
                let from = from.filter(|_| !matches!(reply, Reply::FromStart)).unwrap_or(0);
                let (end, size) = (body.len() - 1, body.len() - from);
                let head = match (reply, from) {
                    (Reply::Status(status), _) => format!("HTTP/1.1 {status}\r\ncontent-length: 0"),
                    (_, 0) => format!("HTTP/1.1 200 OK\r\ncontent-length: {size}"),
                    _ => format!(
                        "HTTP/1.1 206 Partial Content\r\ncontent-length: {size}\r\n\
                         content-range: bytes {from}-{end}/{}",
                        body.len()
                    ),
                };
                write!(stream, "{head}\r\nconnection: close\r\n\r\n").unwrap();
                let sent = match reply {
                    Reply::Status(_) => 0,
                    Reply::Cut(count) => count.min(size),
                    Reply::Whole | Reply::FromStart => size,
                };
                stream.write_all(&body[from..from + sent]).unwrap();
            }
        });
        (url, ranges)
    }

    fn body() -> Vec<u8> {
        (0..100_000u32).flat_map(|number| number.to_le_bytes()).collect()
    }

    // md5 of body(): `python3 -c "import hashlib,struct; …"`.
    const MD5: &str = "759b667ca712df5f43993b6618607e3b";

    fn download(url: &str, path: &Path) -> Result<(), String> {
        let (digest, pause) = (PublishedDigest::Md5(MD5), Duration::ZERO);
        let done = Download { url, digest, pause }.to(path, &|_| ());
        done.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn broken_connections_are_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.tar.gz");
        let (url, ranges) = serve(body(), vec![Reply::Cut(1000), Reply::Cut(70_000), Reply::Whole]);
        download(&url, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), body());
        assert_eq!(*ranges.lock().unwrap(), ["", "1000-", "71000-"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // A second call finds it and asks nobody.
        download(&url, &path).unwrap();
    }

    #[test]
    fn part_of_an_earlier_call_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.tar.gz");
        let part = folder.path().join("set.tar.gz.part");
        fs::write(&part, &body()[..5000]).unwrap();
        let (url, ranges) = serve(body(), vec![Reply::Whole]);
        download(&url, &path).unwrap();
        assert_eq!(*ranges.lock().unwrap(), ["5000-"]);

        // Complete but not renamed: the server has no more.
        fs::rename(&path, &part).unwrap();
        let (url, _) = serve(body(), vec![Reply::Status("416 Range Not Satisfiable")]);
        download(&url, &path).unwrap();

        // A stale part is dropped and everything fetched again.
        fs::remove_file(&path).unwrap();
        fs::write(&part, [9; 5000]).unwrap();
        let (url, _) = serve(body(), vec![Reply::Whole, Reply::Whole]);
        download(&url, &path).unwrap();

        // A server without ranges sends all of it.
        fs::remove_file(&path).unwrap();
        fs::write(&part, [9; 5000]).unwrap();
        let (url, _) = serve(body(), vec![Reply::FromStart]);
        download(&url, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), body());
    }

    #[test]
    fn a_server_that_asks_for_patience_is_obeyed_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.tar.gz");
        let begin = std::time::Instant::now();
        let busy = |seconds| {
            Reply::Status(match seconds {
                1 => "429 Too Many Requests\r\nretry-after: 1",
                _ => "503 Service Unavailable\r\nretry-after: 86400",
            })
        };
        let (url, _) = serve(body(), vec![busy(1), Reply::Whole]);
        download(&url, &path).unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(1));
        fs::remove_file(&path).unwrap();
        let (url, _) = serve(body(), vec![busy(86_400)]);
        let error = download(&url, &path).unwrap_err();
        assert!(
            error.starts_with("asked to come back in 86400 s: the server answered 503"),
            "{error}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn failures_say_what_happened_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.tar.gz");
        let (url, _) = serve(body(), vec![Reply::Status("404 Not Found")]);
        assert_eq!(download(&url, &path).unwrap_err(), "the server answered 404 Not Found");
        let (url, _) = serve(body(), vec![Reply::Status("503 Service Unavailable"); 5]);
        assert!(download(&url, &path).unwrap_err().contains("503"));
        let (url, _) = serve(b"<html>moved</html>".to_vec(), vec![Reply::Whole]);
        let error = download(&url, &path).unwrap_err();
        assert!(error.contains("is not the file that its authors published (MD5"), "{error}");
        assert!(error.contains("it is an HTML page"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // A closed port.
        let error = download("http://127.0.0.1:9/set.tar.gz", &path).unwrap_err();
        assert!(error.to_lowercase().contains("refused"), "{error}");
    }
}
