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
    for (path, code) in program() {
        // Two modules are in a crate of their own.
        let path = path.trim_start_matches("lines/");
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let used = lines.flat_map(modules_of).filter(|used| *used != module);
        arrows.entry(module.clone()).or_default().extend(used);
    }
    arrows
}

/// Returns the files of src/, each with its text apart from its tests.
fn program() -> Vec<(String, String)> {
    let mut program = Vec::new();
    for file in sources(&root().join("src")) {
        let path = file.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        if !path.ends_with("tests.rs") && !path.contains("/tests/") {
            let text = fs::read_to_string(&file).unwrap();
            program.push((path, text.split("mod tests {").next().unwrap().to_owned()));
        }
    }
    program
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

/// A function, and how many closures it binds to names.
#[derive(Debug, PartialEq)]
struct Function {
    /// Where it begins, from 1.
    line: usize,
    name: String,
    indent: usize,
    closures: usize,
}

/// Returns the functions of a file that rustfmt has formatted.
fn functions(code: &str) -> Vec<Function> {
    let lines = code.lines().collect::<Vec<_>>();
    let (mut ended, mut open) = (Vec::new(), Vec::<Function>::new());
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        if words.starts_with("//") {
            continue;
        }
        if let Some(name) = function_name(words) {
            open.push(Function { line: index + 1, name, indent, closures: 0 });
        }
        // The value may stand on the line below.
        let rest = lines.get(index + 1).map_or("", |next| next.trim_start());
        if let Some(function) = open.last_mut()
            && binds_closure(&format!("{words} {rest}"))
        {
            function.closures += 1;
        }
        // With a brace all end that stand no further left; of some there is only a signature.
        if words == "}" {
            let at = open.iter().position(|function| function.indent >= indent);
            ended.extend(open.drain(at.unwrap_or(open.len())..));
        }
    }
    ended.extend(open);
    ended
}

/// Returns the name of the function that begins with this line, as `pub(super) async fn name<T>(`.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let is_word = |word: &str| {
        word.starts_with("pub")
            || ["const", "async", "unsafe", "in"].contains(&word)
            || word.ends_with(')')
    };
    let name = after.split(['(', '<']).next()?;
    (before.split_whitespace().all(is_word) && name.chars().all(is_of_name))
        .then(|| name.to_owned())
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether a line binds a closure to a name: `let mut name: &dyn Fn() = &move || …`.
fn binds_closure(line: &str) -> bool {
    let Some(binding) = line.strip_prefix("let ") else { return false };
    let Some((pattern, mut value)) = binding.split_once('=') else { return false };
    let name = pattern.trim_start_matches("mut ").split(':').next().unwrap().trim();
    for before in [" ", "Box::new(", "&", "mut ", "move "] {
        value = value.trim_start_matches(before);
    }
    name.chars().all(is_of_name) && value.starts_with('|')
}

#[test]
fn no_function_binds_two_closures() {
    let mut found = Vec::new();
    for (path, code) in program() {
        for Function { line, name, closures, .. } in functions(&code) {
            if closures > 1 {
                found.push(format!("src/{path}:{line}: `{name}` has {closures}"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "at most one local closure a function; make the others functions or methods, or write one that is used once \
         where it is used:\n{}",
        found.join("\n")
    );
}

#[test]
fn closures_are_counted_of_the_function_that_binds_them() {
    let code = "impl A {
    fn signature(&self);

    pub(super) fn outer<T>(&self) -> bool {
        let one = |x| x;
        // let none = |x| x;
        fn inner() {
            let mut two: &dyn Fn() =
                &move || ();
        }
        let sum = one(1) | two;
        let three =
            Box::new(|x| x);
        one.map(|x| x)
    }
}
";
    let counts = functions(code).into_iter().map(|one| (one.line, one.name, one.closures));
    let expected = [(7, "inner", 1), (2, "signature", 0), (4, "outer", 2)];
    assert_eq!(
        counts.collect::<Vec<_>>(),
        expected.map(|(line, name, closures)| (line, name.to_owned(), closures))
    );
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
