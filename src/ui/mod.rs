//! Everything a person sees in a terminal; the only home of indicatif. Must not depend on how
//! values were obtained.

mod live;

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

pub use self::live::Live;
use crate::defaults::Sheet;
use crate::proof::{Verdict, report as verdict};
pub use crate::quantity::duration_words as words;
use crate::report::{self, Grid, Heading, Screen};

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on, of what goes on only what fails is shown.
pub fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Prints text on standard output; a reader that went away is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Asks the person at the terminal; where there is none, nobody agrees.
pub fn agrees(question: &str) -> Result<bool> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    anstream::eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Prints a long text: through a pager where it is longer than the terminal.
pub fn page(text: &str) -> Result<()> {
    let height = height_of_terminal();
    let is_long = height.is_some_and(|height| text.lines().count() >= height);
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    let words = pager.split_whitespace().collect::<Vec<_>>();
    let (true, [program, arguments @ ..]) = (is_long, words.as_slice()) else { return print(text) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped());
    // less shows colours as they are, and ends by itself where all fits.
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let Ok(mut child) = command.spawn() else { return print(text) };
    let text = match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
        _ => text.to_owned(),
    };
    // A pager that was left before the end is no error.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    child.wait()?;
    Ok(())
}

/// Returns the lines of the terminal that this process writes to.
fn height_of_terminal() -> Option<usize> {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (stdout.is_terminal() && size.ws_row > 0).then(|| usize::from(size.ws_row))
}

/// Names what could not be read, each on a line of standard error.
pub fn warn(troubles: &[impl Display]) {
    for trouble in troubles {
        let line = report::printable(&trouble.to_string());
        anstream::eprintln!("\x1b[1;33mwarning:\x1b[0m {line}");
    }
}

/// Returns tables as a terminal shows them.
pub fn tables(grids: &[Grid]) -> String {
    report::terminal(grids, Screen::look())
}

/// Returns what checks found as a terminal shows it.
pub fn verdicts(verdicts: &[Verdict]) -> String {
    let mut out = report::terminal(&verdict::grids(verdicts), Screen::look());
    out += &format!("\x1b[2m{}\x1b[0m\n", verdict::NOTE);
    for text in verdicts.iter().filter_map(verdict::explanation) {
        let lines = text.lines().map(report::printable).collect::<Vec<_>>();
        out += &format!("\n{}\n", lines.join("\n"));
    }
    out
}

/// Returns a comparison of defaults as a terminal shows it.
pub fn defaults(sheet: &Sheet) -> String {
    let mut out = report::terminal(&sheet.grids(), Screen::look());
    for line in sheet.lines_below() {
        out += &format!("\n\x1b[2m{}\x1b[0m", report::printable(&line));
    }
    out + "\n"
}

/// Returns a list as a terminal shows it: rows under headings.
pub fn list(headings: impl IntoIterator<Item = Heading>, rows: Vec<Vec<String>>) -> String {
    report::terminal_table(&Grid::of_texts(headings, rows), Screen::look())
}

/// Returns a size in a few words: `512 B`, `1.2 MiB`, `3.4 GiB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{size, words};

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!(words(Duration::from_millis(420)), "0.4 s");
        assert_eq!(words(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(words(Duration::from_secs(7_800)), "2 h 10 min");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
