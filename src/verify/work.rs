//! How much an experiment computes: floating-point operations, so that a time becomes a rate. Pure.
//!
//! Counted are the multiplications and additions of matrix products and convolutions, as they are done without tricks; a
//! framework that computes a convolution with fewer (Winograd, FFT) reaches a higher rate than it has arithmetic for.

/// Multiply-adds of one row, forwards, of the experiments that come with rosetta: each product of a weight with an input
/// counts once. From docs/experiments.md.
fn multiply_adds(experiment: &str) -> Option<f64> {
    let side = |pixels: u64| pixels * pixels;
    let count = match experiment {
        // Positions x filters x (inputs x kernel), then the dense layers.
        "cnn" => {
            side(32) * 50 * (3 * 9)
                + side(32) * 50 * (50 * 9)
                + side(16) * 100 * (50 * 9)
                + side(16) * 100 * (100 * 9)
                + side(8) * 100 * 512
                + 512 * 10
        }
        // Three gates of 100, from 125 inputs and 100 states, at each of 150 tokens.
        "rnn" => 150 * 3 * (125 + 100) * 100 + 100 * 2,
        // Two blocks: four projections of 128, two dense layers of 512, and attention of all tokens to all.
        "transformer" => {
            2 * (150 * (4 * 128 * 128 + 2 * 128 * 512) + 2 * 150 * 150 * 128) + 128 * 2
        }
        // The published network at 224 x 224 (He et al. 2015, table 1: 3.8e9; with the strides of today's weights 4.09e9),
        // without its last layer.
        "resnet50" => 4_087_000_000,
        _ => return None,
    };
    Some(count as f64)
}

/// A backward pass computes two products for each one forwards: by the inputs and by the weights.
const TRAINING: f64 = 3.0;

/// Returns the floating-point operations of training on so many rows.
pub fn of_training(experiment: &str, rows: u64) -> Option<f64> {
    Some(2.0 * TRAINING * multiply_adds(experiment)? * rows as f64)
}

/// Returns the floating-point operations of one row forwards.
pub fn of_row(experiment: &str) -> Option<f64> {
    Some(2.0 * multiply_adds(experiment)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_the_networks_is_counted() {
        assert_eq!(of_row("cnn"), Some(2.0 * 62_264_320.0));
        assert_eq!(of_training("rnn", 64), Some(6.0 * 64.0 * 10_125_200.0));
        assert_eq!(of_row("transformer"), Some(2.0 * 70_502_656.0));
        assert_eq!(of_row("mine"), None);
    }
}
