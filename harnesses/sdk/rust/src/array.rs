//! Neutral arrays: a shape and a vector in C order. May not know where they come from.

use crate::fail;

/// An array in C order, in the layout of the protocol's "Memory layout".
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Values,
}

/// The elements of an array; floats are of the job's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
}

/// Evaluates `$body` with `$vector` bound to the vector inside, whatever its element type.
macro_rules! with_values {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            Values::F32($vector) => $body,
            Values::F64($vector) => $body,
            Values::I32($vector) => $body,
        }
    };
}

impl From<Vec<f32>> for Values {
    fn from(vector: Vec<f32>) -> Self {
        Values::F32(vector)
    }
}

impl From<Vec<f64>> for Values {
    fn from(vector: Vec<f64>) -> Self {
        Values::F64(vector)
    }
}

impl From<Vec<i32>> for Values {
    fn from(vector: Vec<i32>) -> Self {
        Values::I32(vector)
    }
}

impl Values {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        with_values!(self, vector => vector.len())
    }

    /// Says whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the element type as NumPy calls it.
    pub fn dtype(&self) -> &'static str {
        match self {
            Values::F32(_) => "float32",
            Values::F64(_) => "float64",
            Values::I32(_) => "int32",
        }
    }
}

impl Array {
    /// Makes an array; panics where the shape does not hold the values.
    pub fn new(shape: impl Into<Vec<usize>>, values: impl Into<Values>) -> Array {
        let (shape, values) = (shape.into(), values.into());
        let expected: usize = shape.iter().product();
        assert_eq!(expected, values.len(), "an array of shape {shape:?} holds {expected} values");
        Array { shape, values }
    }

    /// Returns the size of the first axis.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Returns the floats of a framework that knows float32 only.
    pub fn into_f32(self) -> Vec<f32> {
        match self.values {
            Values::F32(vector) => vector,
            other => fail(format!("this harness takes float32 and was given {}", other.dtype())),
        }
    }

    /// Returns tokens or labels.
    pub fn into_i32(self) -> Vec<i32> {
        match self.values {
            Values::I32(vector) => vector,
            other => fail(format!("this harness takes int32 and was given {}", other.dtype())),
        }
    }

    /// Returns `count` rows from `first` on, or as many as there are.
    pub fn slice(&self, first: usize, count: usize) -> Array {
        let end = (first + count).min(self.rows());
        let width = self.width();
        let range = first * width..end * width;
        let values = with_values!(&self.values, vector => vector[range].to_vec().into());
        self.with_rows(end - first, values)
    }

    /// Returns the rows of the given numbers, in that order.
    pub fn gather(&self, rows: &[u32]) -> Array {
        let width = self.width();
        let values = with_values!(&self.values, vector => {
            let mut picked = Vec::with_capacity(rows.len() * width);
            for &row in rows {
                picked.extend_from_slice(&vector[row as usize * width..][..width]);
            }
            picked.into()
        });
        self.with_rows(rows.len(), values)
    }

    /// Joins arrays along the first axis.
    pub fn concatenate(arrays: impl IntoIterator<Item = Array>) -> Array {
        let joined = arrays.into_iter().reduce(|mut all, more| {
            all.append(more);
            all
        });
        joined.expect("there is at least one array")
    }

    /// Appends the rows of `other`.
    pub(crate) fn append(&mut self, other: Array) {
        assert_eq!(self.shape[1..], other.shape[1..], "arrays differ in width");
        self.shape[0] += other.shape[0];
        match (&mut self.values, other.values) {
            (Values::F32(all), Values::F32(more)) => all.extend(more),
            (Values::F64(all), Values::F64(more)) => all.extend(more),
            (Values::I32(all), Values::I32(more)) => all.extend(more),
            (all, more) => panic!("cannot join {} and {}", all.dtype(), more.dtype()),
        }
    }

    fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    fn with_rows(&self, rows: usize, values: Values) -> Array {
        let mut shape = self.shape.clone();
        shape[0] = rows;
        Array::new(shape, values)
    }
}

#[cfg(test)]
mod tests {
    use super::Array;

    fn counting(rows: usize, width: usize) -> Array {
        Array::new([rows, width], (0..rows * width).map(|k| k as f32).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_slice_is_smaller() {
        let slice = counting(5, 2).slice(4, 3);
        assert_eq!(slice, Array::new([1, 2], vec![8f32, 9.0]));
    }

    #[test]
    fn gather_keeps_the_order_asked_for() {
        let labels = Array::new([4], vec![10, 11, 12, 13]);
        assert_eq!(labels.gather(&[3, 0, 3]), Array::new([3], vec![13, 10, 13]));
        assert_eq!(counting(3, 2).gather(&[2]), Array::new([1, 2], vec![4f32, 5.0]));
    }

    #[test]
    fn concatenate_adds_rows() {
        let all = Array::concatenate([counting(2, 2), counting(1, 2)]);
        assert_eq!(all, Array::new([3, 2], vec![0f32, 1.0, 2.0, 3.0, 0.0, 1.0]));
    }

    #[test]
    #[should_panic(expected = "holds 6 values")]
    fn a_wrong_shape_is_refused() {
        let _ = Array::new([2, 3], vec![1f32]);
    }
}
