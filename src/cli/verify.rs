//! `rosetta verify`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::args::VerifyArgs;
use crate::cli::{INTERRUPTED, NOT_OK, OK, run as plans};
use crate::machine::Limits;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::proof::Verdict;
use crate::record::Record;
use crate::report::three_digits;
use crate::request::{FrameworksFrom, Request};
use crate::run::{Notify, PairSide, Paired, Session, pairs, speed};
use crate::store::Store;
use crate::table;
use crate::ui::{self, Live};
use crate::verify::{Earlier, Finding, Installation, Numbers, Speed, judge};

/// Measures an installation of the user's beside the pinned one and says what was found.
pub fn verify(project: &Project, store: &Store, args: &VerifyArgs) -> Result<ExitCode> {
    let requests = [args.request(FrameworksFrom::Pinned), args.request(FrameworksFrom::System)];
    let experiments = project.experiments()?;
    let open = |store: &Store, request: &Request| Session::open(project, store, request.provider);
    let sessions = [open(store, &requests[0])?, open(store, &requests[1])?];
    let plans = [
        sessions[0].plan(&requests[0], &experiments)?,
        sessions[1].plan(&requests[1], &experiments)?,
    ];
    plans.iter().try_for_each(plans::refuse_nothing)?;
    project.need_sdk(plans[0].jobs.iter().map(|job| job.framework))?;
    let live = Live::new();
    let verdicts = match args.no_check {
        true => Default::default(),
        false => match checked(&sessions, &plans, &requests, &live)? {
            Some(verdicts) => verdicts,
            None => return Ok(INTERRUPTED.into()),
        },
    };
    let id = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let apart = store.apart(&id);
    let timed = [open(&apart, &requests[0])?, open(&apart, &requests[1])?];
    let [theirs, ours] = verdicts;
    let sides = [
        PairSide {
            name: "pinned",
            session: &timed[0],
            request: &requests[0],
            plan: &plans[0],
            verdicts: theirs,
        },
        PairSide {
            name: "yours",
            session: &timed[1],
            request: &requests[1],
            plan: &plans[1],
            verdicts: ours,
        },
    ];
    let before = before(project, store)?;
    let found = findings(&sides, &before, args, &live);
    live.finish();
    let Some(found) = found? else { return Ok(INTERRUPTED.into()) };
    match args.json {
        true => ui::print(&(serde_json::to_string_pretty(&found)? + "\n"))?,
        false => ui::print(&found.iter().map(text).collect::<Vec<_>>().join("\n"))?,
    }
    let is_fine = found.iter().all(|finding| finding.verdict.is_fine());
    Ok(if is_fine { OK } else { NOT_OK.into() })
}

impl VerifyArgs {
    fn request(&self, provider: FrameworksFrom) -> Request {
        let is_own = provider == FrameworksFrom::System;
        Request {
            folder: std::env::current_dir().unwrap_or_default(),
            experiments: self.experiments.clone(),
            frameworks: vec![self.framework.clone()],
            devices: vec![self.device],
            profile: Some(self.profile.clone()),
            repeats: 1,
            provider,
            python: Some(self.python.clone()).filter(|_| is_own),
            wrap: self.wrap.clone().filter(|_| is_own).map(|words| words.0).unwrap_or_default(),
            threads: self.threads,
            check: !self.no_check,
            ..Request::default()
        }
    }
}

/// Returns what checks say of both sides, or nothing if they were interrupted.
fn checked(
    sessions: &[Session; 2],
    plans: &[Plan; 2],
    requests: &[Request; 2],
    live: &Live,
) -> Result<Option<[Vec<Verdict>; 2]>> {
    let mut verdicts = [Vec::new(), Vec::new()];
    for side in [0, 1] {
        let known = sessions[side].store.verdicts()?;
        let notify = |notice: crate::run::Notice| live.show(notice);
        let checked =
            sessions[side].check(&plans[side].jobs, &known, &requests[side], None, &notify)?;
        if checked.is_interrupted {
            return Ok(None);
        }
        verdicts[side] = checked.verdicts;
    }
    Ok(Some(verdicts))
}

/// Returns the records that tables of the project's reference and of its own results would show.
fn before(project: &Project, store: &Store) -> Result<Vec<Record>> {
    let reference = project.reference();
    let mut records = match reference.join("runs").is_dir() {
        true => project.store(Some(&reference))?.survey()?.records(table::needed),
        false => Vec::new(),
    };
    // What is damaged is told of by those who show results.
    records.extend(store.survey()?.records(table::needed));
    Ok(records)
}

