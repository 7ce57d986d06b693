//! The tensors of ResNet-50 v1.5 up to its pool, in torchvision's naming and order, and the recipe that
//! makes them where no trained ones are on the machine.
//!
//! May not know where arrays are kept.

use crate::data::chance::Stream;

/// Version of [`fill`]: raised with every change of a number that it makes.
pub const RECIPE: &str = "resnet50-made 1";

/// One tensor.
pub struct Layer {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
}

/// What a tensor does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// Kernel of a convolution.
    Kernel,
    /// Factor of a batch norm; the last one of a block's branch damps what the block adds.
    Scale { is_last_of_branch: bool },
    /// Summand or running mean of a batch norm.
    Zero,
    /// Running variance of a batch norm.
    Variance,
}

/// Factor of the last batch norm of a branch: 16 blocks then add up to activations of unit scale.
const BRANCH_SCALE: f32 = 0.5;

/// Returns the tensors in the order of the forward pass.
pub fn layers() -> Vec<Layer> {
    let mut layers = Vec::new();
    convolution(&mut layers, "conv1", "bn1", [64, 3, 7, 7], false);
    let mut channels = 64;
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..blocks {
            let at = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
            let kernels = [[width, channels, 1, 1], [width, width, 3, 3], [4 * width, width, 1, 1]];
            for (number, kernel) in (1..).zip(kernels) {
                let names = [at(&format!("conv{number}")), at(&format!("bn{number}"))];
                convolution(&mut layers, &names[0], &names[1], kernel, number == 3);
            }
            if block == 0 {
                let names = [at("downsample.0"), at("downsample.1")];
                let kernel = [4 * width, channels, 1, 1];
                convolution(&mut layers, &names[0], &names[1], kernel, false);
            }
            channels = 4 * width;
        }
    }
    layers
}

fn convolution(layers: &mut Vec<Layer>, conv: &str, norm: &str, kernel: [usize; 4], is_last: bool) {
    let mut add = |name: String, shape: &[usize], role| {
        layers.push(Layer { name, shape: shape.to_vec(), role });
    };
    add(format!("{conv}.weight"), &kernel, Role::Kernel);
    let width = &kernel[..1];
    add(format!("{norm}.weight"), width, Role::Scale { is_last_of_branch: is_last });
    add(format!("{norm}.bias"), width, Role::Zero);
    add(format!("{norm}.running_mean"), width, Role::Zero);
    add(format!("{norm}.running_var"), width, Role::Variance);
}

/// Returns the made values of a tensor.
pub fn fill(layer: &Layer, stream: &mut Stream) -> Vec<f32> {
    let count = layer.shape.iter().product();
    match layer.role {
        Role::Kernel => {
            let fan_in = layer.shape[1..].iter().product::<usize>();
            let deviation = (2.0 / fan_in as f64).sqrt();
            (0..count).map(|_| (deviation * stream.normal()) as f32).collect()
        }
        Role::Scale { is_last_of_branch: true } => vec![BRANCH_SCALE; count],
        Role::Scale { is_last_of_branch: false } | Role::Variance => vec![1.0; count],
        Role::Zero => vec![0.0; count],
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, layers};

    #[test]
    fn parameters_are_those_of_torchvision() {
        let layers = layers();
        assert_eq!(layers.len(), 265);
        let is_parameter = |name: &str| !name.contains("running");
        let parameters = layers.iter().filter(|layer| is_parameter(&layer.name));
        let count = parameters.map(|layer| layer.shape.iter().product::<usize>()).sum::<usize>();
        assert_eq!(count, 23_508_032);
        let names = layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names[..2], ["conv1.weight", "bn1.weight"]);
        assert!(names.contains(&"layer4.0.downsample.1.running_var"));
        let kernels = layers.iter().filter(|layer| layer.role == Role::Kernel);
        assert_eq!(kernels.count(), 53);
    }
}
