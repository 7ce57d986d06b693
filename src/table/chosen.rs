//! Which rows of a comparison are shown, and in which order. Must not depend on what is typed for it elsewhere.

use std::cmp::Ordering;

use crate::record::Record;
use crate::report::Value;
use crate::table::column::Column;
use crate::table::group::Group;

/// A condition on the rows, as `training-time<10` or `equivalence=exact`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    column: Column,
    relation: Relation,
    wanted: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Is,
    IsNot,
    Has,
    AtMost,
    AtLeast,
    Below,
    Above,
}

/// Longer signs stand before those that they begin with.
const SIGNS: [(&str, Relation); 7] = [
    ("!=", Relation::IsNot),
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("=", Relation::Is),
    ("~", Relation::Has),
    ("<", Relation::Below),
    (">", Relation::Above),
];

/// The order of rows: by a column, the largest first where it is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowOrder {
    pub column: Column,
    pub is_descending: bool,
}

impl Condition {
    /// Reads what was typed.
    pub fn parse(text: &str) -> Result<Condition, String> {
        let found =
            SIGNS.iter().filter_map(|(sign, relation)| Some((text.find(sign)?, sign, *relation)));
        let first = found.min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
        let Some((at, sign, relation)) = first else {
            return Err("a condition is a column, one of = != ~ < <= > >=, and a value, as `training-time<10`".to_owned());
        };
        let (name, wanted) = (text[..at].trim(), text[at + sign.len()..].trim());
        let column = Column::named(name).ok_or_else(|| {
            format!("`{name}` is not a column; `rosetta table --help` lists them")
        })?;
        let needs_number = !matches!(relation, Relation::Is | Relation::IsNot | Relation::Has);
        if needs_number && wanted.parse::<f64>().is_err() {
            return Err(format!("`{sign}` needs a number, and `{wanted}` is not one"));
        }
        Ok(Condition { column, relation, wanted: wanted.to_owned() })
    }

    /// Returns whether a row is so. What is missing is nothing and is not equal to anything.
    fn holds(&self, group: &Group) -> bool {
        if let (Some(number), Ok(wanted)) = (self.column.number(group), self.wanted.parse::<f64>())
        {
            return match self.relation {
                Relation::Is => is_shown_alike(number, wanted),
                Relation::IsNot => !is_shown_alike(number, wanted),
                Relation::Has => number.to_string().contains(&self.wanted),
                Relation::AtMost => number <= wanted,
                Relation::AtLeast => number >= wanted,
                Relation::Below => number < wanted,
                Relation::Above => number > wanted,
            };
        }
        let Value::Text(text) = self.column.cell(group).0 else {
            return self.relation == Relation::IsNot;
        };
        let (text, wanted) = (text.to_lowercase(), self.wanted.to_lowercase());
        match self.relation {
            Relation::Is => text == wanted,
            Relation::IsNot => text != wanted,
            Relation::Has => text.contains(&wanted),
            _ => false,
        }
    }
}

/// Returns whether two numbers are the same to a reader of three digits.
fn is_shown_alike(number: f64, wanted: f64) -> bool {
    number == wanted || crate::report::three_digits(number) == crate::report::three_digits(wanted)
}

impl RowOrder {
    /// Reads a column's name, with a hyphen before it for the largest first.
    pub fn parse(text: &str) -> Result<RowOrder, String> {
        let (name, is_descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let column = Column::named(name).ok_or_else(|| {
            format!("`{name}` is not a column; `rosetta table --help` lists them")
        })?;
        Ok(RowOrder { column, is_descending })
    }

    /// Sorts rows; those without a value come last, whichever way.
    pub(super) fn sort(self, groups: &mut [Group]) {
        groups.sort_by(|a, b| {
            let (one, two) = (self.column.cell(a).0, self.column.cell(b).0);
            match (&one, &two) {
                (Value::Missing, Value::Missing) => Ordering::Equal,
                (Value::Missing, _) => Ordering::Greater,
                (_, Value::Missing) => Ordering::Less,
                _ if self.is_descending => compare(&two, &one),
                _ => compare(&one, &two),
            }
        });
    }
}

fn compare(one: &Value, two: &Value) -> Ordering {
    let number = |value: &Value| match value {
        Value::Number(number) | Value::Interval(number, ..) => Some(*number),
        Value::Text(_) | Value::Missing => None,
    };
    match (one, two) {
        (Value::Text(one), Value::Text(two)) => one.to_lowercase().cmp(&two.to_lowercase()),
        _ => number(one).partial_cmp(&number(two)).unwrap_or(Ordering::Equal),
    }
}

/// Returns whether a record is of one of the frameworks or targets that were named; none named means all.
pub(super) fn is_named(record: &Record, names: &[String]) -> bool {
    let is_it = |name: &String| {
        let name = name.to_lowercase();
        [&record.framework, &record.target, &record.title]
            .iter()
            .any(|one| one.to_lowercase() == name)
    };
    names.is_empty() || names.iter().any(is_it)
}

/// Keeps the rows of which all conditions hold.
pub(super) fn keep(groups: &mut Vec<Group>, conditions: &[Condition]) {
    groups.retain(|group| conditions.iter().all(|condition| condition.holds(group)));
}
