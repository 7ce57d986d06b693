//! Outputs + truth → metrics: one implementation for every framework.
//!
//! Must not depend on frameworks.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::arrays::{Floats, StoredRows};
use crate::data::Odd;

/// Returns the share of rows whose largest logit is the label.
pub fn accuracy(outputs: &Path, labels: &Path, rows: usize) -> Result<f64> {
    let logits = Floats::read(outputs).context("cannot read the outputs")?;
    let labels = read_integers(labels, rows)?;
    let [count, width] = logits.shape[..] else {
        bail!("the outputs have shape {:?}, not (rows, classes)", logits.shape);
    };
    ensure!(count == rows, "there are outputs for {count} rows, but {rows} rows to predict");
    ensure!(width > 0, "the outputs have no columns");
    if let Some(label) = labels.iter().find(|label| !(0..width as i64).contains(*label)) {
        bail!("the outputs have {width} columns, one for each class, but there is a label {label}");
    }
    ensure_finite(&logits.values)?;
    let right = logits.values.chunks_exact(width).zip(&labels).filter(|(row, label)| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        best.is_some_and(|(index, _)| i64::try_from(index) == Ok(**label))
    });
    Ok(right.count() as f64 / rows as f64)
}

/// Checks that features were stored for every row, and are numbers.
pub fn features(outputs: &Path, rows: usize, width: Option<usize>) -> Result<()> {
    let features = Floats::read(outputs).context("cannot read the outputs")?;
    let [count, found] = features.shape[..] else {
        bail!("the outputs have shape {:?}, not (rows, features)", features.shape);
    };
    ensure!(count == rows, "there are outputs for {count} rows, but {rows} rows to predict");
    if let Some(width) = width {
        ensure!(found == width, "the outputs have {found} features, not {width}");
    }
    ensure_finite(&features.values)
}

fn ensure_finite(values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => {
            bail!("the outputs are not finite: value {index} is {}", values[index])
        }
    }
}

/// Returns the first `rows` labels.
fn read_integers(path: &Path, rows: usize) -> Result<Vec<i64>> {
    let shown = path.display();
    let stored = StoredRows::read(path, rows);
    let StoredRows { shape, element, bytes } =
        stored.with_context(|| format!("cannot read the labels `{shown}`"))?;
    ensure!(shape.len() == 1, "the labels `{shown}` have more than one axis");
    element.integers(&bytes).map_err(|Odd { index, number }| {
        anyhow!("label {number} in row {index} of `{shown}` ({element}) is not a whole number below 2^63")
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{accuracy, features};

    fn npy(name: &str, descr: &str, shape: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let header = format!("{header:<117}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes);
        std::fs::write(&path, file).unwrap();
        (folder, path)
    }

    fn logits(rows: &[[f32; 3]]) -> (tempfile::TempDir, PathBuf) {
        let bytes = rows.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        npy("outputs.npy", "<f4", &format!("({}, 3)", rows.len()), &bytes)
    }

    fn labels(values: &[i32]) -> (tempfile::TempDir, PathBuf) {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        npy("y_test.npy", "<i4", &format!("({},)", values.len()), &bytes)
    }

    #[test]
    fn accuracy_counts_the_largest_logit_and_a_tie_goes_to_the_first() {
        let rows = [[1.0, 5.0, 2.0], [7.0, 7.0, 0.0], [0.0, 1.0, 2.0], [3.0, 2.0, 1.0]];
        let (_a, outputs) = logits(&rows);
        let (_b, truth) = labels(&[1, 0, 2, 1, 2, 2]);
        assert_eq!(accuracy(&outputs, &truth, 4).unwrap(), 0.75);
    }

    #[test]
    fn labels_of_every_type_count_and_halves_do_not() {
        let (_a, outputs) = logits(&[[1.0, 5.0, 2.0], [0.0, 1.0, 2.0]]);
        let cases: [(&str, &[u8]); 4] = [
            ("|b1", &[1, 0]),
            (">i2", &[0, 1, 0, 0]),
            ("<u2", &[1, 0, 0, 0]),
            ("<f2", &[0, 0x3c, 0, 0]),
        ];
        for (descr, bytes) in cases {
            let (_b, truth) = npy("y_test.npy", descr, "(2,)", bytes);
            assert_eq!(accuracy(&outputs, &truth, 2).unwrap(), 0.5, "{descr}");
        }
        let (_b, truth) = npy("y_test.npy", "<f2", "(2,)", &[0, 0x3c, 0, 0x38]);
        let error = accuracy(&outputs, &truth, 2).unwrap_err().to_string();
        assert!(error.starts_with("label 0.5 in row 1 of `"), "{error}");
        assert!(error.ends_with("(float16) is not a whole number below 2^63"), "{error}");
    }

    #[test]
    fn wrong_outputs_are_refused_with_what_is_wrong() {
        let (_a, outputs) = logits(&[[1.0, f32::NAN, 2.0]]);
        let (_b, truth) = labels(&[1, 2]);
        let why = |rows| accuracy(&outputs, &truth, rows).unwrap_err().to_string();
        assert!(why(1).contains("not finite: value 1 is NaN"));
        assert!(why(2).contains("outputs for 1 rows, but 2 rows"));
        assert!(features(&outputs, 1, Some(2048)).unwrap_err().to_string().contains("3 features"));
        let (_c, short) = npy("o.npy", "<f4", "(9, 3)", &[0; 8]);
        assert!(format!("{:#}", features(&short, 9, None).unwrap_err()).contains("cut off"));
    }
}
