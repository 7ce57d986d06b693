//! What a harness' source may be changed in to find a cause, where nobody has written variants: the
//! defaults in which frameworks differ in silence. No formula of an experiment is needed.
//!
//! Must not depend on what a change computes, nor on how.

use crate::variant::{Stage, Variant};

/// What stands in a source, what it is changed to, where that shows, and what is so then.
struct Pattern {
    name: &'static str,
    stages: &'static [Stage],
    says: &'static str,
    from: &'static str,
    to: &'static str,
}

/// The ε that frameworks have by default, in their LayerNorms, BatchNorms and Adams.
const EPSILONS: [&str; 6] = ["1e-3", "1e-5", "1e-6", "1e-7", "1e-8", "1e-12"];

const FORWARD: &[Stage] = &[Stage::Forward];
const UPDATE: &[Stage] = &[Stage::Update];
const BOTH: &[Stage] = &[Stage::Forward, Stage::Update];

const TANH: &str = "GELU is computed by its approximation with tanh";
const ERF: &str = "GELU is computed by erf, not by its approximation with tanh";
const PRE: &str = "normalisation comes before each layer (\"pre-norm\"), not after its sum";
const POST: &str = "normalisation comes after each sum (\"post-norm\"), not before the layer";
const COUPLED: &str =
    "the weight decay is a part of the gradient (Adam with L2), not apart from it (AdamW)";
const INVERTED: &str = "the mask has the other sense: what is to be ignored is kept";

const fn pattern(
    name: &'static str,
    stages: &'static [Stage],
    says: &'static str,
    (from, to): (&'static str, &'static str),
) -> Pattern {
    Pattern { name, stages, says, from, to }
}

/// Texts of PyTorch, Flax, Keras, PaddlePaddle and MLX.
const PATTERNS: [Pattern; 13] = [
    pattern("gelu_tanh", FORWARD, TANH, ("nn.GELU()", "nn.GELU(approximate=\"tanh\")")),
    pattern("gelu_tanh", FORWARD, TANH, ("approximate=\"none\"", "approximate=\"tanh\"")),
    pattern("gelu_tanh", FORWARD, TANH, ("approximate='none'", "approximate='tanh'")),
    pattern("gelu_tanh", FORWARD, TANH, ("approximate=False", "approximate=True")),
    pattern(
        "gelu_tanh",
        FORWARD,
        TANH,
        ("F.gelu(", "(lambda x: F.gelu(x, approximate=\"tanh\"))("),
    ),
    pattern("gelu_erf", FORWARD, ERF, ("approximate=\"tanh\"", "approximate=\"none\"")),
    pattern("gelu_erf", FORWARD, ERF, ("approximate='tanh'", "approximate='none'")),
    pattern("gelu_erf", FORWARD, ERF, ("approximate=True", "approximate=False")),
    pattern("gelu_erf", FORWARD, ERF, ("nnx.gelu(", "(lambda x: nnx.gelu(x, approximate=False))(")),
    pattern(
        "gelu_erf",
        FORWARD,
        ERF,
        ("jax.nn.gelu(", "(lambda x: jax.nn.gelu(x, approximate=False))("),
    ),
    pattern("post_norm", FORWARD, POST, ("norm_first=True", "norm_first=False")),
    pattern("pre_norm", FORWARD, PRE, ("norm_first=False", "norm_first=True")),
    pattern("decay_coupled", UPDATE, COUPLED, ("optim.AdamW(", "optim.Adam(")),
];

/// Returns the suspects of a stage that the source of an experiment's harness can be changed to.
pub fn suspects(experiment: &str, source: &str, stage: Stage) -> Vec<Variant> {
    let mut found = Vec::new();
    for Pattern { name, stages, says, from, to } in &PATTERNS {
        if stages.contains(&stage) && source.contains(from) {
            found.push(Variant::mistake(experiment, stage, (name, says), (from, to)));
        }
    }
    if stage == Stage::Forward {
        for (from, to) in masks(source) {
            let words = ("mask_inverted", INVERTED);
            found.push(Variant::mistake(experiment, stage, words, (from, &to)));
        }
    }
    for value in values(source) {
        let others = value.others(source);
        for other in others.iter().filter(|_| value.stages().contains(&stage)) {
            let name = format!("{}_{other}", value.name.replace('.', "_"));
            let says = format!("`{}` is {other}", value.name);
            let (from, to) = (value.text, value.with(other));
            found.push(Variant::mistake(experiment, stage, (&name, &says), (from, &to)));
        }
    }
    found
}

