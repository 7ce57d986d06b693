//! Layers on images and dense layers: layout, windows, activation. May not know any framework.

use super::{
    Call, Properties, REFUSED, Result, UNKNOWN, are_close, attempt, chance::Chance, floats,
    initialiser, properties,
};
use crate::Array;

/// A layer with weights: kernels (out, in, ...), biases (out,) or none.
pub struct Layer {
    pub call: Call,
    pub kernel: Array,
    pub bias: Option<Array>,
}

/// The order of the axes of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Nchw,
    Nhwc,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Layout::Nchw => "NCHW",
            Layout::Nhwc => "NHWC",
        }
    }

    fn channel_axis(self) -> usize {
        match self {
            Layout::Nchw => 1,
            Layout::Nhwc => 3,
        }
    }

    /// Returns images in this layout.
    fn of(self, nchw: Array) -> Array {
        match self {
            Layout::Nchw => nchw,
            Layout::Nhwc => permuted(&nchw, [0, 2, 3, 1]),
        }
    }

    /// Returns images of this layout as NCHW.
    fn undone(self, images: Array) -> Array {
        match self {
            Layout::Nchw => images,
            Layout::Nhwc => permuted(&images, [0, 3, 1, 2]),
        }
    }
}

/// Returns an array whose axis `k` is the axis `axes[k]` of `array`.
fn permuted(array: &Array, axes: [usize; 4]) -> Array {
    let old = &array.shape;
    let stride = |axis: usize| old[axis + 1..].iter().product::<usize>();
    let (shape, strides) = (axes.map(|axis| old[axis]), axes.map(stride));
    let values = floats(array);
    let [a, b, c, d] = shape;
    let mut moved = Vec::with_capacity(values.len());
    for k in 0..a * b * c * d {
        let at = [k / (b * c * d), k / (c * d) % b, k / d % c, k % d];
        let from: usize = at.iter().zip(strides).map(|(index, stride)| index * stride).sum();
        moved.push(values[from] as f32);
    }
    Array::new(shape, moved)
}

/// Measures a convolution; `make(inputs, outputs)` returns one with a kernel of 3x3.
pub fn convolution(make: impl Fn(usize, usize) -> Result<Layer>) -> Result<(Properties, Layout)> {
    let layout = layout_of(&make)?;
    let layer = make(2, 16)?;
    let [rows, columns] = windows(&layer.call, layout, 9)?;
    let images = layout.of(Chance::new(1).normals(&[2, 2, 9, 9]));
    let stride = if rows.stride == columns.stride { &rows.stride.to_string() } else { UNKNOWN };
    let (high, wide) = (padding(&rows), padding(&columns));
    let found = properties([
        ("conv.layout", layout.name()),
        ("conv.padding", if high == wide { &high } else { UNKNOWN }),
        ("conv.stride", stride),
        ("conv.activation", activation(&layer.call, images)?),
        ("conv.initialiser", &initialiser::kernel(&[make(24, 100)?, make(96, 60)?])),
        // So many that two digits of a scale come out the same where each run draws anew.
        ("conv.bias", &initialiser::bias(&[make(1, 30_000)?, make(4, 40_000)?])),
    ]);
    Ok((found, layout))
}

/// Measures what a single 3 means as the size of a kernel.
pub fn shorthand(make: impl Fn(usize, usize) -> Result<Layer>, layout: Layout) -> Properties {
    let found = attempt(|| windows(&make(2, 16)?.call, layout, 9));
    let size = found.map(|[rows, columns]| format!("{}x{}", rows.size, columns.size));
    properties([("conv.shorthand", size.as_deref().unwrap_or(REFUSED))])
}

/// Measures a pooling layer of window 3.
pub fn pooling(call: Call, layout: Layout) -> Result<Properties> {
    let [rows, columns] = windows(&call, layout, 10)?;
    if rows != columns {
        return Ok(properties([("pool.stride", UNKNOWN)]));
    }
    let is_window = rows.stride == rows.size;
    let stride = if is_window { "the window" } else { &rows.stride.to_string() };
    let padding = if rows.before == 0 { "none" } else { &format!("{} before", rows.before) };
    let mut found = properties([("pool.stride", stride), ("pool.padding", padding)]);
    if is_window {
        let rest = if rows.count == 3 { "dropped" } else { "kept" }; // 10 is three and a rest
        found.insert("pool.rest", rest.into());
    }
    Ok(found)
}

