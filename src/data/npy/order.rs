//! Elements in C order, whatever order they lie in. Must not depend on what an array means.

/// Returns the elements of an array in C order, out of bytes that are in Fortran order.
pub fn in_c_order(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for axis in shape {
        strides.push(stride);
        stride *= axis;
    }
    gather(bytes, size, 0, shape, &strides)
}

/// Returns, in C order, the elements that a view shows; strides count elements.
///
/// The caller has made sure that the view lies within the bytes.
pub fn gather(
    bytes: &[u8],
    size: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Vec<u8> {
    let count = shape.iter().product::<usize>();
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        let steps = index.iter().zip(strides).map(|(index, stride)| index * stride);
        let at = (offset + steps.sum::<usize>()) * size;
        out.extend_from_slice(&bytes[at..at + size]);
        advance(&mut index, shape);
    }
    out
}

/// Moves to the next element, the last axis first.
fn advance(index: &mut [usize], shape: &[usize]) {
    for axis in (0..shape.len()).rev() {
        index[axis] += 1;
        if index[axis] < shape[axis] {
            return;
        }
        index[axis] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{gather, in_c_order};

    #[test]
    fn columns_become_rows() {
        // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]]) lies as 1 4 2 5 3 6.
        assert_eq!(in_c_order(&[1, 4, 2, 5, 3, 6], &[2, 3], 1), [1, 2, 3, 4, 5, 6]);
        assert_eq!(in_c_order(&[1, 0, 2, 0], &[2], 2), [1, 0, 2, 0]);
        assert_eq!(in_c_order(&[7], &[], 1), [7]);
        assert!(in_c_order(&[], &[0, 3], 1).is_empty());
        let cube = [0, 4, 2, 6, 1, 5, 3, 7];
        assert_eq!(in_c_order(&cube, &[2, 2, 2], 1), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn views_begin_and_step_where_they_say() {
        assert_eq!(gather(&[0, 1, 2, 3, 4, 5, 6], 1, 2, &[3], &[2]), [2, 4, 6]);
    }
}
