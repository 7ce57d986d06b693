//! GRUs: which of the variants gives a state. May not know any framework.

use super::{Call, Properties, Result, UNKNOWN, are_close, chance::Chance, floats, properties};
use crate::Array;

/// A GRU whose parameters, biases too, were all drawn at random.
///
/// `call` maps (n, time, inputs) to the last state (n, units). Three blocks of units stand in each
/// of weight_ih (3 units, inputs), weight_hh (3 units, units) and the one or two `biases`
/// (3 units,): of the input, of the state.
pub struct Gru {
    pub call: Call,
    pub weight_ih: Array,
    pub weight_hh: Array,
    pub biases: Vec<Array>,
}

const ROWS: usize = 2;
const TIMES: usize = 4;
const ORDERS: [&str; 6] = ["rzn", "rnz", "zrn", "znr", "nrz", "nzr"];

/// What GRUs differ in.
#[derive(Clone, Copy)]
struct Variant {
    /// The gates in the order of the blocks.
    order: &'static str,
    /// Whether the reset gate acts on the product of state and kernel, not on the state.
    resets_after: bool,
    /// Whether z is the share of the old state, not of the new one.
    keeps_old: bool,
    /// Whether the state's bias is left out where there is no state yet.
    skips_first: bool,
}

/// Measures a [`Gru`]: which of the variants, with which order of gates, gives its state.
pub fn gru(layer: Gru) -> Result<Properties> {
    let inputs = layer.weight_ih.shape[1];
    let x = Chance::new(5).normals(&[ROWS, TIMES, inputs]);
    let state = floats(&(layer.call)(x.clone())?);
    let weights = Weights::of(&layer);
    let (x, two) = (floats(&x), layer.biases.len() == 2);
    let fits = |variant: &Variant| are_close(&state, &weights.state(&x, variant), 1e-5, 1e-4);
    let found: Vec<_> = variants(two).filter(fits).collect();
    let &[Variant { order, resets_after, keeps_old, skips_first }] = &found[..] else {
        let names = ["gru.reset", "gru.gates", "gru.update", "gru.biases"];
        return Ok(properties(names.map(|name| (name, UNKNOWN))));
    };
    let gates: Vec<_> = order.chars().map(String::from).collect();
    let first = if skips_first { ", 1 at first" } else { "" };
    Ok(properties([
        ("gru.reset", if resets_after { "after the product" } else { "before the product" }),
        ("gru.biases", &format!("{}{first}", layer.biases.len())),
        ("gru.gates", &gates.join(", ")),
        ("gru.update", if keeps_old { "z keeps the old" } else { "z takes the new" }),
    ]))
}

fn variants(has_two_biases: bool) -> impl Iterator<Item = Variant> {
    ORDERS.into_iter().flat_map(move |order| {
        let all = (0..8).map(move |bits| Variant {
            order,
            resets_after: bits & 1 != 0,
            keeps_old: bits & 2 != 0,
            skips_first: bits & 4 != 0,
        });
        all.filter(move |variant| has_two_biases || !variant.skips_first)
    })
}

struct Weights {
    inputs: usize,
    units: usize,
    by_input: Vec<f64>,
    by_state: Vec<f64>,
    biases: [Vec<f64>; 2],
}

impl Weights {
    fn of(layer: &Gru) -> Weights {
        let (inputs, units) = (layer.weight_ih.shape[1], layer.weight_hh.shape[1]);
        let bias = |k| layer.biases.get(k).map_or(vec![0.0; 3 * units], floats);
        let (by_input, by_state) = (floats(&layer.weight_ih), floats(&layer.weight_hh));
        Weights { inputs, units, by_input, by_state, biases: [bias(0), bias(1)] }
    }

    /// Returns the last states by the formulas of a variant.
    fn state(&self, x: &[f64], variant: &Variant) -> Vec<f64> {
        let rows = x.chunks(TIMES * self.inputs);
        rows.flat_map(|row| {
            let mut h = vec![0.0; self.units];
            for (t, x) in row.chunks(self.inputs).enumerate() {
                h = self.step(x, &h, variant, !(variant.skips_first && t == 0));
            }
            h
        })
        .collect()
    }