/// Runs and asks both sides; nothing if that was interrupted.
fn findings(
    sides: &[PairSide; 2],
    before: &[Record],
    args: &VerifyArgs,
    live: &Live,
) -> Result<Option<Vec<Finding>>> {
    let notify = |notice: crate::run::Notice| live.show(notice);
    let mut found = Vec::new();
    for job in &sides[0].plan.jobs {
        let mut others = sides[1].plan.jobs.iter();
        let Some(other) = others.find(|other| other.name() == job.name()) else { continue };
        let count = args.pairs;
        let Paired { records: [theirs, ours], is_interrupted } =
            pairs([&sides[0], &sides[1]], [job, other], count, &notify)?;
        if is_interrupted {
            return Ok(None);
        }
        let pinned = installation(&sides[0], job, theirs, &notify)?;
        let yours = installation(&sides[1], other, ours, &notify)?;
        found.push(judge(&pinned, &yours, before, &Limits::look(), args.tolerance));
    }
    Ok(Some(found))
}

/// Returns the installation of a side: what was measured of a job, and what its program says of itself.
fn installation(
    side: &PairSide,
    job: &Job,
    records: Vec<Record>,
    notify: Notify,
) -> Result<Installation> {
    let facts = speed(job, side.request, side.session, notify)?;
    Ok(Installation { records, facts })
}

fn text(found: &Finding) -> String {
    let Finding { experiment, title, device, verdict, .. } = found;
    let mut lines =
        vec![format!("{experiment} · {title} · {device}: yours is {}", verdict.words())];
    lines.extend(found.reason.as_ref().map(|reason| format!("  {reason}")));
    if *verdict != Speed::NotComparable || found.ratio.is_finite() {
        let [ratio, low, high] = [found.ratio, found.ratio_low, found.ratio_high].map(three_digits);
        let pairs = found.pairs;
        lines.push(format!(
            "  it takes {ratio} ({low} to {high}) times as long, in {pairs} pairs with {} threads",
            found.threads
        ));
    }
    lines.push(format!("  {:<26}{:>14}{:>14}", "", "pinned", "yours"));
    let row = |name: &str, of: &dyn Fn(&Numbers) -> Option<String>| {
        let [theirs, ours] = [&found.pinned, &found.yours].map(of);
        (theirs.is_some() || ours.is_some()).then(|| {
            let [theirs, ours] = [theirs, ours].map(|text| text.unwrap_or("–".to_owned()));
            format!("  {name:<26}{theirs:>14}{ours:>14}")
        })
    };
    let rows = [
        row("version", &|side| Some(side.version.clone())),
        row("equivalence", &|side| side.grade.map(|grade| grade.as_str().to_owned())),
        row("time", &|side| side.seconds.map(|seconds| format!("{} s", three_digits(seconds)))),
        row("that is", &|side| rate(side.gflops)),
        row("share of the peak", &|side| {
            side.share_of_peak.map(|share| format!("{:.0} %", share * 100.0))
        }),
        row("a matrix product", &|side| rate(side.product_gflops)),
        row("a convolution", &|side| rate(side.convolution_gflops)),
    ];
    lines.extend(rows.into_iter().flatten());
    if let Some(peak) = found.peak_gflops {
        lines.push(format!("  peak: {} GFLOP/s, the fastest of these", three_digits(peak)));
    }
    lines.extend(found.earlier.as_ref().map(earlier_words));
    lines.extend(found.suspects.iter().map(|suspect| format!("  suspect: {suspect}")));
    lines.extend(found.machine.iter().map(|why| format!("  this machine: {why}")));
    lines.join("\n") + "\n"
}

fn rate(gflops: Option<f64>) -> Option<String> {
    gflops.map(|gflops| format!("{} GFLOP/s", three_digits(gflops)))
}

fn earlier_words(earlier: &Earlier) -> String {
    let Earlier { day, version, seconds, pinned_ratio, yours_ratio, .. } = earlier;
    let ratio = |ratio: &Option<f64>| ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "  on like hardware on {day}, version {version}: {} s; the pinned one takes {}, yours {} times as long",
        three_digits(*seconds),
        ratio(pinned_ratio),
        ratio(yours_ratio)
    )
}
