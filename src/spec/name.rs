//! Names that are safe wherever they are put. Must not depend on what is named.

/// Returns why `name` cannot be a file name, an identifier in a table and a word in a shell.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match starts_well && name.len() <= 100 && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` must start with a letter or digit and have only those, `.`, `_` and `-`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_are_plain_words() {
        for name in ["cnn", "x_train.npy", "layer1.0.conv1-a", "2nd", "A"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", ".hidden", "../x", "a b", "a/b", "-x", "é", "a;b", &"n".repeat(101)] {
            let why = check_name(name).unwrap_err();
            assert!(why.contains("must start with a letter or digit"), "{why}");
        }
    }
}