/// Measures a fully connected layer.
pub fn dense(make: impl Fn(usize, usize) -> Result<Layer>) -> Result<Properties> {
    let x = Chance::new(2).normals(&[3, 20]);
    // Fan-in, fan-out, their mean and a constant are in ratios of 4 : 1/3 : 1.8 : 1.
    let kernel = initialiser::kernel(&[make(200, 300)?, make(800, 100)?]);
    Ok(properties([
        ("dense.activation", activation(&make(20, 16)?.call, x)?),
        ("dense.initialiser", &kernel),
        ("dense.bias", &initialiser::bias(&[make(4, 4000)?, make(25, 3000)?])),
    ]))
}

/// Returns the layout whose axis of channels is the one that the layer changes.
fn layout_of(make: impl Fn(usize, usize) -> Result<Layer>) -> Result<Layout> {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let images = layout.of(Chance::new(1).normals(&[1, 2, 9, 9]));
        let Some(y) = attempt(|| (make(2, 5)?.call)(images)) else { continue };
        let fives = y.shape.iter().filter(|size| **size == 5).count();
        if y.shape.len() == 4 && y.shape[layout.channel_axis()] == 5 && fives == 1 {
            return Ok(layout);
        }
    }
    Err("no layout fits".into())
}

/// A sliding window along one axis.
#[derive(Debug, PartialEq)]
struct Window {
    size: usize,
    stride: usize,
    before: usize,
    after: isize,
    count: usize,
    length: usize,
}

/// Returns the windows along height and width, from responses to impulses.
fn windows(call: &Call, layout: Layout, length: usize) -> Result<[Window; 2]> {
    let along = |axis| window(&touched(call, layout, axis, length)?, length);
    Ok([along(0)?, along(1)?])
}

/// Returns which outputs along an axis feel an impulse at each input along it.
fn touched(call: &Call, layout: Layout, axis: usize, length: usize) -> Result<Vec<Vec<bool>>> {
    let shape = [length + 1, 2, length, length];
    let mut x = vec![0f32; shape.iter().product()]; // the last image stays zero
    for i in 0..length {
        let (row, column) = if axis == 0 { (i, length / 2) } else { (length / 2, i) };
        for channel in 0..2 {
            x[((i * 2 + channel) * length + row) * length + column] = 1.0;
        }
    }
    let y = layout.undone(call(layout.of(Array::new(shape, x)))?);
    let &[_, channels, height, width] = &y.shape[..] else { return Err("no images".into()) };
    let (values, size) = (floats(&y), channels * height * width);
    let rest = &values[length * size..];
    let felt = |image: &[f64]| {
        let mut felt = vec![false; if axis == 0 { height } else { width }];
        for (k, (value, quiet)) in image.iter().zip(rest).enumerate() {
            let at = if axis == 0 { k / width % height } else { k % width };
            felt[at] |= (value - quiet).abs() > 1e-6;
        }
        felt
    };
    Ok(values[..length * size].chunks(size).map(felt).collect())
}

/// Returns the sliding window that touches so: outputs for each input.
fn window(touched: &[Vec<bool>], length: usize) -> Result<Window> {
    let count = touched[0].len();
    for (size, stride) in (1..length).flat_map(|size| (1..length).map(move |s| (size, s))) {
        for before in 0..size {
            let touches = |i: usize, j: usize| {
                (j * stride..j * stride + size).contains(&(i + before)) // within the window
            };
            let fits = |(i, row): (usize, &Vec<bool>)| {
                row.iter().enumerate().all(|(j, &felt)| felt == touches(i, j))
            };
            if touched.iter().enumerate().all(fits) {
                let reach = (count - 1) * stride + size;
                let after = reach as isize - (before + length) as isize;
                return Ok(Window { size, stride, before, after, count, length });
            }
        }
    }
    Err(format!("no sliding window touches like this: {touched:?}").into())
}