    fn step(&self, x: &[f64], h: &[f64], variant: &Variant, has_bias: bool) -> Vec<f64> {
        let block = |gate| variant.order.find(gate).expect("an order has all gates") * self.units;
        let input = |gate: char, unit: usize| {
            let row = block(gate) + unit;
            dot(&self.by_input[row * self.inputs..], x) + self.biases[0][row]
        };
        let state = |gate: char, unit: usize, h: &[f64]| {
            let row = block(gate) + unit;
            let bias = if has_bias { self.biases[1][row] } else { 0.0 };
            dot(&self.by_state[row * self.units..], h) + bias
        };
        let sigma = |gate, unit| 1.0 / (1.0 + (-input(gate, unit) - state(gate, unit, h)).exp());
        let r: Vec<_> = (0..self.units).map(|unit| sigma('r', unit)).collect();
        let reset: Vec<_> = r.iter().zip(h).map(|(r, h)| r * h).collect();
        let new = |unit| match variant.resets_after {
            true => (input('n', unit) + r[unit] * state('n', unit, h)).tanh(),
            false => (input('n', unit) + state('n', unit, &reset)).tanh(),
        };
        let mixed = |unit: usize| {
            let (z, n) = (sigma('z', unit), new(unit));
            let z = if variant.keeps_old { z } else { 1.0 - z };
            z * h[unit] + (1.0 - z) * n
        };
        (0..self.units).map(mixed).collect()
    }
}

/// Returns the product of `x` with as many of `weights`.
fn dot(weights: &[f64], x: &[f64]) -> f64 {
    weights.iter().zip(x).map(|(w, x)| w * x).sum()
}

#[cfg(test)]
mod tests {
    use super::{Array, Chance, Gru, UNKNOWN, Variant, floats, gru, variants};

    const INPUTS: usize = 3;
    const UNITS: usize = 4;

    /// Returns a fake that computes by the formulas of a variant, written once more and by hand.
    fn fake(variant: Variant, bias_count: usize) -> Gru {
        let mut chance = Chance::new(11);
        let [w_i, w_h] = [INPUTS, UNITS].map(|width| chance.normals(&[3 * UNITS, width]));
        let biases: Vec<_> = (0..bias_count).map(|_| chance.normals(&[3 * UNITS])).collect();
        let at = [(0, 'r'), (1, 'z'), (2, 'n')].map(|(_, gate)| variant.order.find(gate).unwrap());
        let (i, s, b) = (floats(&w_i), floats(&w_h), biases.iter().map(floats).collect::<Vec<_>>());
        let call = move |x: Array| {
            let mut states = Vec::new();
            for row in floats(&x).chunks(4 * INPUTS) {
                let mut h = [0.0; UNITS];
                for (t, x) in row.chunks(INPUTS).enumerate() {
                    let before = h;
                    let by_input = |gate: usize, u: usize| -> f64 {
                        let k = at[gate] * UNITS + u;
                        b[0][k] + (0..INPUTS).map(|j| i[k * INPUTS + j] * x[j]).sum::<f64>()
                    };
                    let by_state = |gate: usize, u: usize, h: [f64; UNITS]| -> f64 {
                        let k = at[gate] * UNITS + u;
                        let is_there = b.len() == 2 && !(variant.skips_first && t == 0);
                        let bias = if is_there { b[1][k] } else { 0.0 };
                        bias + (0..UNITS).map(|j| s[k * UNITS + j] * h[j]).sum::<f64>()
                    };
                    let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
                    let r: [f64; UNITS] =
                        std::array::from_fn(|u| sigma(by_input(0, u) + by_state(0, u, before)));
                    for u in 0..UNITS {
                        let z = sigma(by_input(1, u) + by_state(1, u, before));
                        let inner = if variant.resets_after {
                            r[u] * by_state(2, u, before)
                        } else {
                            by_state(2, u, std::array::from_fn(|j| r[j] * before[j]))
                        };
                        let n = (by_input(2, u) + inner).tanh();
                        h[u] = match variant.keeps_old {
                            true => z * before[u] + (1.0 - z) * n,
                            false => (1.0 - z) * before[u] + z * n,
                        };
                    }
                }
                states.extend(h);
            }
            Ok(Array::new([states.len() / UNITS, UNITS], states))
        };
        Gru { call: Box::new(call), weight_ih: w_i, weight_hh: w_h, biases }
    }

    #[test]
    fn each_variant_is_told() {
        for count in [1, 2] {
            for variant in variants(count == 2) {
                let found = gru(fake(variant, count)).unwrap();
                let gates = variant.order.chars().map(String::from).collect::<Vec<_>>();
                assert_eq!(found["gru.gates"], gates.join(", "));
                let when = if variant.resets_after { "after" } else { "before" };
                assert_eq!(found["gru.reset"], format!("{when} the product"));
                let first = if variant.skips_first { ", 1 at first" } else { "" };
                assert_eq!(found["gru.biases"], format!("{count}{first}"));
                let update = if variant.keeps_old { "z keeps the old" } else { "z takes the new" };
                assert_eq!(found["gru.update"], update);
            }
        }
    }

    #[test]
    fn another_cell_is_none_of_them() {
        let variant = variants(true).next().unwrap();
        let states = |x: Array| Ok(Array::new([x.shape[0], UNITS], vec![0.5; x.shape[0] * UNITS]));
        let odd = Gru { call: Box::new(states), ..fake(variant, 2) };
        assert_eq!(gru(odd).unwrap()["gru.reset"], UNKNOWN);
    }
}
