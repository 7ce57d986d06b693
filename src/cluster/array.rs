//! Indices of an array's tasks as Slurm writes them: `2-7%2`, `[3,5,9-11,20%1]`, `3-999:2`.
//!
//! Must not depend on what the tasks are.

/// The most indices that an expression is taken to mean; Slurm's own limit on arrays is four million.
const MOST: usize = 4_000_001;

/// Returns the indices that an expression means; none where it is cut short or is not one.
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    let list = text.split('%').next().unwrap_or_default();
    let mut indices = Vec::new();
    for part in list.split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        let step = step.parse::<usize>().ok().filter(|step| *step > 0)?;
        if first > last || (last - first) as usize / step + indices.len() > MOST {
            return None;
        }
        indices.extend((first..=last).step_by(step));
    }
    Some(indices)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_slurm_writes_is_read_and_what_it_cuts_short_is_not() {
        let cases: [(&str, Option<&[u32]>); 10] = [
            ("3", Some(&[3])),
            ("2-4%2", Some(&[2, 3, 4])),
            ("[2-4%2]", Some(&[2, 3, 4])),
            ("3,5,9-11,20%1", Some(&[3, 5, 9, 10, 11, 20])),
            ("[3-9:2%1]", Some(&[3, 5, 7, 9])),
            ("[1-5,...]", None),
            ("N/A", None),
            ("", None),
            ("7-2", None),
            ("0-4294967295", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).as_deref(), expected, "{text}");
        }
    }
}