fn padding(window: &Window) -> String {
    if window.before == 0 && window.after <= 0 {
        return "none".into();
    }
    match window.count == window.length.div_ceil(window.stride) {
        true => "same".into(),
        false => format!("{} before, {} after", window.before, window.after.max(0)),
    }
}

/// Returns the activation of a layer that is linear without: none or relu.
fn activation(call: &Call, x: Array) -> Result<&'static str> {
    let x = (floats(&x), x.shape);
    let at = |factor: f64| -> Result<Vec<f64>> {
        let scaled: Vec<_> = x.0.iter().map(|value| (factor * value) as f32).collect();
        Ok(floats(&call(Array::new(x.1.clone(), scaled))?))
    };
    let (rest, there, back, far) = (at(0.0)?, at(1.0)?, at(-1.0)?, at(3.0)?);
    let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>();
    let up = minus(&there, &rest);
    let three: Vec<_> = up.iter().map(|value| 3.0 * value).collect();
    let is_straight = are_close(&minus(&far, &rest), &three, 1e-3, 1e-4);
    if is_straight && are_close(&up, &minus(&rest, &back), 1e-3, 1e-4) {
        return Ok("none");
    }
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let is_one_sided = there.iter().zip(&back).all(|(a, b)| a * b == 0.0);
    let is_relu = least(&there) == 0.0 && least(&back) == 0.0 && is_one_sided;
    Ok(if is_relu && is_straight { "relu" } else { UNKNOWN })
}

#[cfg(test)]
mod tests {
    use super::{Array, Chance, Layer, Layout, Properties, convolution, pooling, shorthand};
    use crate::defaults::{Call, REFUSED, floats};

    /// A fake layer that slides a window over images.
    #[derive(Clone, Copy)]
    struct Fake {
        layout: Layout,
        size: [usize; 2],
        stride: usize,
        before: usize,
        after: usize,
        is_relu: bool,
        is_pool: bool,
    }

    const CONV: Fake = Fake {
        layout: Layout::Nchw,
        size: [3, 3],
        stride: 1,
        before: 0,
        after: 0,
        is_relu: false,
        is_pool: false,
    };
    const POOL: Fake = Fake { stride: 3, is_pool: true, ..CONV };

    impl Fake {
        fn layer(self, inputs: usize, outputs: usize) -> Layer {
            let kernel = Chance::new(9).normals(&[outputs, inputs, self.size[0], self.size[1]]);
            let weights = floats(&kernel);
            let call = move |x: Array| {
                if x.shape[self.layout.channel_axis()] != inputs {
                    return Err("a wrong number of channels".into());
                }
                Ok(self.layout.of(self.slide(&self.layout.undone(x), outputs, &weights)))
            };
            Layer { call: Box::new(call), kernel, bias: Some(zeros(outputs)) }
        }

        fn pool(self) -> Call {
            Box::new(move |x| Ok(self.slide(&x, x.shape[1], &[])))
        }

        fn slide(&self, x: &Array, outputs: usize, weights: &[f64]) -> Array {
            let (values, &[n, inputs, height, width]) = (floats(x), &x.shape[..]) else { panic!() };
            let length =
                |size, window| (size + self.before + self.after - window) / self.stride + 1;
            let (h, w) = (length(height, self.size[0]), length(width, self.size[1]));
            let mut y = Vec::new();
            for k in 0..n * outputs * h * w {
                let (image, channel) = (k / (outputs * h * w), k / (h * w) % outputs);
                let (row, column) = (k / w % h * self.stride, k % w * self.stride);
                let (mut sum, mut most) = (0.0, f64::NEG_INFINITY);
                for part in 0..inputs * self.size[0] * self.size[1] {
                    let input = part / (self.size[0] * self.size[1]);
                    let i = row + part / self.size[1] % self.size[0];
                    let j = column + part % self.size[1];
                    let pad = self.before;
                    if i < pad || i >= height + pad || j < pad || j >= width + pad {
                        continue;
                    }
                    let at = ((image * inputs + input) * height + i - pad) * width + j - pad;
                    if self.is_pool {
                        most = if input == channel { values[at].max(most) } else { most };
                    } else {
                        let size = inputs * self.size[0] * self.size[1];
                        sum += values[at] * weights[channel * size + part];
                    }
                }
                let y_k = if self.is_pool { most } else { sum };
                y.push(if self.is_relu { y_k.max(0.0) } else { y_k } as f32);
            }
            Array::new([n, outputs, h, w], y)
        }

