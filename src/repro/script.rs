//! The one command: a shell script that makes the environment where it is not there, and runs the job.

use super::LOCK;
use crate::catalog::{EnvSpec, FixUp, Pins, Provider};

/// The first CPython that uv installs into.
const FIRST_FOR_UV: (u32, u32) = (3, 8);

/// Returns `run.sh` for the environment of a lock, or for a Python that is named.
pub(super) fn script(env: Option<&EnvSpec>) -> String {
    let made = match env.map(|env| (&env.provider, &env.fixups)) {
        Some((Provider::Venv(pins), fixups)) => made(pins, fixups),
        _ => "    echo 'name a Python that has the packages of environment/packages.txt: PYTHON=/path/to/python sh run.sh' >&2\n    exit 2\n"
            .to_owned(),
    };
    format!(
        "#!/bin/sh\n\
         # Runs the job once, and shows what it took beside what was recorded. PYTHON names a Python that has the packages.\n\
         set -eu\n\
         cd \"$(dirname \"$0\")\"\n\
         if [ -z \"${{PYTHON:-}}\" ]; then\n{made}fi\n\
         exec \"$PYTHON\" run.py\n"
    )
}

fn made(pins: &Pins, fixups: &[FixUp]) -> String {
    let python = &pins.python;
    let wheels = pins.source.iter().map(|name| format!(" --no-binary {name}")).collect::<String>();
    let wheels = format!("--require-hashes --no-deps --only-binary :all:{wheels}");
    // A shim of pyenv's is on PATH for a Python that it will not start.
    let by_pip = format!(
        "if python{python} -c '' >/dev/null 2>&1; then\n            \
         python{python} -m venv \"$env\"\n            \
         \"$PYTHON\" -m pip install {wheels} --requirement {LOCK}\n"
    );
    let (ways, needed) = match is_for_uv(python) {
        true => (
            format!(
                "if command -v uv >/dev/null; then\n            \
                 uv venv --python {python} \"$env\"\n            \
                 uv pip install --python \"$PYTHON\" {wheels} --requirement {LOCK}\n        \
                 el{by_pip}"
            ),
            format!("uv or python{python}"),
        ),
        false => (by_pip, format!("python{python}")),
    };
    let steps = fixups.iter().map(|fixup| {
        let words = fixup.run.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        format!("        # {}\n        {words}\n", fixup.why)
    });
    let steps = steps.collect::<String>();
    let site = match steps.is_empty() {
        true => String::new(),
        false => "        folder=$PWD/environment\n        \
             site=$(\"$PYTHON\" -c 'import sysconfig; print(sysconfig.get_paths()[\"purelib\"])')\n"
            .to_owned(),
    };
    format!(
        "    env=$PWD/.venv\n    PYTHON=$env/bin/python\n    if [ ! -e \"$env/ready\" ]; then\n        \
         rm -rf \"$env\"\n        \
         {ways}        else\n            \
         echo 'needs {needed} on PATH, or PYTHON=/path/to/python' >&2\n            exit 2\n        fi\n\
         {site}{steps}        : >\"$env/ready\"\n    fi\n"
    )
}

fn is_for_uv(python: &str) -> bool {
    let mut parts = python.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= FIRST_FOR_UV
}

/// Returns a word of env.yaml for a shell, the names in it as variables.
fn quoted(word: &str) -> String {
    let mut quoted = String::new();
    for letter in word.chars() {
        if "\\\"$`".contains(letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    let names =
        [("{env}", "$env"), ("{folder}", "$folder"), ("{site}", "$site"), ("{python}", "$PYTHON")];
    let named = names.iter().fold(quoted, |text, (name, variable)| text.replace(name, variable));
    format!("\"{named}\"")
}

#[cfg(test)]
mod tests {
    use super::{is_for_uv, made, quoted, script};
    use crate::catalog::{FixUp, Pins};

    fn pins(python: &str) -> Pins {
        Pins {
            python: python.to_owned(),
            requirements: Vec::new(),
            glibc: None,
            source: Vec::new(),
        }
    }

    #[test]
    fn words_of_a_fix_up_stay_words() {
        assert_eq!(quoted("{env}/a b$(id)"), "\"$env/a b\\$(id)\"");
        assert_eq!(quoted("`{python}`\"\\"), "\"\\`$PYTHON\\`\\\"\\\\\"");
    }

    #[test]
    fn an_old_python_is_installed_into_by_pip() {
        assert!(is_for_uv("3.12") && is_for_uv("3.8") && !is_for_uv("3.6") && !is_for_uv("2.7"));
        let fixup = FixUp {
            why: "it lacks a library".to_owned(),
            run: vec!["{python}".to_owned(), "{folder}/stub.py".to_owned(), "{site}".to_owned()],
        };
        let text = made(&pins("3.6"), &[fixup]);
        assert!(text.contains("python3.6 -m venv \"$env\"\n") && !text.contains("uv "), "{text}");
        assert!(
            text.contains(
                "# it lacks a library\n        \"$PYTHON\" \"$folder/stub.py\" \"$site\"\n"
            ),
            "{text}"
        );
        let text = made(&pins("3.12"), &[]);
        assert!(
            text.contains("uv venv --python 3.12") && text.contains("python3.12 -m venv"),
            "{text}"
        );
        assert!(script(None).contains("exit 2\nfi\nexec \"$PYTHON\" run.py\n"), "{}", script(None));
    }
}
