//! `conda-PLATFORM.lock`, an explicit file as conda has them: a line per package, `URL#sha256:DIGITS`.
//!
//! Must not depend on how its packages are brought or installed.

use std::collections::BTreeMap;

/// What every line must end with, for messages.
const HASH: &str = "`#sha256:` and 64 hexadecimal digits in lower case";

/// The line after which the packages come; for clients.
pub(in crate::env) const EXPLICIT: &str = "@EXPLICIT";

/// An archive that a lock pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::env) struct Package {
    pub(in crate::env) url: String,
    pub(in crate::env) sha256: String,
    /// `noarch`, or a platform.
    pub(in crate::env) subdir: String,
    /// The archive's name: `NAME-VERSION-BUILD` and its extension.
    pub(in crate::env) file: String,
    pub(in crate::env) name: String,
    pub(in crate::env) version: String,
    /// The line of the lock.
    pub(in crate::env) line: usize,
}

/// A line that is not what a lock may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::env) struct Wrong {
    pub(in crate::env) line: usize,
    pub(in crate::env) why: String,
}

impl Package {
    /// Returns the archive's name without its extension, by which conda notes what is installed.
    pub(in crate::env) fn stem(&self) -> &str {
        stem(&self.file).unwrap_or(&self.file)
    }
}

/// Returns the packages of a lock for one platform, or the first line that is wrong.
pub(in crate::env) fn parse(text: &str, platform: &str) -> Result<Vec<Package>, Wrong> {
    let mut packages = Vec::<Package>::new();
    for (line, content) in text.lines().enumerate().map(|(at, content)| (at + 1, content.trim())) {
        if content.is_empty() || content.starts_with('#') || content == EXPLICIT {
            continue;
        }
        let package = package(content, line, platform).map_err(|why| Wrong { line, why })?;
        if let Some(first) = packages.iter().find(|first| first.name == package.name) {
            let why = format!(
                "`{}` is pinned in line {} too; allowed is one line for each package",
                package.name, first.line
            );
            return Err(Wrong { line, why });
        }
        packages.push(package);
    }
    match packages.is_empty() {
        true => Err(Wrong { line: 1, why: "it pins no package".to_owned() }),
        false => Ok(packages),
    }
}

fn package(content: &str, line: usize, platform: &str) -> Result<Package, String> {
    let (url, hash) = match content.split_once('#') {
        Some((url, hash)) => (url, hash),
        None => return Err(format!("`{content}` has no hash; allowed is a URL with {HASH}")),
    };
    let digits = hash.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() != 64 || !digits.bytes().all(|byte| b"0123456789abcdef".contains(&byte)) {
        let md5 = if hash.len() == 32 { ", which looks like an MD5," } else { "" };
        return Err(format!("found the hash `#{hash}`{md5} of `{url}`; allowed is {HASH}"));
    }
    let is_known = ["https://", "http://", "file:///"].iter().any(|scheme| url.starts_with(scheme));
    if !is_known || url.contains(char::is_whitespace) {
        return Err(format!(
            "`{url}` is not an address; allowed is `https://`, `http://` or `file:///`"
        ));
    }
    let mut parts = url.rsplit('/');
    let (file, subdir) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let [build, version, name] = stem(file).map(|stem| stem.rsplitn(3, '-').collect::<Vec<_>>())
        .and_then(|parts| <[&str; 3]>::try_from(parts).ok())
        .filter(|parts| parts.iter().all(|part| !part.is_empty()))
        .ok_or_else(|| format!("`{file}` is not an archive of conda's; allowed is `NAME-VERSION-BUILD` with `.conda` or `.tar.bz2`"))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-!%".contains(c);
    if build.is_empty() || name.starts_with('.') || !file.chars().all(is_plain) {
        return Err(format!("`{file}` is not the name of an archive"));
    }
    if subdir != platform && subdir != "noarch" {
        return Err(format!("`{url}` is for `{subdir}`; allowed is `{platform}` or `noarch`"));
    }
    let [url, sha256, subdir, file, name, version] =
        [url, digits, subdir, file, name, version].map(str::to_owned);
    Ok(Package { url, sha256, subdir, file, name, version, line })
}

fn stem(file: &str) -> Option<&str> {
    file.strip_suffix(".conda").or_else(|| file.strip_suffix(".tar.bz2"))
}

/// Returns name and version of each package.
pub(in crate::env) fn versions(packages: &[Package]) -> BTreeMap<String, String> {
    packages.iter().map(|package| (package.name.clone(), package.version.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://conda.anaconda.org/conda-forge/linux-64/python-3.12.1-h_0.conda";

    fn digits() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[test]
    fn a_lock_gives_its_packages() {
        let more = URL
            .replace("linux-64/python-3.12.1-h_0.conda", "noarch/ca-certificates-2026.1-0.tar.bz2");
        let text = format!(
            "# made by x\n# platform: linux-64\n@EXPLICIT\n{URL}#sha256:{0}\n\n{more}#sha256:{0}\n",
            digits()
        );
        let packages = parse(&text, "linux-64").unwrap();
        let found = packages
            .iter()
            .map(|one| (one.name.as_str(), one.version.as_str(), one.line, one.stem()));
        let expected = [
            ("python", "3.12.1", 4, "python-3.12.1-h_0"),
            ("ca-certificates", "2026.1", 6, "ca-certificates-2026.1-0"),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(
            (packages[1].subdir.as_str(), packages[1].sha256.as_str()),
            ("noarch", digits().as_str())
        );
        assert_eq!(versions(&packages)["python"], "3.12.1");
    }

    #[test]
    fn what_pins_nothing_is_refused_with_its_line() {
        let sha = digits();
        let cases = [
            (URL.to_owned(), "has no hash; allowed is a URL with `#sha256:`"),
            (format!("{URL}#"), "found the hash `#` of"),
            (format!("{URL}#{}", &sha[..32]), ", which looks like an MD5, of"),
            (format!("{URL}#{sha}"), "allowed is `#sha256:` and 64"),
            (format!("{URL}#sha256:{}", &sha[1..]), "allowed is `#sha256:` and 64"),
            (format!("{URL}#sha256:{}", sha.to_uppercase()), "in lower case"),
            (format!("{URL}#sha256:{}g", &sha[1..]), "allowed is `#sha256:` and 64"),
            (
                format!("python-3.12.1-h_0.conda#sha256:{sha}"),
                "is not an address; allowed is `https://`",
            ),
            (
                format!("{}#sha256:{sha}", URL.replace(".conda", ".zip")),
                "is not an archive of conda's",
            ),
            (format!("{}#sha256:{sha}", URL.replace("-h_0", "")), "is not an archive of conda's"),
            (
                format!("{}#sha256:{sha}", URL.replace("linux-64", "osx-64")),
                "is for `osx-64`; allowed is `linux-64` or `noarch`",
            ),
            (
                format!("{}#sha256:{sha}", URL.replace("/python-", "/../.python-")),
                "is not the name of an archive",
            ),
            (format!("{URL}#sha256:{sha}\n{URL}#sha256:{sha}"), "`python` is pinned in line 2 too"),
            (String::new(), "it pins no package"),
        ];
        for (lines, expected) in cases {
            let wrong = parse(&format!("@EXPLICIT\n{lines}\n"), "linux-64").unwrap_err();
            assert!(wrong.why.contains(expected), "{wrong:?} has not: {expected}");
            assert!(wrong.line <= 3 && wrong.line >= 1);
        }
    }
}