        fn measured(self) -> Properties {
            convolution(|inputs, outputs| Ok(self.layer(inputs, outputs))).unwrap().0
        }
    }

    fn zeros(size: usize) -> Array {
        Array::new([size], vec![0f32; size])
    }

    #[test]
    fn a_layout_is_found_whatever_the_layer_refuses() {
        assert_eq!(CONV.measured()["conv.layout"], "NCHW");
        let nhwc = Fake { layout: Layout::Nhwc, ..CONV };
        assert_eq!(nhwc.measured()["conv.layout"], "NHWC");
        let panics = |_, _| Ok(Layer { call: Box::new(|_| panic!("no")), ..CONV.layer(1, 1) });
        assert!(convolution(panics).is_err());
    }

    #[test]
    fn paddings_and_strides_are_told_apart() {
        let cases = [(0, 0, "none"), (1, 1, "same"), (2, 0, "same"), (2, 2, "2 before, 2 after")];
        for (before, after, name) in cases {
            assert_eq!(Fake { before, after, ..CONV }.measured()["conv.padding"], name);
        }
        assert_eq!(CONV.measured()["conv.stride"], "1");
        assert_eq!(Fake { stride: 2, ..CONV }.measured()["conv.stride"], "2");
    }

    #[test]
    fn a_single_number_may_be_one_dimension() {
        let meant =
            |fake: Fake| shorthand(|inputs, outputs| Ok(fake.layer(inputs, outputs)), Layout::Nchw);
        assert_eq!(meant(CONV)["conv.shorthand"], "3x3");
        assert_eq!(meant(Fake { size: [1, 3], ..CONV })["conv.shorthand"], "1x3");
        let strict = |_, _| Err("a pair is wanted".into());
        assert_eq!(shorthand(strict, Layout::Nchw)["conv.shorthand"], REFUSED);
    }

    #[test]
    fn activations_are_none_relu_or_unknown() {
        assert_eq!(CONV.measured()["conv.activation"], "none");
        assert_eq!(Fake { is_relu: true, ..CONV }.measured()["conv.activation"], "relu");
        let tanh = |inputs, outputs| {
            let Layer { call, kernel, bias } = CONV.layer(inputs, outputs);
            let bent = move |x| {
                let y = call(x)?;
                let values = floats(&y).iter().map(|v| v.tanh() as f32).collect::<Vec<_>>();
                Ok(Array::new(y.shape, values))
            };
            Ok(Layer { call: Box::new(bent), kernel, bias })
        };
        assert_eq!(convolution(tanh).unwrap().0["conv.activation"], super::UNKNOWN);
    }

    #[test]
    fn pools_have_a_stride_and_perhaps_a_rest() {
        let measured = |fake: Fake| pooling(fake.pool(), Layout::Nchw).unwrap();
        let found = measured(POOL);
        assert_eq!((&*found["pool.stride"], &*found["pool.rest"]), ("the window", "dropped"));
        assert_eq!(found["pool.padding"], "none");
        let kept = measured(Fake { after: 2, ..POOL });
        assert_eq!(kept["pool.rest"], "kept");
        let dense = measured(Fake { stride: 1, ..POOL });
        assert_eq!((&*dense["pool.stride"], dense.get("pool.rest")), ("1", None));
        assert_eq!(measured(Fake { before: 1, after: 1, ..POOL })["pool.padding"], "1 before");
    }
}
