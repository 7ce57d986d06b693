//! What docs/architecture.md says of the modules is so: the `use` lines are held against its table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns what the page says: module → modules that it may use.
fn allowed() -> Arrows {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
        (cells[1].trim_matches('`').to_owned(), words(cells[3]))
    })
    .collect()
}

/// Returns the words of a cell, as `` `spec`, `yaml` ``.
fn words(cell: &str) -> BTreeSet<String> {
    let names = cell.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// Returns what the sources say, apart from their tests.
fn actual() -> Arrows {
    let mut arrows = Arrows::new();
    for file in sources(&root().join("src")) {
        let path = file.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if ["main", "lib"].contains(&module.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("mod tests {").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let used = lines.flat_map(modules_of).filter(|used| *used != module);
        arrows.entry(module.clone()).or_default().extend(used);
    }
    arrows
}

/// Returns the modules of this crate that a line names: `crate::a::B` and `crate::{a, b::C}`.
fn modules_of(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in line.split("crate::").skip(1) {
        let list = after.strip_prefix('{').map(|list| list.split('}').next().unwrap_or(list));
        let parts = list.map_or(vec![after], |list| list.split(", ").collect());
        let name = |part: &str| {
            part.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
        };
        found.extend(parts.into_iter().filter_map(name).filter(|name| !name.is_empty()));
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns a module from which arrows lead back to it, if there is one.
fn circle(arrows: &Arrows) -> Option<String> {
    arrows
        .keys()
        .find(|start| {
            let mut seen = BTreeSet::new();
            let mut next = arrows[*start].iter().collect::<Vec<_>>();
            while let Some(module) = next.pop() {
                if seen.insert(module) {
                    next.extend(arrows.get(module).into_iter().flatten());
                }
            }
            seen.contains(start)
        })
        .cloned()
}

#[test]
fn no_module_uses_what_the_page_does_not_allow() {
    let (allowed, actual) = (allowed(), actual());
    for (module, used) in &actual {
        let may = allowed.get(module);
        let may = may.unwrap_or_else(|| panic!("docs/architecture.md has no row for `{module}`"));
        let more = used.difference(may).collect::<Vec<_>>();
        assert!(
            more.is_empty(),
            "`{module}` uses {more:?}; docs/architecture.md does not allow it"
        );
        let fewer = may.difference(used).collect::<Vec<_>>();
        assert!(fewer.is_empty(), "docs/architecture.md says that `{module}` uses {fewer:?}");
    }
    for module in allowed.keys() {
        assert!(actual.contains_key(module), "there is no module `{module}`");
    }
}

#[test]
fn no_arrow_leads_back() {
    assert_eq!(circle(&actual()), None);
    let back = [("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["a"])];
    let set = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let arrows = back.map(|(name, uses)| (name.to_owned(), set(uses))).into();
    assert!(circle(&arrows).is_some());
}