/// Returns each mask that is an argument, as `mask=x > 0`, and what inverts it.
fn masks(source: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("mask=") {
        let name = source[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_'));
        let start = name.map_or(0, |before| before + 1);
        let length = argument(&source[at..]);
        let (name, mask) = (&source[start..at], &source[at + "mask=".len()..at + length]);
        let inverted = match mask.strip_prefix('~') {
            Some(mask) => mask.to_owned(),
            None => format!("~({mask})"),
        };
        found.push((&source[start..at + length], format!("{name}mask={inverted}")));
    }
    found
}

/// Returns the length of an argument: up to the comma or bracket that ends it.
fn argument(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            ',' | '\n' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// An ε or a weight decay in a source: a setting, as `cfg.norm_epsilon`, or an argument with a
/// number, as `eps=1e-5`.
struct SourceNumber<'a> {
    name: &'a str,
    /// All of it, as it stands there.
    text: &'a str,
}

impl SourceNumber<'_> {
    fn is_decay(&self) -> bool {
        self.name.contains("decay")
    }

    fn is_argument(&self) -> bool {
        self.text.contains('=')
    }

    fn with(&self, other: &str) -> String {
        match self.text.split_once('=') {
            Some((name, _)) => format!("{name}={other}"),
            None => other.to_owned(),
        }
    }

    /// What else it might be. An argument that stands there twice may mean two things.
    fn others(&self, source: &str) -> Vec<&'static str> {
        if self.is_argument() && source.matches(self.text).count() > 3 {
            return Vec::new();
        }
        let others = if self.is_decay() { &["0", "1e-2", "1e-4"][..] } else { &EPSILONS[..] };
        let now = self.text.split_once('=').and_then(|(_, value)| value.parse::<f64>().ok());
        others.iter().copied().filter(|other| other.parse::<f64>().ok() != now).collect()
    }

    /// A norm's is seen in the outputs, Adam's and a decay in what the steps change.
    fn stages(&self) -> &'static [Stage] {
        match (self.is_decay(), self.name.contains("norm"), self.is_argument()) {
            (true, ..) => UPDATE,
            (_, true, _) => FORWARD,
            // `eps=1e-5` does not say whose it is.
            (_, _, true) => BOTH,
            _ => UPDATE,
        }
    }
}

/// Returns each ε and weight decay of a source once.
fn values(source: &str) -> Vec<SourceNumber<'_>> {
    let mut found: Vec<SourceNumber> = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut rest = 0;
    while let Some(start) = source[rest..].find(|c: char| c.is_alphabetic() || c == '_') {
        let start = rest + start;
        let length = source[start..].find(|c| !is_word(c)).unwrap_or(source.len() - start);
        rest = start + length;
        let word = &source[start..rest];
        let name = word.rsplit('.').next().unwrap_or(word);
        if !(name.contains("eps") || name.contains("decay")) {
            continue;
        }
        let text = match number_after(&source[rest..]) {
            _ if word.starts_with("cfg.") || word.starts_with("config.") => word,
            Some(length) => &source[start..rest + length],
            None => continue,
        };
        if found.iter().all(|value| value.text != text) {
            found.push(SourceNumber { name, text });
        }
    }
    // A change of the shorter of two names would change the longer one too.
    let texts = found.iter().map(|value| value.text).collect::<Vec<_>>();
    found.retain(|SourceNumber { text, .. }| {
        !texts.iter().any(|one| one != text && one.starts_with(text))
    });
    found
}

/// Returns the length of `=1e-5` at the beginning of a text.
fn number_after(text: &str) -> Option<usize> {
    let value = text.strip_prefix('=')?;
    let is_number = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    let length = value.find(|c| !is_number(c)).unwrap_or(value.len());
    value[..length].parse::<f64>().ok().map(|_| 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str, stage: Stage) -> Vec<String> {
        let found = suspects("tiny", source, stage);
        found.into_iter().map(|variant| variant.name.value).collect()
    }

    #[test]
    fn an_epsilon_is_tried_as_frameworks_have_it() {
        let source = "nn.LayerNorm(128, eps=1e-5)\n";
        let found = names(source, Stage::Forward);
        assert_eq!(found, ["eps_1e-3", "eps_1e-6", "eps_1e-7", "eps_1e-8", "eps_1e-12"]);
        let first = suspects("tiny", source, Stage::Forward).remove(0);
        assert_eq!(first.apply("tiny", source), "nn.LayerNorm(128, eps=1e-3)\n");
        assert_eq!(first.says, "`eps` is 1e-3");
    }

    #[test]
    fn a_setting_is_tried_where_it_shows() {
        let source = "norm(x, cfg.norm_epsilon)\nadam(cfg.epsilon, weight_decay=0.01)\n";
        assert_eq!(names(source, Stage::Forward).len(), 6);
        let found = names(source, Stage::Update).join(" ");
        assert!(found.starts_with("epsilon_1e-3 ") && !found.contains("norm"), "{found}");
        assert!(found.ends_with("weight_decay_0 weight_decay_1e-4"), "{found}");
        let all = suspects("tiny", source, Stage::Update);
        let none = all.iter().find(|one| one.name.value == "weight_decay_0").unwrap();
        assert!(none.apply("tiny", source).ends_with("adam(cfg.epsilon, weight_decay=0)\n"));
    }

    #[test]
    fn a_name_within_a_longer_one_is_left_alone() {
        let found = names("cfg.epsilon + cfg.epsilon_of_norm", Stage::Update);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn forms_and_senses_are_turned_round() {
        let turned = |source: &str, stage| {
            let found = suspects("tiny", source, stage);
            found.iter().map(|variant| variant.apply("tiny", source)).collect::<Vec<_>>()
        };
        let cases = [
            ("y = nn.GELU()", "y = nn.GELU(approximate=\"tanh\")"),
            ("gelu(x, approximate=True)", "gelu(x, approximate=False)"),
            ("f(x, mask=is_word)", "f(x, mask=~(is_word))"),
            ("f(x, mask=w[:, None], y=1)", "f(x, mask=~(w[:, None]), y=1)"),
            ("f(x, key_padding_mask=~(x > 0))", "f(x, key_padding_mask=(x > 0))"),
            ("f(key_padding_mask=x == 0)", "f(key_padding_mask=~(x == 0))"),
        ];
        for (source, expected) in cases {
            assert_eq!(turned(source, Stage::Forward)[0], expected);
            assert!(turned(source, Stage::Update).is_empty());
        }
        assert_eq!(turned("optim.AdamW(w)", Stage::Update), ["optim.Adam(w)"]);
        assert!(turned("loss = 1", Stage::Forward).is_empty());
    }
}
